"""The Python API: what a notebook does with jobs, runs, reports, searches and stores."""

import subprocess
import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from types import ModuleType

import pytest

import raycner
import runs
from raycner import InputError, Run, RunConfig
from raycner.analysis.scores import scores
from raycner.api.evaluations import EvaluateOptions, evaluate
from raycner.api.gates import GateOptions, gate
from raycner.api.jobs import load_config
from raycner.cli.program import VERBS
from raycner.data import metrics
from raycner.events import Event, StepReused
from raycner.settings import flat, merge, nested
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore
from test_report import counted, with_test_sets

COUNTERPARTS = {
    "adopt": "adopt",
    "annotate": "annotate",
    "gate": "gate",
    "promote": "promote",
    "rollback": "rollback",
    "aliases": "aliases",
    "history": "history",
    "serve": "serve",
    "watch": "watch",
    "init": "init",
    "settings": "describe_settings",
    "inspect": "inspect",
    "prepare": "prepare",
    "plan": "plan",
    "run": "run",
    "compare": "compare",
    "leaderboard": "leaderboard",
    "search": "search",
    "report": "report",
    "store": "Store",
    "predict": "Predictor.of",
    "export": "Run.export",
    "extend": "Run.extend",
    "evaluate": "evaluate",
}
"""Verb -> what does it in Python."""


@pytest.fixture
def store(trained: str) -> Path:
    """The store of one finished run of three steps."""
    return Path(trained)


@pytest.fixture
def run(store: Path) -> Run:
    return raycner.load_run("columns", store)


@pytest.mark.parametrize(("function", "options"), [(evaluate, EvaluateOptions), (gate, GateOptions)])
def test_a_run_takes_the_options_of_the_function(function: Callable[..., object], options: type[object]) -> None:
    given_by_the_run = {"model", "files", "test", "store", "against"}
    assert set(options.__annotations__) == set(signature(function).parameters) - given_by_the_run


def test_the_package_lists_its_names_and_has_them() -> None:
    assert dir(raycner) == sorted(raycner.__all__)
    for name in raycner.__all__:
        assert getattr(raycner, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = raycner.nothing


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_every_verb_has_a_counterpart(verb: ModuleType) -> None:
    value: object = raycner
    for name in COUNTERPARTS[verb.__name__.rpartition(".")[2]].split("."):
        value = getattr(value, name)
    assert callable(value)


def test_loading_runs_needs_no_torch(store: Path, run: Run) -> None:
    code = f"import sys, raycner; run = raycner.load_runs(store={str(store)!r})[0]; run.scores(); run._repr_html_()\n"
    code += f"raycner.report(store={str(store)!r}).markdown(); raycner.Store({str(store)!r}).runs()\n"
    code += "print(run.name, *sorted({'torch', 'ray', 'optuna', 'transformers'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [run.name]


def nested_settings() -> dict[str, object]:
    settings: dict[str, object] = {}
    for config in runs.SMALL:
        key, _, _ = config.partition("=")
        value: object = RunConfig.load(runs.SMALL)
        for part in key.split("."):
            value = getattr(value, part)
        settings = merge(settings, nested(key, value))
    return settings


@pytest.mark.parametrize("form", ["list", "nested", "dotted", "config", "overrides", "file"])
def test_a_job_has_many_forms(form: str, tmp_path: Path) -> None:
    expected = RunConfig.load([*runs.SMALL, "seed=3"])
    settings = nested_settings()
    (tmp_path / "job.yaml").write_text(repr(nested_settings()).replace("(", "[").replace(")", "]"), encoding="utf-8")
    made = {
        "list": lambda: load_config(runs.SMALL, (), {"seed": 3}),
        "nested": lambda: load_config(settings, (), {"seed": 3}),
        "dotted": lambda: load_config(flat(settings), {"seed": 3}),
        "config": lambda: load_config(RunConfig.load(runs.SMALL), {"seed": 3}),
        "overrides": lambda: load_config({}, [*runs.SMALL, "seed=3"]),
        "file": lambda: load_config(tmp_path / "job.yaml", ["seed=1"], {"seed": 3}),
    }
    assert made[form]() == expected


def test_overrides_win_from_left_to_right_and_drop_what_another_method_had() -> None:
    config = load_config(runs.SMALL, {"method.name": "finetuning", "optim.epochs": 7}, {"optim": {"lr": 0.5}})
    assert (config.method.label, config.optim.epochs, config.optim.lr) == ("finetuning", 7, 0.5)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"optim.epoch": 3}, "optim.epoch: no such setting; did you mean epochs?"),
        ({"method.name": "extendner"}, "did you mean extend_ner?"),
        (["no/such/job.yaml"], "no/such/job.yaml: cannot read it"),
    ],
)
def test_a_bad_job_is_raised_and_nothing_is_printed(
    overrides: object, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError) as error:
        raycner.run(runs.SMALL, overrides, store=str(tmp_path))  # type: ignore[arg-type]
    assert expected in str(error.value)
    assert not capsys.readouterr().out


def test_a_run_is_what_the_ledger_says(run: Run, store: Path) -> None:
    ledger = RunLedger.open(ObjectStore(str(store)), run.name)
    assert (run.name, run.label, run.finished, run.types) == (ledger.run, ledger.label, True, ledger.records()[-1].seen)
    assert run.steps == tuple(ledger.records())
    assert run.data == scores(ledger)
    assert repr(run).startswith(f"<Run {ledger.run}: 3 of 3 steps, average micro-F1 ")
    assert "step" in run._repr_html_() and "<script" not in run._repr_html_()


def test_the_same_call_again_trains_nothing_and_reports_it(
    run: Run, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = runs.weights(store)
    again = raycner.run(run.job)
    assert again.name == run.name and runs.weights(store) == before
    assert capsys.readouterr().out.count("taken from the store") == 3


def test_progress_can_be_off_or_a_function(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    events: list[Event] = []
    raycner.run(run.job, progress=events.append)
    assert [event.record for event in events if isinstance(event, StepReused)] == list(run.steps)
    raycner.run(run.job, progress=False)
    assert capsys.readouterr() == ("", "")


def test_scores_have_one_row_per_step_and_type(run: Run) -> None:
    frame = run.scores()
    assert frame["f1"].max() > 0
    assert list(frame.columns) == ["step", "type", "new", "precision", "recall", "f1", "support", "tp", "fp", "fn"]
    assert frame.groupby("step").size().tolist() == [2, 3, 4]
    for step in run.data.steps:
        rows = frame[frame["step"] == step.index + 1].set_index("type")
        assert sorted(rows.index[rows["new"]]) == sorted(step.learns)
        for name, counts in step.counts.items():
            tp, fp, fn = counts
            row = rows.loc[name]
            assert (row["tp"], row["fp"], row["fn"], row["support"]) == (tp, fp, fn, tp + fn)
            assert row["precision"] == pytest.approx(100 * metrics.precision((tp, fp, fn)))
            assert row["recall"] == pytest.approx(100 * metrics.recall((tp, fp, fn)))
            assert row["f1"] == pytest.approx(100 * metrics.f1((tp, fp, fn)))


def test_a_score_that_is_undefined_is_no_number() -> None:
    from raycner.api.frames import scores_by_type

    frame = scores_by_type(scores(counted(a=(0, 0, 0), b=(0, 0, 2), c=(0, 3, 0)))).set_index("type")
    assert frame.loc["a", ["precision", "recall", "f1"]].isna().all()
    assert frame.loc["b", ["precision", "recall", "f1"]].tolist() == [0, 0, 0]
    assert frame.loc["c", ["precision", "recall", "f1"]].tolist() == [0, 0, 0]


def test_scores_on_an_extra_test_set_are_a_frame() -> None:
    run = Run(with_test_sets(), ObjectStore("never-written-to"))
    frame = run.scores(test="news")
    assert frame[["step", "type", "tp", "fp", "fn"]].to_numpy().tolist() == [
        [1, "LOC", 6, 2, 4],
        [2, "LOC", 3, 1, 1],
        [2, "PER", 1, 3, 0],
    ]
    assert frame["recall"].tolist() == [60, 75, 100] and frame.columns.tolist() == run.scores().columns.tolist()
    assert run.scores(test="tweets")["step"].tolist() == [2, 2]
    with pytest.raises(InputError, match=r"no step has scores on a test set 'new'; did you mean news\?"):
        run.scores(test="new")


def test_a_run_without_extra_test_sets_says_how_to_get_one(run: Run) -> None:
    with pytest.raises(InputError, match=r"'news'; name one in eval\.test, and run again"):
        run.scores(test="news")


def test_summary_and_epochs_have_one_row_each(run: Run) -> None:
    summary, epochs = run.summary(), run.epochs()
    assert summary["step"].tolist() == [1, 2, 3]
    assert summary["micro"].tolist() == [step.micro for step in run.data.steps]
    assert summary["old"].isna().tolist() == [True, False, False]
    assert epochs.groupby("step")["epoch"].max().tolist() == [len(step.epochs) for step in run.steps]
    assert {column for column in epochs if column.startswith("loss_")} == {
        f"loss_{term}" for step in run.steps for epoch in step.epochs for term in epoch.losses
    }


def test_a_run_is_loaded_by_name_or_beginning(run: Run, store: Path) -> None:
    assert raycner.load_run(run.name[:8], store).name == run.name
    assert run.name in [loaded.name for loaded in raycner.load_runs(store=store)]
    with pytest.raises(InputError, match="no run is called 'nosuch'"):
        raycner.load_run("nosuch", store)
    assert raycner.load_runs(store=store / "empty") == []


@pytest.mark.parametrize(("step", "number"), [(-1, 3), (-3, 1), (1, 1), (2, 2)])
def test_a_step_is_used_by_its_number(step: int, number: int, run: Run) -> None:
    assert run.predictor(step).types == run.steps[number - 1].seen


@pytest.mark.parametrize("step", [0, 4, -4])
def test_a_step_that_is_not_finished_is_rejected(step: int, run: Run) -> None:
    with pytest.raises(InputError, match=f"no step {step} is finished; finished are 1, 2, 3"):
        run.predictor(step)


def test_a_step_is_exported(run: Run, tmp_path: Path) -> None:
    folder = run.export(tmp_path / "exported", 2)
    assert raycner.Predictor.of(str(folder)).types == run.steps[1].seen
    with pytest.raises(InputError):
        run.export(folder)


def test_a_step_is_evaluated_as_it_was_scored(run: Run) -> None:
    frame = run.scores()
    expected = frame[frame["step"] == 2].set_index("type")[["precision", "recall", "f1", "support"]]
    evaluation = run.evaluate(step=2, resamples=0, progress=False).scores().set_index("type")
    for name, row in expected.iterrows():
        assert evaluation.loc[name, expected.columns].tolist() == pytest.approx(row.tolist())


def test_rows_are_compared(tmp_path: Path) -> None:
    rows = {"kd": ["method.base.kd_weight=1"], "plain": {"overrides": ["method.name=finetuning"], "against": "kd"}}
    tiny = {"optim.epochs": 1, "optim.first.epochs": 1}
    report = raycner.compare(runs.SMALL, rows, tiny, seeds=[0, 1], progress=False, store=str(tmp_path))
    assert len(report) == 4
    (paired,) = report.data.significance or ()
    assert [(test.row, test.against) for test in paired.tests] == [("plain", "kd")]
    assert set(report.scores()["label"]) == {"kd", "plain"} and set(report.summary()["seed"]) == {0, 1}
    assert "| kd" in report.markdown() and "plain" in report._repr_html_()
    report.write_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 10_000
    assert {one.name for one in report.runs} == {one.name for one in raycner.report(store=tmp_path).runs}


def test_a_plan_knows_what_is_stored(run: Run, trained_layers: list[str]) -> None:
    steps = raycner.plan(trained_layers, progress=False)
    assert [step.fingerprint for step in steps] == [step.fingerprint for step in run.steps]
    assert all(step.stored for step in steps)
    assert not any(step.stored for step in raycner.plan(run.job, seed=9, progress=False))


def test_a_corpus_is_prepared(tmp_path: Path) -> None:
    (corpus,) = raycner.prepare(runs.SMALL, store=str(tmp_path), progress=False)
    assert len(corpus["train"]) > 60
    assert list((tmp_path / "corpora").iterdir())


def test_a_store_shows_what_it_has(run: Run, store: Path) -> None:
    place = raycner.Store(store)
    assert run.name in {one.name for one in place.runs()} and place.run(run.name).name == run.name
    assert place.searches() == [] and list(place.damages()) == []
    assert run.name in place._repr_html_() and str(store) in repr(place)
