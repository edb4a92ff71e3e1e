"""What two ranks do together: one looks into the store, and both know."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

import runs
from raycner.errors import InputError
from raycner.events import ignore_events
from raycner.orchestration.runner import run
from raycner.orchestration.snapshots import SnapshotCallback
from raycner.storage.store import ObjectStore
from raycner.training import ranks
from raycner.training.checkpoint import StepCheckpoint


def together(rank: int, store: str, fingerprint: str, meeting: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    looked = SimpleNamespace(often=0)
    damage = ObjectStore.damage

    def counting(self: ObjectStore, key: str) -> str:
        looked.often += 1
        return damage(self, key)

    ObjectStore.damage = counting  # type: ignore[method-assign]
    step = StepCheckpoint.find(ObjectStore(store), fingerprint)
    assert step is not None and step.fingerprint == fingerprint
    assert looked.often == (rank == 0), "the bytes of a step are read by one rank"
    assert StepCheckpoint.find(ObjectStore(store), "nothing") is None

    def fail() -> None:
        raise InputError(f"raised by rank {rank}")

    with pytest.raises(InputError, match="raised by rank 0"):
        ranks.broadcast_from_rank0(fail)
    dist.destroy_process_group()


def test_one_rank_reads_and_both_receive_the_value(tmp_path: Path) -> None:
    store = tmp_path / "store"
    done = run(runs.small(store, "scenario.protocol.first=2", "optim.epochs=1", "optim.first.epochs=1"), runs.silent)
    mp.spawn(together, (str(store), done.planned[0].fingerprint, str(tmp_path / "meeting")), nprocs=2)


def failing(rank: int, store: str, meeting: str) -> None:
    """A failed write of rank 0 ends both ranks; neither waits for the other."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    snapshot: Any = SimpleNamespace(epochs=[1], save=lambda folder: (folder / "state").write_bytes(b"state"))
    snapshot.on_host = lambda: snapshot
    with (
        pytest.raises(InputError, match="cannot be written"),
        SnapshotCallback(ObjectStore(store), "f" * 16, 1, ignore_events) as callback,
    ):
        callback.save_snapshot(1, lambda: snapshot)
    dist.destroy_process_group()


def test_a_failed_write_ends_every_rank(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "snapshots").write_text("a file where a folder must be")
    mp.spawn(failing, (str(store), str(tmp_path / "meeting")), nprocs=2)


def test_a_single_process_reads_for_itself() -> None:
    assert ranks.broadcast_from_rank0(lambda: 7) == 7
