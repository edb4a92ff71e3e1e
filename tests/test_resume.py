"""Killed anywhere and started again with the same line, a run ends as if nothing had happened, bit for bit."""

from collections.abc import Callable
from pathlib import Path

import pytest

import runs
from raycner.__main__ import main
from raycner.events import EpochFinished, Event, StepFinished, StepReused
from raycner.orchestration.runner import run
from raycner.storage import locks
from raycner.storage.store import ObjectStore


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run that nobody interrupted."""
    store = tmp_path_factory.mktemp("whole")
    runs.finish(store)
    return store


def committed(store: Path) -> list[Path]:
    return sorted(store.glob("steps/*/MANIFEST"))


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "while the corpus is prepared": lambda store: (store / "corpora").exists(),
    "when the first snapshot is written": lambda store: any(store.glob("snapshots/*/*/*")),
    "inside the first step": lambda store: any(store.glob("snapshots/*/epoch-1/MANIFEST")),
    "while the first step is committed": lambda store: any(store.glob("steps/*/*")),
    "after the first step": lambda store: len(committed(store)) == 1,
    "inside the last step": lambda store: (
        len(committed(store)) == 2 and any(store.glob("snapshots/*/epoch-1/MANIFEST"))
    ),
    "after the last step": lambda store: len(committed(store)) == 3,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_driver_resumes_where_it_stopped(moment: str, whole: Path, tmp_path: Path) -> None:
    runs.kill_when(lambda: MOMENTS[moment](tmp_path), tmp_path)
    before = {path.parent: (path.parent / "weights.safetensors").stat().st_mtime_ns for path in committed(tmp_path)}
    runs.finish(tmp_path)
    assert runs.scores(tmp_path) == runs.scores(whole)
    assert runs.weights(tmp_path) == runs.weights(whole)
    assert runs.ledger(tmp_path).finished
    after = {step: (step / "weights.safetensors").stat().st_mtime_ns for step in before}
    assert after == before, "a committed step was trained again"


@pytest.mark.parametrize(
    "settings",
    [
        ("method={name: finetuning}", "model.head.preallocate=4", "model.growth.freeze_old=true"),
        ("method={name: extend_ner, old_row_gradient: 0.6, prototype_weight: 0.1}",),
    ],
    ids=["preallocated rows", "prototypes"],
)
def test_what_steps_hand_on_is_handed_on_after_a_kill(settings: tuple[str, ...], tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(runs.small(whole, *settings), runs.silent)
    runs.kill_when(lambda: MOMENTS["inside the last step"](killed), killed, *settings)
    run(runs.small(killed, *settings), runs.silent)
    assert runs.scores(killed) == runs.scores(whole)
    assert runs.weights(killed) == runs.weights(whole)


def test_a_flipped_bit_is_detected_and_only_its_step_trained_again(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.finish(tmp_path)
    victim = tmp_path / "steps" / runs.ledger(tmp_path).records()[1].fingerprint / "weights.safetensors"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("steps/*/weights.safetensors")}
    assert main(["run", *runs.SMALL, f"store={tmp_path}"]) == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert f"step {victim.parent.name} is damaged and will be trained again" in printed
    assert runs.weights(tmp_path) == runs.weights(whole)
    assert runs.scores(tmp_path) == runs.scores(whole)
    assert {path for path, time in times.items() if path.stat().st_mtime_ns != time} == {victim}


def test_a_damaged_snapshot_is_set_aside(whole: Path, tmp_path: Path) -> None:
    runs.kill_when(lambda: any(tmp_path.glob("snapshots/*/epoch-1/MANIFEST")), tmp_path)
    for tensors in tmp_path.glob("snapshots/*/*/tensors.safetensors"):
        tensors.write_bytes(tensors.read_bytes()[:-100])
    runs.finish(tmp_path)
    assert runs.weights(tmp_path) == runs.weights(whole)


def test_who_lost_the_lock_of_a_step_reuses_what_the_other_committed(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of the first step passes to another process, which commits the step while this one still trains."""
    for name, seconds in (("PATIENCE", 0.2), ("POLL", 0.02), ("HEARTBEAT", 600.0)):
        monkeypatch.setattr(locks, name, seconds)
    store, fingerprint = ObjectStore(str(tmp_path)), runs.ledger(whole).planned[0].fingerprint
    events: list[Event] = []

    def rob(event: Event) -> None:
        events.append(event)
        if isinstance(event, EpochFinished) and not store.exists(f"steps/{fingerprint}/MANIFEST"):
            store.write(f"locks/steps/{fingerprint}", b"elsewhere 1 another 0\n")
            store.push(whole / "steps" / fingerprint, f"steps/{fingerprint}")

    run(runs.small(tmp_path), rob)
    ends = [event for event in events if isinstance(event, StepReused | StepFinished)]
    assert [type(end) for end in ends] == [StepReused, StepFinished, StepFinished]
    epochs = [event for event in events[: events.index(ends[0])] if isinstance(event, EpochFinished)]
    assert len(epochs) == 1 < len(runs.ledger(whole).records()[0].epochs), "it ends after the epoch"
    assert not store.list("snapshots"), "and leaves none"
    facts = Path("steps", fingerprint, "step.json")
    assert (tmp_path / facts).read_bytes() == (whole / facts).read_bytes(), "seconds and all"
    assert runs.ledger(tmp_path).records()[0] == runs.ledger(whole).records()[0]
    assert runs.scores(tmp_path) == runs.scores(whole)


def test_who_lost_the_lock_to_a_process_that_died_trains_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process ends without a commit: training continues after the last snapshot."""
    for name, seconds in (("PATIENCE", 0.2), ("POLL", 0.02), ("HEARTBEAT", 600.0)):
        monkeypatch.setattr(locks, name, seconds)
    store, fingerprint = ObjectStore(str(tmp_path)), runs.ledger(whole).planned[0].fingerprint
    numbers: list[int] = []

    def rob(event: Event) -> None:
        if isinstance(event, EpochFinished) and not store.exists(f"steps/{fingerprint}/MANIFEST"):
            numbers.append(event.number)
            if len(numbers) == 2:
                store.write(f"locks/steps/{fingerprint}", b"elsewhere 1 another 0\n")

    run(runs.small(tmp_path), rob)
    assert numbers == [1, 2, *range(2, len(runs.ledger(whole).records()[0].epochs) + 1)]
    assert runs.weights(tmp_path) == runs.weights(whole)
    assert runs.scores(tmp_path) == runs.scores(whole)


def test_a_commit_leaves_an_undamaged_step_alone(whole: Path, tmp_path: Path) -> None:
    """Though both have the lock, as on an object store that cannot create an object atomically."""
    store, fingerprint = ObjectStore(str(tmp_path)), runs.ledger(whole).planned[0].fingerprint

    def commit_too(event: Event) -> None:
        if isinstance(event, EpochFinished) and not store.exists(f"steps/{fingerprint}/MANIFEST"):
            store.push(whole / "steps" / fingerprint, f"steps/{fingerprint}")

    run(runs.small(tmp_path), commit_too)
    assert store.read(f"steps/{fingerprint}/MANIFEST") == (whole / "steps" / fingerprint / "MANIFEST").read_bytes()
    assert runs.ledger(tmp_path).records()[0] == runs.ledger(whole).records()[0]


def test_a_finished_run_trains_nothing(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = runs.weights(whole), runs.scores(whole)
    assert main(["run", *runs.SMALL, f"store={whole}"]) == 0
    assert capsys.readouterr().out.count("taken from the store") == 3
    assert (runs.weights(whole), runs.scores(whole)) == before
    assert not list(whole.glob("snapshots/**/*.safetensors"))


def test_runs_share_the_steps_they_have_in_common(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for store, expected in ((tmp_path, 0), (tmp_path, 1)):
        settings = ["method.weight_positive=0.5"] if expected else []
        assert main(["run", *runs.SMALL, f"store={store}", *settings]) == 0
        assert capsys.readouterr().out.count("taken from the store") == expected


def test_a_step_added_to_a_finished_list_is_the_only_one_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def steps(*entries: str) -> list[str]:
        return [
            *runs.SMALL,
            f"store={tmp_path}",
            "scenario.order=[]",
            "scenario.protocol.name=steps",
            f"scenario.protocol.steps=[{', '.join(entries)}]",
        ]

    entries = ["{types: [location, person]}", "{types: [product]}"]
    assert main(["run", *steps(*entries)]) == 0
    capsys.readouterr()
    assert main(["run", *steps(*entries, "{types: [event]}")]) == 0
    printed = capsys.readouterr().out
    assert printed.count("taken from the store") == 2
    assert "step 3 of 3  event" in printed
