"""Snapshots of a step in training, in the store: written in the background, while training continues."""

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

from raycner.errors import InputError
from raycner.events import EventHandler
from raycner.storage.locks import Lock, LockLost
from raycner.storage.scratch import scratch_folder
from raycner.storage.store import ObjectStore
from raycner.training import ranks
from raycner.training.snapshot import Snapshot

log = logging.getLogger(__name__)


class BackgroundWriter:
    """Runs one write at a time in a thread of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._write: Future[None] | None = None
        self.started = -math.inf
        """When the last write began."""

    @property
    def is_busy(self) -> bool:
        return self._write is not None and not self._write.done()

    def start(self, write: Callable[[], None]) -> None:
        """Begin a write. The one before has ended, and `finish` was called."""
        self.started = time.monotonic()
        self._write = self._thread.submit(write)

    def finish(self) -> None:
        """Wait for the write in progress, and raise the error of the last one."""
        write, self._write = self._write, None
        if write is not None:
            write.result()

    def close(self) -> None:
        """Wait for the write in progress, whether it fails or not."""
        self._thread.shutdown(wait=True)


@dataclass(frozen=True)
class SnapshotCallback:
    """Saves the newest snapshot of a step in the store, under the step's fingerprint: rank 0 writes, every rank reads.

    Training stops for the copy that is written, and not for the write. An epoch whose predecessor is still being
    written has no snapshot. When the store refuses a write, all ranks end with the same `InputError`, at the next epoch
    or at the end of the `with` statement around the training.
    """

    store: ObjectStore
    fingerprint: str
    every: int
    """Epochs between snapshots; 0 saves none."""
    on_event: EventHandler
    lock: Lock | None = None
    """Of the step: training ends with `LockLost` after an epoch in which another process took it."""
    seconds: float = 0.0
    """The least time between two snapshots."""
    writer: BackgroundWriter = field(default_factory=BackgroundWriter, compare=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                ranks.broadcast_from_rank0(self.writer.finish)
        finally:
            self.writer.close()

    @property
    def _key(self) -> str:
        return f"snapshots/{self.fingerprint}"

    def save_snapshot(self, epochs: int, take: Callable[[], Snapshot], /) -> None:
        is_lost, is_due = ranks.broadcast_from_rank0(lambda: (self._is_lost(), self._is_due(epochs)))
        if is_lost:
            raise LockLost
        if not is_due:
            return
        snapshot = take()
        if ranks.rank() == 0:
            self.writer.start(partial(self._save, snapshot.on_host()))

    def load_snapshot(self) -> Snapshot | None:
        newest = ranks.broadcast_from_rank0(self._newest)
        try:
            return None if newest is None else Snapshot.load(self.store.local(newest))
        except InputError as error:
            log.warning("trained from the start: %s", error)
            return None

    def _is_lost(self) -> bool:
        """Whether another process took the lock. Raises the `InputError` of the last write."""
        if not self.writer.is_busy:
            self.writer.finish()
        try:
            return self.lock is not None and self.lock.is_lost
        except InputError:
            return False  # the store does not answer: it is asked again after the next epoch, and before the commit

    def _is_due(self, epochs: int) -> bool:
        is_early = time.monotonic() < self.writer.started + self.seconds
        return self.every > 0 and epochs % self.every == 0 and not is_early and not self.writer.is_busy

    def _save(self, snapshot: Snapshot) -> None:
        earlier = self._saved()
        with scratch_folder() as folder:
            snapshot.save(folder)
            self.store.push(folder, f"{self._key}/epoch-{len(snapshot.epochs)}")
        for key in earlier:
            self.store.remove(key)

    def _newest(self) -> str | None:
        intact = [key for key in self._saved() if not self.store.damage(key)]
        return max(intact, key=lambda key: int(key.rpartition("-")[2]), default=None)

    def _saved(self) -> list[str]:
        return [key.rpartition("/")[0] for key in self.store.list(self._key) if key.endswith("/MANIFEST")]
