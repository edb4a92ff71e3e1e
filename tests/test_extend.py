"""Extending: one more step is trained, the old ones are taken as they are, and the cost of each old type is shown."""

from pathlib import Path

import pytest

import runs
from fixtures_tiny import spoken
from raycner.__main__ import main
from raycner.config import RunConfig
from raycner.data.entities import encode
from raycner.orchestration.runner import run
from raycner.reporting.terminal.extension_report import changes, f1_by_type
from raycner.storage.ledger import RunLedger, StepRecord
from raycner.storage.store import ObjectStore


def write(folder: Path, types: set[str], seed: int) -> Path:
    """A source in which only these types are annotated."""
    folder.mkdir()
    for part, number in {"train": 60, "dev": 12, "test": 24}.items():
        lines = []
        for words, entities in spoken(number, seed):
            tags = encode([e for e in entities if e.type in types], len(words))
            lines.append("".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True)))
        (folder / f"{part}.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def news(tmp_path: Path, tiny_layers: list[str]) -> list[str]:
    """The overrides of a finished run of one step: cities and persons."""
    source = write(tmp_path / "news", {"city", "person"}, 1)
    layers = [s for s in tiny_layers if not s.startswith(("store", "scenario.corpus.path", "optim.first"))]
    own = [
        "scenario.protocol.name=steps",
        f"scenario.protocol.steps=[{{types: [city, person], corpus: {{path: {source}}}}}]",
    ]
    layers = [*layers, *own, f"store={tmp_path / 'store'}", "optim.first.epochs=8", "method.name=extend_ner"]
    run(RunConfig.load([*layers, "optim.lr=0.02", "optim.head_lr=0.02"]), runs.silent)
    write(tmp_path / "reviews", {"food"}, 2)
    return layers


def extend(tmp_path: Path, *more: str) -> int:
    source = ("--types", "food", "--source", str(tmp_path / "reviews"))
    return main(["extend", "columns-steps", *source, "--store", str(tmp_path / "store"), *more])


@pytest.mark.usefixtures("news")
def test_one_step_is_trained_and_its_cost_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    earlier_weights = runs.weights(tmp_path / "store")
    assert extend(tmp_path) == 0
    printed = " ".join(capsys.readouterr().out.split())
    weights = runs.weights(tmp_path / "store")
    assert len(weights) == 2 and earlier_weights.items() <= weights.items()
    longer = max(RunLedger.all(ObjectStore(str(tmp_path / "store"))), key=lambda ledger: len(ledger.planned))
    assert [step.new for step in longer.planned] == [("city", "person"), ("food",)]
    before, after = longer.records()
    changed = changes(before, after)
    assert set(changed) == {"city", "person"}
    for kind, points in changed.items():
        assert f"{kind} {f1_by_type(before.test)[kind]:.1f} {f1_by_type(after.test)[kind]:.1f} {points:+.1f}" in printed
    assert "gained: food" in printed


@pytest.mark.usefixtures("news")
def test_the_same_command_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The longer run, finished or not, has the beginning of the shorter one's name."""
    assert extend(tmp_path) == 0
    weights = runs.weights(tmp_path / "store")
    capsys.readouterr()
    assert extend(tmp_path) == 0
    assert capsys.readouterr().out.count("taken from the store") == 2
    assert runs.weights(tmp_path / "store") == weights
    assert main(["extend", "columns-steps", "--undo", "--store", str(tmp_path / "store")]) == 2
    assert "2 runs are called 'columns-steps'" in capsys.readouterr().err


@pytest.mark.usefixtures("news")
def test_a_setting_may_be_of_the_new_step_alone(tmp_path: Path) -> None:
    assert extend(tmp_path, "at.2.optim.epochs=1", "compute.cpus_per_worker=2") == 0
    longer = max(RunLedger.all(ObjectStore(str(tmp_path / "store"))), key=lambda ledger: len(ledger.planned))
    assert len(longer.records()[1].epochs) == 1


@pytest.mark.usefixtures("news")
def test_old_steps_are_never_trained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert extend(tmp_path, "optim.first.epochs=3") == 2
    assert "step 1 would be trained again" in capsys.readouterr().err
    (tmp_path / "news" / "train.txt").write_text("Ada B-person\n. O\n" * 9, encoding="utf-8")
    assert extend(tmp_path) == 2
    assert "step 1 would be trained again" in capsys.readouterr().err
    assert len(runs.weights(tmp_path / "store")) == 1


@pytest.mark.usefixtures("news")
@pytest.mark.parametrize(
    ("types", "expected"), [("person", "learned twice"), ("fod", "type 'fod' is not annotated"), ("", "not annotated")]
)
def test_types_that_cannot_be_learned_are_rejected(
    types: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "both", {"food", "person"}, 3)
    arguments = ["--types", types, "--source", str(tmp_path / "both"), "--store", str(tmp_path / "store")]
    assert main(["extend", "columns-steps", *arguments]) == 2
    assert expected in capsys.readouterr().err


def test_a_run_of_another_protocol_is_rejected(trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extend", "columns", "--types", "x", "--source", "y", "--store", trained]) == 2
    assert "its protocol is fg_pg, whose steps are fixed" in capsys.readouterr().err


def test_changes_are_of_types_that_occur() -> None:
    def record(counts: dict[str, tuple[int, int, int]], new: tuple[str, ...]) -> StepRecord:
        kinds = tuple(counts)
        facts = {"sentences": 1, "epochs": (), "best_epoch": 0, "seconds": 0.0, "workers": 1, "dev": counts}
        return StepRecord(index=0, fingerprint="f", new=new, seen=kinds, test=counts, **facts)  # type: ignore[arg-type]

    before = record({"a": (1, 0, 0), "b": (0, 0, 0)}, ("a", "b"))
    after = record({"a": (1, 1, 1), "b": (0, 0, 1), "c": (1, 0, 0)}, ("c",))
    assert changes(before, after) == {"a": pytest.approx(-50)}
