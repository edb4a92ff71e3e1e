"""What happens next to training: batches are collated ahead of it, snapshots are written behind it."""

import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import runs
from raycner.errors import InputError
from raycner.events import ignore_events
from raycner.orchestration.runner import run
from raycner.orchestration.snapshots import SnapshotCallback
from raycner.storage.ledger import EpochRecord
from raycner.storage.store import ObjectStore
from raycner.training.prefetch import BATCHES_AHEAD, prefetch
from raycner.training.snapshot import Snapshot

CPU = torch.device("cpu")


def test_batches_are_collated_in_their_order_and_not_far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BATCHES_AHEAD, "cpu", 2)
    collated, threads = [], set()

    def collate(number: int) -> int:
        threads.add(threading.current_thread().name)
        collated.append(number)
        if number == 7:
            raise InputError("seven")
        return number * number

    updates = prefetch(collate, range(9), CPU)
    results = [next(updates)]
    assert max(collated) <= 3, "the first one, two more, and the one that was begun when it was taken"
    with pytest.raises(InputError, match="seven"):
        results += updates
    assert results == [number * number for number in range(7)]
    assert len(threads) == 1 and threads != {threading.current_thread().name}


def test_collating_ahead_changes_no_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (
        "scenario.order=[location, person]",
        "scenario.corpus.sentences=60",
        "model.encoder.dropout=0.3",
        "method={name: dld, base: {name: cfner}}",
        "optim.accumulate=2",
    )
    for ahead in (0, 3):
        monkeypatch.setitem(BATCHES_AHEAD, "cpu", ahead)
        run(runs.small(tmp_path / str(ahead), *settings), runs.silent)
    assert runs.weights(tmp_path / "0") == runs.weights(tmp_path / "3")


def epoch(number: int) -> EpochRecord:
    return EpochRecord(epoch=number, losses={"ce": 1.0}, dev_score=0.5, seconds=1.0)


def snapshot(epochs: int, best: int) -> Snapshot:
    network = {"weight": torch.full((3,), float(epochs))}
    return Snapshot(
        epochs=tuple(map(epoch, range(epochs))),
        best_epoch=best,
        best_score=0.5,
        network=network,
        best={"weight": torch.full((3,), float(best + 1))},
        optimizer={0: {"step": torch.tensor(2.0)}},
    )


def test_a_snapshot_keeps_the_average_and_its_best_state(tmp_path: Path) -> None:
    average = {"weight": torch.full((3,), 7.0), "updates": torch.tensor(4)}
    before = replace(snapshot(2, 1), best={"weight": torch.full((3,), 7.0)}, average=average)
    before.on_host().save(tmp_path)
    after = Snapshot.load(tmp_path)
    for name in ("network", "best", "average"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name), rtol=0, atol=0)


@pytest.mark.parametrize("best", [0, 1])
def test_the_best_state_is_stored_once(tmp_path: Path, best: int) -> None:
    before = snapshot(2, best)
    before.save(tmp_path)
    after = Snapshot.load(tmp_path)
    assert after.epochs == before.epochs and after.best_epoch == best
    assert torch.equal(after.best["weight"], before.best["weight"])
    assert after.best["weight"].data_ptr() != after.network["weight"].data_ptr()
    assert torch.equal(after.optimizer[0]["step"], torch.tensor(2.0))


def test_training_continues_while_a_snapshot_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, is_free = ObjectStore(str(tmp_path)), threading.Event()
    push = ObjectStore.push

    def slow_push(self: ObjectStore, *args: Any) -> Any:
        assert is_free.wait(60)
        return push(self, *args)

    monkeypatch.setattr(ObjectStore, "push", slow_push)
    with SnapshotCallback(store, "f" * 16, 1, ignore_events) as callback:
        first = snapshot(1, 0)
        callback.save_snapshot(1, lambda: first)
        first.network["weight"] += 100  # the next update
        callback.save_snapshot(2, partial(snapshot, 2, 0))  # the first one is still being written
        assert callback.load_snapshot() is None
        is_free.set()
        callback.writer.finish()
        newest = callback.load_snapshot()
        assert newest is not None and len(newest.epochs) == 1
        assert torch.equal(newest.network["weight"], torch.ones(3))
        callback.save_snapshot(3, partial(snapshot, 3, 0))
    newest = callback.load_snapshot()
    assert newest is not None and len(newest.epochs) == 3, "the write ends before the step does"


def test_snapshots_keep_their_distance(tmp_path: Path) -> None:
    taken = []

    def take(epochs: int) -> Snapshot:
        taken.append(epochs)
        return snapshot(epochs, 0)

    with SnapshotCallback(ObjectStore(str(tmp_path)), "f" * 16, 1, ignore_events, seconds=3600) as callback:
        for epochs in (1, 2, 3):
            callback.save_snapshot(epochs, partial(take, epochs))
            callback.writer.finish()
    newest = callback.load_snapshot()
    assert newest is not None and len(newest.epochs) == 1
    assert taken == [1], "a state that is not written is not gathered"


def test_a_failed_write_ends_the_step_at_the_next_epoch(tmp_path: Path) -> None:
    (tmp_path / "snapshots").write_text("a file where a folder must be")
    copied = SimpleNamespace(epochs=[1], save=lambda folder: (folder / "state").write_bytes(b"state"))
    next_epoch: Any = SimpleNamespace(epochs=[1], on_host=lambda: copied)
    with (
        pytest.raises(InputError, match="cannot be written"),
        SnapshotCallback(ObjectStore(str(tmp_path)), "f" * 16, 1, ignore_events) as callback,
    ):
        callback.save_snapshot(1, lambda: next_epoch)
        while callback.writer.is_busy:
            threading.Event().wait(0.01)
        callback.save_snapshot(1, lambda: next_epoch)
        raise AssertionError("the first write had failed")
