"""Published figures: what the tables hold, which setting a run belongs to, and our scores next to published ones."""

import io
import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import raycner
from raycner.analysis.published import CORPORA, Published, _figures, departures, setting_of, system
from raycner.analysis.statistics import Score
from raycner.analysis.summary import Summary, summary, with_published
from raycner.data.layouts.layout import LAYOUTS
from raycner.hashing import plain
from raycner.reporting.html.page import contents, html
from raycner.reporting.markdown import as_markdown
from raycner.reporting.report import show
from raycner.storage.ledger import RunLedger
from test_report import line, run

TYPES = {corpus: types for types, corpus in CORPORA.items() if types[0] != "LOC"}
CONLL = TYPES["CoNLL2003"]
DLD = {"name": "dld", "decomposition": "product", "base": {"name": "extend_ner", "teacher_temperature": 1.0}}
SELF_TRAINING = {"name": "extend_ner", "teacher_temperature": 0.01}


def steps(types: tuple[str, ...], first: int, later: int) -> list[list[str]]:
    ends = range(first, len(types) + 1, later)
    return [list(types[:first]), *(list(types[end - later : end]) for end in ends[1:])]


def flat(score: float, plan: list[list[str]]) -> list[list[float | None]]:
    """Every type scores the same at every step."""
    return [[score] * sum(map(len, plan[: index + 1])) for index in range(len(plan))]


def ran(score: float, plan: list[list[str]], method: dict[str, Any], **settings: Any) -> RunLedger:
    return run(flat(score, plan), plan, method=method, **({"label": method["name"]} | settings))


def published_view(*ledgers: RunLedger) -> tuple[Summary, Published]:
    report = with_published(summary(ledgers))
    assert report.published
    return report, report.published[0]


def shown(report: Summary, width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    show(report, console)
    return console.file.getvalue()


def test_every_setting_has_its_systems() -> None:
    settings = {
        ("CoNLL2003", "FG-1-PG-1"): 12,
        ("CoNLL2003", "FG-2-PG-1"): 12,
        **{("I2B2", f"FG-{fg}-PG-{pg}"): 12 for fg, pg in ((1, 1), (2, 2), (8, 1), (8, 2))},
        **{("OntoNotes5", f"FG-{fg}-PG-{pg}"): 11 for fg, pg in ((1, 1), (2, 2), (8, 1), (8, 2))},
    }
    assert {setting: len(figures) for setting, figures in _figures().items()} == settings
    for figures in _figures().values():
        assert len({(figure.system, figure.by) for figure in figures}) == len(figures)


def test_the_steps_of_a_system_average_to_its_figure() -> None:
    """As precisely as steps of one decimal can."""
    curves = 0
    for (corpus, setting), figures in _figures().items():
        _, first, _, later = setting.split("-")
        number = 1 + (len(TYPES[corpus]) - int(first)) // int(later)
        for figure in figures:
            if figure.curve is None:
                continue
            curves += 1
            for measure in ("micro", "macro"):
                curve = figure.curve[measure]
                mean = figure.score(measure).mean
                assert len(curve) == number
                assert sum(curve) / number == pytest.approx(mean, abs=0.05), (corpus, setting, figure.system)
    assert curves == 62


def test_no_figure_stands_in_two_settings_any_more() -> None:
    """The table error that was corrected is I2B2's figures under OntoNotes5."""
    seen = [(f.system, f.micro.mean, f.macro.mean) for figures in _figures().values() for f in figures]
    assert len(set(seen)) == len(seen)
    corrected = [(s, f) for s, figures in _figures().items() for f in figures if f.printed]
    assert {(*setting, figure.system) for setting, figure in corrected} == {
        ("OntoNotes5", "FG-2-PG-2", "podnet"),
        ("OntoNotes5", "FG-2-PG-2", "lucir"),
    }
    for (_, setting), figure in corrected:
        (i2b2,) = [f for f in _figures()["I2B2", setting] if f.system == figure.system]
        assert figure.printed == {"micro": i2b2.micro.mean, "macro": i2b2.macro.mean}


def test_figures_of_each_table_as_printed() -> None:
    dld = next(f for f in _figures()["I2B2", "FG-8-PG-2"] if f.system == "dld(cfner)")
    assert (dld.by, dld.micro, dld.macro) == (
        "DLD",
        Score(mean=70.88, std=0.70),
        Score(mean=53.21, std=0.92),
    )
    joint = next(f for f in _figures()["CoNLL2003", "FG-2-PG-1"] if f.system == "joint")
    assert (joint.micro, joint.curve) == (
        Score(mean=87.30, std=None),
        {"micro": (87.2, 85.8, 88.9), "macro": (84.3, 84.0, 86.7)},
    )


def test_the_tables_are_packed_with_the_code() -> None:
    pattern = "published_*.csv"
    assert len(list((Path(raycner.__file__).parent / "analysis").glob(pattern))) == 2
    packed = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert pattern in packed["package-data"]["raycner.analysis"]


def test_the_types_are_those_of_the_layout() -> None:
    assert LAYOUTS["conll2003"].types == CONLL
    assert {corpus: len(types) for corpus, types in TYPES.items()} == {"CoNLL2003": 4, "I2B2": 16, "OntoNotes5": 18}
    assert all(tuple(sorted(types)) == types for types in CORPORA)


@pytest.mark.parametrize(
    ("plan", "setting"),
    [
        (steps(CONLL, 1, 1), ("CoNLL2003", "FG-1-PG-1")),
        (steps(("LOC", "MISC", "ORG", "PER"), 2, 1), ("CoNLL2003", "FG-2-PG-1")),
        (steps(TYPES["I2B2"], 8, 2), ("I2B2", "FG-8-PG-2")),
        (steps(TYPES["OntoNotes5"], 8, 1), ("OntoNotes5", "FG-8-PG-1")),
        (steps(CONLL[::-1], 1, 1), None),
        (steps(CONLL[:3], 1, 1), None),
        ([list(CONLL)], None),
        ([["location"], ["misc", "organisation"], ["person"]], None),
        ([], None),
    ],
)
def test_a_setting_is_identified_by_types_and_sizes(plan: list[list[str]], setting: tuple[str, str] | None) -> None:
    assert setting_of(plan) == setting


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ({"name": "finetuning"}, "finetuning"),
        ({"name": "self_training", "threshold": 0.0}, "self_training"),
        (SELF_TRAINING, "self_training"),
        ({"name": "extend_ner", "teacher_temperature": 1.0}, "extend_ner"),
        ({"name": "extend_ner"}, "extend_ner"),
        (DLD, "dld(extend_ner)"),
        (DLD | {"decomposition": "none"}, None),
        (DLD | {"base": {"name": "cfner"}}, "dld(cfner)"),
        ({"name": "podnet"}, "podnet"),
    ],
)
def test_a_run_is_the_system_that_its_method_is(method: dict[str, Any], name: str | None) -> None:
    plan = steps(CONLL, 1, 1)
    (record,) = summary([ran(50.0, plan, method)]).runs
    assert system(record) == name


def test_a_joint_run_is_the_bound() -> None:
    plan = steps(CONLL, 1, 1)
    bound, distilled = summary(
        [ran(80.0, plan, method, protocol="joint") for method in ({"name": "finetuning"}, {"name": "extend_ner"})]
    ).runs
    assert (system(bound), system(distilled)) == ("joint", None)


def test_scores_published_scores_and_differences() -> None:
    plan = steps(CONLL, 1, 1)
    seeds = [ran(score, plan, {"name": "extend_ner"}, seed=seed) for seed, score in enumerate((70.0, 72.0))]
    _, published = published_view(*seeds, ran(60.0, plan, {"name": "add_ner"}), ran(60.0, plan, SELF_TRAINING))
    assert (published.setting, published.unpublished) == ("CoNLL2003 FG-1-PG-1", ("add_ner",))
    pairs = {(pair.theirs.system, pair.theirs.by): pair for pair in published.pairs}
    assert len(pairs) == len(published.pairs) == 12
    for by, micro in (("CFNER", 76.36), ("DLD", 76.07)):
        pair = pairs["extend_ner", by]
        assert pair.ours and pair.difference
        assert (pair.ours["micro"].mean, pair.ours["micro"].std) == pytest.approx((71.0, 2**0.5))
        assert pair.difference["micro"] == pytest.approx(71.0 - micro)
    self_training = pairs["self_training", "CFNER"]
    assert self_training.difference
    assert self_training.difference["macro"] == pytest.approx(60.0 - 72.88)
    assert pairs["cfner", "CFNER"].ours is None


def test_unfinished_runs_are_not_compared_with_published_ones() -> None:
    plan = steps(CONLL, 1, 1)
    begun = run(flat(50.0, plan)[:2], plan, label="finetuning", method={"name": "finetuning"})
    _, published = published_view(begun)
    assert published.setting and all(pair.row is None for pair in published.pairs)


@pytest.mark.parametrize("settings", [{"protocol": "steps"}, {}])
def test_an_unknown_setting_is_reported_in_one_line(settings: dict[str, str]) -> None:
    plan = steps(CONLL, 1, 1) if settings else [["person"], ["place"]]
    report, nothing = published_view(ran(50.0, plan, {"name": "finetuning"}, **settings))
    assert nothing == Published(setting=None)
    unknown = "No figures are published of these types in these steps."
    assert shown(report).count(unknown) == as_markdown(report).count(unknown) == 1


def test_the_two_corrected_cells_carry_an_asterisk_and_a_note() -> None:
    plan = steps(TYPES["OntoNotes5"], 2, 2)
    report, _ = published_view(ran(50.0, plan, {"name": "podnet"}))
    text = shown(report)
    head = text[: text.index("Differences over")]
    podnet, lucir = (line(head, f"{name}, CFNER") for name in ("podnet", "lucir"))
    assert podnet[2:] == ["19.0*", "16.9*", "50.0", "50.0", "+31.0", "+33.1"]
    assert lucir[2:] == ["56.4*", "40.6*", "-", "-", "-", "-"]
    assert line(head, "cfner, CFNER")[2:4] == ["72.6±0.5", "56.0±0.7"]
    assert text.count("* Corrected: ") == 1
    assert "printed are the figures of I2B2, podnet 34.67 / 24.62 and lucir 64.32 / 43.53;" in " ".join(text.split())
    assert "Corrected" not in shown(published_view(ran(50.0, steps(CONLL, 1, 1), {"name": "podnet"}))[0])


def test_the_scores_after_each_step_stand_under_theirs() -> None:
    report, _ = published_view(ran(50.0, steps(CONLL, 1, 1), {"name": "finetuning"}))
    lines = shown(report).splitlines()
    start = next(number for number, text in enumerate(lines) if text.strip().startswith("macro-F1"))
    theirs = next(n for n, text in enumerate(lines) if n > start and text.strip().startswith("finetuning, CFNER"))
    assert lines[theirs].split()[2:] == ["86.0", "32.1", "22.3", "22.2"]
    assert lines[theirs + 1].split() == ["ours", "50.0", "50.0", "50.0", "50.0"]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    plan = steps(TYPES["OntoNotes5"], 1, 1)
    light = [ran(50.0 + number, plan, DLD | {"weight": number}, label="dld(extend_ner)") for number in range(3)]
    report, _ = published_view(*light, ran(50.0, plan, {"name": "finetuning"}))
    assert max(map(len, shown(report, width).splitlines())) <= width


def test_the_comparison_has_json_and_markdown() -> None:
    plan = steps(TYPES["OntoNotes5"], 2, 2)
    report, theirs = published_view(ran(50.0, plan, {"name": "lucir"}), ran(40.0, plan, {"name": "finetuning"}))
    assert json.loads(json.dumps(report.document(), allow_nan=False))["published"] == [plain(theirs)]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in as_markdown(report).splitlines() if "|" in row]
    assert ["lucir, CFNER", "56.4\\*", "40.6\\*", "50.0", "50.0", "-6.4", "+9.4"] in rows


CFNER_HEAD = {"name": "cosine", "norm_axis": "sequence", "decoding": "argmax"}


def test_a_difference_over_three_points_names_what_was_done_otherwise() -> None:
    plan = steps(CONLL, 1, 1)
    ours = [ran(84.0, plan, {"name": "finetuning"}, protocol="joint"), ran(60.0, plan, DLD, label="dld(extend_ner)")]
    report, theirs = published_view(*ours)
    pairs = {pair.theirs.system: pair for pair in theirs.pairs if pair.row}
    assert (pairs["joint"].notable, pairs["dld(extend_ner)"].notable) == (False, True)
    causes = {one.cause: (one.ours, one.theirs) for one in pairs["dld(extend_ner)"].departures}
    assert causes["encoder"] == ("pretrained", "bert-base-cased")
    assert causes["updates"][1] == "10 epochs, batches of 8" and causes["loss"][1] == "formula not available"
    assert {"head", "slices"} < causes.keys()
    weights = {"weighting": "word", "kd_weight": 1.0, "student_temperature": 1.0}
    (record,) = summary([ran(50.0, plan, {"name": "extend_ner", **weights})]).runs
    loss = next(one for one in departures(record) if one.cause == "loss")
    assert (loss.ours, loss.theirs) == (
        "weighting=word, student_temperature=1.0",
        "weighting=mean, student_temperature=2.0",
    )
    for text in (shown(report), as_markdown(report), html(contents(report))):
        assert "Differences over 3 points: what was done otherwise" in text
        assert "encoder: pretrained; theirs: bert-base-cased" in " ".join(text.split())
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    assert {"cause": "encoder", "ours": "pretrained", "theirs": "bert-base-cased"} in [
        one for pair in document["published"][0]["pairs"] for one in pair["departures"]
    ]
    assert "Differences over" not in shown(published_view(ours[0])[0]), "84.0 is within three points of 85.65 and 83.66"


def test_the_published_recipe_departs_in_nothing_that_is_recorded() -> None:
    ledger = ran(50.0, steps(CONLL, 1, 1), {"name": "finetuning"}, head=CFNER_HEAD)
    optim = {"epochs": 10, "batch_size": 8, "optimizer": "sgd"}
    (record,) = summary([ledger]).runs
    scenario = {**record.config["scenario"], "protocol": {"name": "fg_pg", "sampling": "file"}}
    model = {**record.config["model"], "encoder": {"name": "pretrained", "path": "models/bert-base-cased"}}
    as_published = replace(record, config={**record.config, "optim": optim, "model": model, "scenario": scenario})
    assert departures(as_published) == ()
    assert [one.cause for one in departures(replace(as_published, decoder="constrained"))] == ["decoder"]
