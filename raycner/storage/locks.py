"""Locks over a store: one process at a time does a piece of work, and the others wait.

A lock is a small object under `locks/` that its holder rewrites every few seconds (a lease). Whoever waits uses a clock
of its own: a lock that has not changed for PATIENCE seconds is free, and so is one whose process on this machine has
died. Where a store cannot create an object atomically (object stores without conditional writes) two processes may hold
one lock. This wastes work and harms nothing: steps are addressed by content, and both commit the same.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

from raycner.errors import InputError
from raycner.storage.store import ObjectStore

HEARTBEAT = 3.0
"""Seconds between two writes of the holder."""
PATIENCE = 30.0
"""Seconds without a write after which a lock is free."""
POLL = 0.5
"""Seconds between two tries of a process that waits."""


class Lock:
    """The right to one piece of work. `take` it until it is yours, then `drop` it."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store, self._key = store, f"locks/{key}"
        self._name = f"{socket.gethostname()} {os.getpid()} {uuid4().hex}"
        self._seen: bytes | None = None
        self._since = 0.0
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name=f"lock {key}", daemon=True)

    @property
    def holder(self) -> str:
        """Who held it when it was last read: a machine and a process."""
        return _describe(self._seen)

    def take(self) -> bool:
        """Try to take it; whether it is yours now."""
        if self._stale(self._look()):
            self._store.remove(self._key)
        if not self._store.create(self._key, self._content(0)):
            return False
        self._beating.start()
        return True

    def drop(self) -> None:
        """Give it back, if it is still yours."""
        self._ended.set()
        if self._beating.ident is not None:
            self._beating.join()
        if self._own(self._look()):
            self._store.remove(self._key)

    def _content(self, beat: int) -> bytes:
        return f"{self._name} {beat}\n".encode()

    def _own(self, content: bytes | None) -> bool:
        return content is not None and content.startswith(self._name.encode())

    def _look(self) -> bytes | None:
        return _read(self._store, self._key)

    def _stale(self, content: bytes | None) -> bool:
        if content != self._seen:
            self._seen, self._since = content, time.monotonic()
        return content is not None and (_is_dead(content) or time.monotonic() > self._since + PATIENCE)

    def _beat(self) -> None:
        beat = 0
        while not self._ended.wait(HEARTBEAT):
            beat += 1
            try:
                if not self._own(self._look()):
                    return
                self._store.write(self._key, self._content(beat))
            except InputError:
                continue  # the store does not answer: the next beat tries again


@contextmanager
def acquire(
    store: ObjectStore,
    key: str,
    waiting: Callable[[str], None],
    ask: Callable[[Callable[[], bool]], bool] = lambda take: take(),
) -> Iterator[None]:
    """Hold a lock while the block runs. While another process has it, wait; `waiting` receives its holder once.

    `ask` runs `take` for processes that work together: one of them takes the lock, and all receive the answer.
    """
    lock = Lock(store, key)
    has_reported = False
    while not ask(lock.take):
        if not has_reported:
            waiting(lock.holder)
        has_reported = True
        time.sleep(POLL)
    try:
        yield
    finally:
        lock.drop()


def live_locks(store: ObjectStore) -> dict[str, str]:
    """The locks whose holders are alive, by their keys below `locks/`, with their holders.

    Takes up to PATIENCE seconds if there is a lock whose holder must be watched.
    """
    seen = {key: _read(store, key) for key in store.list("locks")}
    silent = {key: content for key, content in seen.items() if content is not None and not _is_dead(content)}
    alive: dict[str, str] = {}
    end = time.monotonic() + PATIENCE
    while silent and time.monotonic() < end:
        time.sleep(min(POLL, PATIENCE))
        for key, before in list(silent.items()):
            content = _read(store, key)
            if content != before:
                del silent[key]
            if content is not None and content != before:
                alive[key.removeprefix("locks/")] = _describe(content)
    return alive


def _read(store: ObjectStore, key: str) -> bytes | None:
    try:
        return store.read(key)
    except FileNotFoundError:
        return None


def _describe(content: bytes | None) -> str:
    host, pid = _holder(content or b"")
    return f"process {pid} on {host}"


def _holder(content: bytes) -> tuple[str, str]:
    """Machine and process."""
    host, pid, *_ = (*content.decode(errors="replace").split(), "?", "?")
    return host, pid


def _is_dead(content: bytes) -> bool:
    """Whether the holder was a process of this machine that has ended."""
    host, pid = _holder(content)
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
