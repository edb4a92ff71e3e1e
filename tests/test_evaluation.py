"""Evaluations: made from checkpoints, kept next to steps, named by what they read; nothing is trained for them."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2

import raycner
import runs
from raycner.__main__ import main
from raycner.config import EvalConfig, RunConfig
from raycner.data.entities import Entity, encode
from raycner.data.scenarios.scenario import Scenario
from raycner.errors import InputError
from raycner.evaluation.entity_scores import SentenceCounts, score
from raycner.evaluation.evaluator import DEFAULT, EvaluationKey
from raycner.events import Event, ScoringStarted, StepFinished, StepReused
from raycner.inference.evaluate import evaluate
from raycner.orchestration.runner import run
from raycner.storage.housekeeping import damages, leftovers
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore
from raycner.training.checkpoint import StepCheckpoint

LEARNING = ("scenario.protocol.first=2", "optim.epochs=4", "optim.first.epochs=20", "scenario.corpus.sentences=240")
FIXTURES = Path(__file__).parent / "fixtures"
BEFORE = (
    *("scenario.corpus.name=demo", "scenario.corpus.sentences=160", "scenario.order=[location, person, product]"),
    *(
        "scenario.protocol.first=2",
        "model.encoder.name=bilstm",
        "model.encoder.word_width=8",
        "model.encoder.char_width=4",
    ),
    *("model.encoder.width=8", "method.name=self_training", "optim.epochs=4", "optim.first.epochs=24"),
    *("optim.lr=0.02", "optim.head_lr=0.02", "optim.batch_size=8"),
)
"""The runs in `fixtures/store_0_1.zip`. Their `optim.calibration` is none, carried, and read_out with conlleval."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a finished run."""
    store = tmp_path_factory.mktemp("whole")
    run(runs.small(store, *LEARNING), runs.silent)
    return store


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "store"))


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A store that version 0.1 wrote: scores lie in the steps, and the shift of the read-out among the weights."""
    with zipfile.ZipFile(FIXTURES / "store_0_1.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path / "store"


def again(
    store: Path, *settings: str, base: tuple[str, ...] = (*runs.SMALL, *LEARNING)
) -> tuple[RunLedger, list[Event]]:
    """Run once more with other settings: the ledger, and every event."""
    events: list[Event] = []
    ledger = run(RunConfig.load([*base, f"store={store}", *settings]), events.append)
    return ledger, events


def counted(events: list[Event]) -> tuple[int, int]:
    """How many steps were trained, and how many were evaluated."""
    trained = sum(isinstance(event, StepFinished) for event in events)
    return trained, sum(isinstance(event, ScoringStarted) for event in events)


def files(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.glob("steps/*/*")}


# ---- nothing is trained for an evaluation


@pytest.mark.parametrize(
    "setting",
    [
        "eval.counting=conlleval",
        "eval.calibration=read_out",
        "eval.decoding=argmax",
        "eval.test.more={name: demo}",
    ],
)
def test_a_finished_run_is_only_evaluated(store: Path, setting: str) -> None:
    steps, raw = files(store), runs.ledger(store).records()
    ledger, events = again(store, setting)
    assert (counted(events), files(store)) == ((0, 2), steps)
    assert sum(isinstance(event, StepReused) for event in events) == 2
    assert ledger.finished and [r.fingerprint for r in ledger.records()] == [r.fingerprint for r in raw]
    repeated, events = again(store, setting)
    assert counted(events) == (0, 0)
    assert repeated.records() == ledger.records()
    default, events = again(store)
    assert counted(events) == (0, 0)
    assert default.records() == raw


def test_each_kind_of_evaluation_has_its_counts(store: Path) -> None:
    raw = runs.ledger(store).records()
    ledger, _ = again(store, "eval.counting=conlleval", "eval.calibration=read_out", "eval.test.same={name: demo}")
    for plain, record in zip(raw, ledger.records(), strict=True):
        assert (record.dev, record.test) == (plain.dev, plain.test)
        assert (plain.calibration, plain.conlleval, plain.tests) == (None, None, None)
        assert record.calibration is not None and record.conlleval is not None and record.tests is not None
        assert record.conlleval.keys() == record.test.keys()
        (extra,) = record.tests.values()
        assert all(extra[kind][0] + extra[kind][2] > tp + fn for kind, (tp, _, fn) in record.test.items())
        assert plain.evaluation == DEFAULT.fingerprint != record.evaluation


def test_seqeval_confirms_the_counts_of_a_finished_run(whole: Path) -> None:
    """Its strict precision, recall, F1 and support of every type and over types, after every step, to the last bit."""
    run = raycner.load_run("demo", whole)
    scenario = Scenario.open(
        run.job.scenario, ObjectStore(str(whole)), [note.fingerprint for note in run.ledger.corpora]
    )
    for step in run.data.steps:
        sentences = [s for split in scenario[step.index].test for s in split.sentences()]
        predictions = run.predictor(step.index + 1).words([s.words for s in sentences])
        predicted = [[Entity(p.start, p.end, p.type) for p in entities] for entities in predictions]
        gold = [encode(s.entities, len(s.words)) for s in sentences]
        tags = [encode(entities, len(s.words)) for entities, s in zip(predicted, sentences, strict=True)]
        types = sorted(name for name, counts in step.counts.items() if any(counts))
        counts = np.array([[step.counts[name] for name in types]])
        ours = score(SentenceCounts(tuple(types), counts, np.ones(1, np.int64)))
        assert ours.micro.support > ours.micro.predicted * ours.micro.precision > 10
        averages = {"micro avg": ours.micro, "macro avg": ours.macro, "weighted avg": ours.weighted}
        options = {"mode": "strict", "scheme": IOB2, "output_dict": True, "zero_division": 0}
        assert classification_report(gold, tags, **options) == {
            name: {"precision": row.precision, "recall": row.recall, "f1-score": row.f1, "support": row.support}
            for name, row in {**ours.types, **averages}.items()
        }


def test_another_decoding_changes_predictions_only(store: Path) -> None:
    raw, (ledger, _) = runs.ledger(store).records(), again(store, "eval.decoding=argmax")
    assert [record.epochs for record in raw] == [record.epochs for record in ledger.records()]
    assert [record.test for record in raw] != [record.test for record in ledger.records()]
    same, events = again(store, "eval.decoding=constrained")
    assert counted(events) == (0, 0) and same.records() == raw, "the head's own decoding is no other evaluation"


def test_a_missing_or_damaged_evaluation_is_made_again(store: Path) -> None:
    raw = runs.ledger(store).records()
    first, second = sorted(store.glob("evaluations/*/*.json"))
    first.unlink()
    second.write_text("{}", encoding="utf-8")
    assert [damage.key.split("/")[0] for damage in damages(ObjectStore(str(store)), lambda _: None)] == ["evaluations"]
    ledger, events = again(store)
    assert counted(events) == (0, 2)
    assert ledger.records() == raw
    assert not list(damages(ObjectStore(str(store)), lambda _: None))


def test_evaluations_go_with_their_steps(store: Path) -> None:
    assert "evaluations" not in {one.name.split("/")[0] for one in leftovers(ObjectStore(str(store)))}
    shutil.rmtree(store / "runs")
    assert {"steps", "evaluations"} <= {one.name.split("/")[0] for one in leftovers(ObjectStore(str(store)))}


@pytest.mark.ray
def test_workers_count_what_one_process_counts(store: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(store, tmp_path / "other"))
    settings = ("eval.counting=conlleval", "eval.calibration=read_out", "eval.test.same={name: demo}")
    alone, _ = again(store, *settings)
    together, events = again(other, *settings, "compute.workers=2")
    assert counted(events) == (0, 2)
    assert together.records() == alone.records()


# ---- names and errors


def test_an_evaluation_is_named_by_what_it_reads() -> None:
    kinds = [
        EvaluationKey(),
        EvaluationKey(counting="conlleval"),
        EvaluationKey(calibration="read_out"),
        EvaluationKey(head={"decoding": "constrained"}),
        EvaluationKey(tests={"more": "f" * 16}),
    ]
    assert len({key.fingerprint for key in kinds}) == len(kinds)
    assert DEFAULT.fingerprint == EvaluationKey().fingerprint


@pytest.mark.parametrize(
    ("layers", "line"),
    [
        (["at.2.optim.calibration=read_out"], "at.2.optim.calibration: this setting was renamed"),
        (["eval.threshold=1"], "threshold 1.0: a probability above 0 and below 1, or prior, dev, dev_per_type"),
        (["eval.threshold=0"], "threshold 0.0: a probability above 0"),
        (["eval.threshold=0.5", "eval.counting=conlleval"], "conlleval counts tags, and a threshold leaves out"),
        (["eval.threshold=dve"], "expected a number or prior or dev or dev_per_type or nothing"),
        (["eval.threshold=dev", "eval.calibration=read_out"], "eval.threshold=dev is chosen for a read-out without"),
        (["eval.threshold=dev_per_type", "optim.calibration=carried"], "set calibration=none, or a number"),
        (["eval.decoding=beam"], "eval.decoding"),
        (["eval.test.more={name: demo, sauce: x}"], "eval.test"),
    ],
)
def test_errors_are_one_line_with_a_hint(layers: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as error:
        RunConfig.load(layers)
    assert line in str(error.value)
    assert main(["run", *layers]) == 2
    assert str(error.value)[:40] in " ".join(capsys.readouterr().err.split())


def test_settings_of_the_version_before_are_read_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "old.yaml").write_text("optim: {conlleval: true, calibration: read_out}", encoding="utf-8")
    assert RunConfig.load([str(tmp_path / "old.yaml")]).eval == EvalConfig(counting="conlleval", calibration="read_out")
    assert "optim.conlleval is now eval.counting=conlleval" in caplog.text
    assert RunConfig.load(["optim.conlleval=false", "optim.calibration=carried"]).eval == EvalConfig()


def test_a_test_set_without_a_type_of_the_run_is_rejected(store: Path, tmp_path: Path) -> None:
    rows = "\n".join(
        f"{word} {tag}".strip() for _ in range(9) for word, tag in (("Rye", "B-food"), ("is", "O"), ("", ""))
    )
    (tmp_path / "food.conll").write_text(rows, encoding="utf-8")
    with pytest.raises(InputError, match=r"eval\.test\.more: annotates food: no type of the run"):
        again(store, f"eval.test.more={{name: columns, path: {tmp_path}/food.conll}}")


# ---- a store of the version before


def test_what_version_0_1_stored_is_what_its_checkpoints_score(before: Path) -> None:
    for ledger in RunLedger.all(ObjectStore(str(before))):
        for record in ledger.records():
            reading = record.test if record.calibration is None else record.calibration.test
            evaluation = evaluate(f"{ledger.run}:{record.index + 1}", test=True, store=str(before), resamples=0)
            for name, (tp, fp, fn) in reading.items():
                score = evaluation.report.scores.types[name]
                assert (score.support, score.predicted) == (tp + fn, tp + fp)


def test_another_decoding_of_a_step_of_version_0_1_is_evaluated(before: Path) -> None:
    run_name = next(ledger.run for ledger in RunLedger.all(ObjectStore(str(before))))
    stored, constrained = (
        evaluate(run_name, test=True, store=str(before), resamples=0, decoding=decoding)
        for decoding in (None, "constrained")
    )
    assert stored.provenance.startswith("Decoder argmax")
    assert constrained.provenance.startswith("Decoder constrained")
    assert stored.report.scores != constrained.report.scores


def test_a_store_of_version_0_1_is_reported_under_its_own_decoding(
    before: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its steps have other names than today's, so a job trains again; its ledgers, checkpoints and figures are read."""
    assert main(["plan", *BEFORE, f"store={before}"]) == 0
    assert capsys.readouterr().out.count("missing") == 2
    assert main(["report", "--store", str(before), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert len(report["runs"]) == 3
    assert any(step["conlleval"] is not None for ledger in report["runs"] for step in ledger["steps"])
    assert main(["report", "--store", str(before)]) == 0
    assert "Decoder argmax" in capsys.readouterr().out
    assert main(["store", "verify", "--store", str(before)]) == 0


def test_a_configuration_that_version_0_1_recorded_is_read_in_new_names(before: Path) -> None:
    configs = [RunConfig.recorded(ledger.config) for ledger in RunLedger.all(ObjectStore(str(before)))]
    kinds = {(config.optim.calibration, config.eval.calibration, config.eval.counting) for config in configs}
    assert kinds == {("none", "none", "strict"), ("carried", "none", "strict"), ("none", "read_out", "conlleval")}


def test_a_step_of_version_0_1_under_its_old_name_is_still_read(before: Path) -> None:
    store = ObjectStore(str(before))
    (ledger,) = (one for one in RunLedger.all(store) if one.config["optim"]["calibration"] == "read_out")
    for record in ledger.records():
        step = StepCheckpoint.find(store, record.fingerprint)
        assert step is not None and step.record.carried is None
        assert "head.shift" not in step.network(RunConfig.load(BEFORE).model).state_dict()
