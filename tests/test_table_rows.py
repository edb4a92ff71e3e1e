"""Tables of many systems: the rows of a file, one command that runs them all, and the steps that they share."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import runs
from raycner.__main__ import main
from raycner.analysis.statistics import paired_effect, smallest_p
from raycner.config import RunConfig, read
from raycner.errors import InputError
from raycner.hashing import plain
from raycner.methods.method import METHODS
from raycner.networks.heads.linear import LinearTags
from raycner.orchestration.runner import run
from raycner.orchestration.table_rows import Row, entries, read_rows, row_of
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore
from test_cli import error_line

TAG_SYSTEMS = Path(__file__).parents[1] / "jobs" / "rows" / "tag_systems.yaml"
TOY = (
    *("scenario.corpus.name=demo", "scenario.corpus.sentences=40", "scenario.order=[person, animal]"),
    *("model.encoder.name=bilstm", "model.encoder.width=8", "optim.epochs=1", "optim.first.epochs=1"),
)
"""Two steps of a moment each."""
THREE = """
finetuning: [method.name=finetuning]
extend_ner: [method.name=extend_ner]
dld:
  overrides: [method.name=dld, method.base.name=extend_ner]
  against: extend_ner
"""


@pytest.fixture
def rows(tmp_path: Path) -> str:
    path = tmp_path / "rows.yaml"
    path.write_text(THREE, encoding="utf-8")
    return str(path)


def first_steps(store: Path) -> list[str]:
    """The steps of a store that have no step before them."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in store.glob("steps/*/step.json")]
    return [step["spec"]["scenario"] for step in records if step["spec"]["parent"] is None]


def names(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_every_row_and_seed_is_run_and_reported_on(
    rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["compare", *TOY, f"store={tmp_path / 'store'}", "--rows", rows, "--seeds", "0,1"]
    assert main([*line, "--markdown"]) == 0
    output = capsys.readouterr()
    assert "run 6 of 6: dld, seed 1" in output.err
    header, _, *table = names(output.out)
    assert header[:3] == ["system", "seeds", "average micro"] and header[-1] == "minutes a run"
    assert {row[0]: row[1] for row in table[:3]} == {"finetuning": "2", "extend_ner": "2", "dld": "2"}
    assert ["dld - extend_ner", "2"] in [row[:2] for row in table], "the paired differences"
    assert "of 2 pairs none is below 0.5 before that correction" in output.out
    steps = sorted(tmp_path.glob("store/steps/*"))
    assert len(steps) == 2 * (1 + 3), "rows of one seed share the first step"

    assert main([*line, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (test,) = document["significance"][0]["tests"]
    assert (len(document["runs"]), len(document["comparisons"]), test["seeds"]) == (6, 1, [0, 1])
    assert sorted(tmp_path.glob("store/steps/*")) == steps, "the same line trains nothing"

    assert main([*line, "--published"]) == 0
    output = capsys.readouterr()
    assert "paired differences" in output.out and "No figures are published" in output.out


def test_a_report_takes_the_same_views(rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(tmp_path / "store")
    assert main(["compare", *TOY, f"store={store}", "--rows", rows]) == 0
    capsys.readouterr()
    assert main(["report", "--store", store, "--markdown", "--published"]) == 0
    printed = capsys.readouterr().out
    assert {row[0] for row in names(printed)[2:]} == {"finetuning", "extend_ner", "dld(extend_ner)"}
    assert "No figures are published" in printed


def test_all_tag_systems_run_at_toy_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["compare", *TOY, f"store={tmp_path / 'store'}", "--rows", str(TAG_SYSTEMS)]
    assert main([*line, "--json"]) == 0
    output = capsys.readouterr()
    ran = {row["system"] for row in json.loads(output.out)["comparisons"][0]["rows"]}
    same = "extend_ner, twice the updates"
    assert ran == read_rows(str(TAG_SYSTEMS)).keys() - {same}, "one epoch of the smallest batches is one epoch"
    assert f"row '{same}' has the steps of 'extend_ner' on this job" in " ".join(output.err.split())
    kinds = "one for each head: linear, cosine, stepwise; with moments of its tags, with prototypes, averaged"
    assert len(first_steps(tmp_path / "store")) == 6, kinds


def test_the_tag_systems_are_those_of_the_tables_and_their_controls() -> None:
    listed = read_rows(str(TAG_SYSTEMS))
    systems = ("finetuning", "podnet", "lucir", "self_training", "extend_ner", "cfner", "add_ner")
    assert {*systems, "dld(extend_ner)", "dld(cfner)", "upper bound"} <= listed.keys()
    assert (listed["dld(extend_ner)"].against, listed["dld(cfner)"].against) == ("extend_ner", "cfner")
    control = RunConfig.load(listed["dld(extend_ner), plain logits at matched weight"].overrides).method
    dld = RunConfig.load(listed["dld(extend_ner)"].overrides).method
    assert dataclasses.replace(dld, decomposition="none", weight_positive=0.5) == control


def test_a_table_of_tasks_has_every_system_in_every_order() -> None:
    listed = read_rows(str(TAG_SYSTEMS.with_name("span_systems.yaml")))
    job = [*TOY, "scenario.protocol.name=split"]
    table = entries(listed, read(job), (0, 1), ("P1", "P3"))
    assert [(e.row, e.config.seed, e.config.scenario.protocol.permutation) for e in table] == [
        (row, seed, order) for seed in (0, 1) for order in ("P1", "P3") for row in listed
    ]
    assert str(table[len(listed)]) == "span_kl, seed 0, order P3"
    bounds = [e.row for e in table[: len(listed)] if e.config.scenario.joint]
    assert bounds == ["upper bound, spans", "upper bound, tags"]


def test_types_are_learned_in_several_orders_where_there_are_no_tasks() -> None:
    table = entries({"plain": Row(overrides=("method.name=finetuning",))}, read(TOY), (0, 1), ("P1", "P2"))
    orders = [(str(entry), entry.config.scenario.order) for entry in table]
    assert orders[0] == ("plain, seed 0", ("person", "animal"))
    assert [name for name, _ in orders[1:]] == [f"plain, seed {one}" for one in ("0, order P2", "1", "1, order P2")]
    assert {order for _, order in orders[1::2]} <= {("person", "animal"), ("animal", "person")}
    few = read([*TOY, "scenario.protocol.name=few_shot"])
    drawn = entries({"plain": Row(overrides=("method.name=finetuning",))}, few, (0,), ("P1", "P2"))
    assert [e.config.scenario.protocol.draw for e in drawn] == [1, 2]
    assert {e.config.scenario.order for e in drawn} == {("person", "animal")}
    for job, order, expected in ((TOY, "reverse", "'reverse' is no order"), (TOY[:2], "P2", "no order of types")):
        with pytest.raises(InputError, match=expected):
            entries({"plain": Row(overrides=("method.name=finetuning",))}, read(job), (0,), (order,))


def test_methods_that_train_one_head_share_one_first_step(tmp_path: Path) -> None:
    """Whatever is dropped into methods/ is held to it."""
    store = tmp_path / "store"
    head = RunConfig.load(TOY).model.head.module
    assert head is LinearTags
    trained = [name for name, kind in METHODS.items() if kind.trains(head)]
    for name in trained:
        wraps = "base" in {field.name for field in dataclasses.fields(METHODS[name])}
        base = ["method.base.name=extend_ner"] if wraps else []
        memory = ["scenario.memory={size: 2, keep: logits}"] if name == "der" else []
        run(RunConfig.load([*TOY, f"store={store}", f"method.name={name}", *base, *memory]), runs.silent)
    ledgers = RunLedger.all(ObjectStore(str(store)))
    assert {ledger.label for ledger in ledgers} >= {"finetuning", "self_training", "extend_ner", "dld(extend_ner)"}
    assert len({ledger.planned[0].fingerprint for ledger in ledgers}) == 1
    assert len(first_steps(store)) == 1
    assert len(list(store.glob("steps/*"))) == 1 + len(trained)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("- a\n- b\n", "no rows"),
        ("", "no rows"),
        ("a: [unclosed", "not YAML"),
        ("a: {override: [x=1]}", "override: no such setting; did you mean overrides?"),
        ("a: {layers: [x=1]}", "layers: no such setting; it is now called `overrides`"),
        ("a: {against: b}", "overrides: missing"),
        ("a: method.name=dld", "expected settings, found 'method.name=dld'"),
        ("a: {overrides: [method.name=finetuning], against: bee}\nbe: []", "no row is called 'bee'; did you mean be?"),
        ("a: {overrides: [x=1], control_of: b}", "a control has both control_of and isolates"),
        ("a: {overrides: [x=1], control_of: b, isolates: it}", "no row is called 'b'"),
        ("a: {overrides: [x=1], against: a}", "a row is not compared with itself"),
        ("new: [method.name=extendner]", "row 'new': method.name: no method is called 'extendner'; did you mean"),
        ("new: [method.name=dld]", "row 'new': method.base.name: no method is chosen"),
        ("new: [no/such/layer.yaml]", "row 'new': no/such/layer.yaml: cannot read it"),
        ("a: [method.name=extend_ner]\nb: [method.name=extend_ner]", "row 'b': the same as 'a' on this job"),
    ],
)
def test_bad_rows_get_one_line_before_anything_is_trained(
    content: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.yaml"
    path.write_text(content, encoding="utf-8")
    line = error_line(capsys, "compare", *TOY, f"store={tmp_path / 'store'}", "--rows", str(path))
    assert expected in line
    assert not (tmp_path / "store" / "steps").exists()


def test_a_file_of_rows_that_is_missing_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no/rows.yaml: cannot read it" in error_line(capsys, "compare", *TOY, "--rows", "no/rows.yaml")


@pytest.mark.parametrize("seeds", ["one", "0,-1", "", "0;1"])
def test_bad_seeds_are_rejected(seeds: str, rows: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = error_line(capsys, "compare", *TOY, "--rows", rows, f"--seeds={seeds}")
    assert line.startswith("raycner: --seeds: ") and "is not a list of seeds; write 0,1,2" in line


def test_seeds_go_round_before_rows_do(rows: str) -> None:
    table = [str(entry) for entry in entries(read_rows(rows), read(TOY), (3, 1))]
    assert table[:4] == ["finetuning, seed 3", "extend_ner, seed 3", "dld, seed 3", "finetuning, seed 1"]


def test_a_report_names_stored_runs_by_the_rows(rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, other = str(tmp_path / "store"), tmp_path / "other.yaml"
    tables = [["compare", *TOY, f"store={store}"], ["report", "--store", store]]
    printed = []
    for line in tables:
        assert main([*line, "--rows", rows, "--markdown"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1], "the same table, from the store alone"
    other.write_text("nothing: [method.name=lucir]", encoding="utf-8")
    assert "no run has the overrides of a row" in error_line(capsys, *tables[1], "--rows", str(other))


def test_a_run_is_of_the_row_with_most_of_its_settings() -> None:
    table = {"plain": Row(overrides=("method.name=finetuning",)), "ours": Row(overrides=("method.name=extend_ner",))}
    table["weighted"] = Row(overrides=("method.name=extend_ner", "method.weighting=mean"))

    def of(*overrides: str) -> str | None:
        return row_of(plain(RunConfig.load([*TOY, *overrides])), table)

    assert [of("method.name=extend_ner"), of("method.name=extend_ner", "method.weighting=mean")] == ["ours", "weighted"]
    assert of("method.name=extend_ner", "method.kd_weight=5") == "ours", "the table shows kd_weight next to it"
    assert of("method.name=self_training") is None


def test_a_system_read_otherwise_is_another_run_on_the_same_steps(tmp_path: Path) -> None:
    names = []
    for decoding in ("argmax", "constrained"):
        config = RunConfig.load([*TOY, f"store={tmp_path}", f"eval.decoding={decoding}"])
        names.append(run(config, runs.silent).run)
    ledgers = {ledger.run: ledger for ledger in RunLedger.all(ObjectStore(str(tmp_path)))}
    assert sorted(ledgers) == sorted(names) and len(set(names)) == 2
    assert len({ledger.planned for ledger in ledgers.values()}) == 1


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=6))
def test_a_paired_test_looks_the_same_from_both_sides(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*pairs, strict=True)
    effect, turned = paired_effect(ours, theirs), paired_effect(theirs, ours)
    assert effect.p == turned.p and smallest_p(len(pairs)) <= (effect.p or 0) <= 1
    assert effect.low is not None and effect.high is not None and turned.high is not None
    assert effect.low <= effect.mean <= effect.high and effect.low == pytest.approx(-turned.high)
    assert paired_effect(ours[:1], theirs[:1]).p is None
    assert paired_effect(ours, ours).p == 1


@pytest.mark.parametrize("file", sorted(TAG_SYSTEMS.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_rows_of_a_file_run_on_the_job_that_it_names(file: Path) -> None:
    head = file.read_text(encoding="utf-8").partition("raycner compare ")[2]
    table = read_rows(str(file))
    job = read([str(file.parents[2] / head.split()[0])])
    assert [entry.row for entry in entries(table, job, (0,))] == list(table)
    assert not [name for name, row in table.items() if row.control_of and table[row.control_of].control_of], (
        "of a system"
    )
