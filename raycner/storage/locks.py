"""Leases: who is at which work just now, so that nobody does it a second time beside them.

A lease is a small object under `locks/`, written anew by its holder every few seconds. Whoever waits goes by their own
clock: a lease that has not changed for PATIENCE seconds is nobody's any more, and so is one whose process is gone from
this machine. Where a store cannot create an object atomically (object stores reached without conditional writes) two
may hold one lease. That wastes work and harms nothing: steps are addressed by content, and both commit the same.
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

BEAT = 3.0
"""Seconds between two signs of life."""
PATIENCE = 30.0
"""Seconds without one after which a lease is taken over."""
ASK = 0.5
"""Seconds between two questions of whoever waits."""


class Lock:
    """The right to one piece of work. `take` it until it is yours, then `drop` it."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store, self._key = store, f"locks/{key}"
        self._name = f"{socket.gethostname()} {os.getpid()} {uuid4().hex}"
        self._seen: bytes | None = None
        self._since = 0.0
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name=f"lease {key}", daemon=True)

    @property
    def holder(self) -> str:
        """Who was seen to hold it: a machine and a process."""
        return _spoken(self._seen)

    def take(self) -> bool:
        """Whether it is yours now. Ask again after a while when it is not."""
        if self._stale(self._look()):
            self._store.remove(self._key)
        if not self._store.create(self._key, self._said(0)):
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

    def _said(self, beat: int) -> bytes:
        return f"{self._name} {beat}\n".encode()

    def _own(self, said: bytes | None) -> bool:
        return said is not None and said.startswith(self._name.encode())

    def _look(self) -> bytes | None:
        return _read(self._store, self._key)

    def _stale(self, said: bytes | None) -> bool:
        if said != self._seen:
            self._seen, self._since = said, time.monotonic()
        return said is not None and (_gone(said) or time.monotonic() > self._since + PATIENCE)

    def _beat(self) -> None:
        beat = 0
        while not self._ended.wait(BEAT):
            beat += 1
            try:
                if not self._own(self._look()):
                    return
                self._store.write(self._key, self._said(beat))
            except InputError:
                continue  # the store does not answer: the next beat tries again


@contextmanager
def acquire(
    store: ObjectStore,
    key: str,
    waiting: Callable[[str], None],
    ask: Callable[[Callable[[], bool]], bool] = lambda take: take(),
) -> Iterator[None]:
    """Hold a lease for as long as the block lasts; while somebody else has it, wait, and say once who that is.

    `ask` takes it for many who go on together: of them, one asks and the others are told.
    """
    lock = Lock(store, key)
    told = False
    while not ask(lock.take):
        if not told:
            waiting(lock.holder)
        told = True
        time.sleep(ASK)
    try:
        yield
    finally:
        lock.drop()


def live_locks(store: ObjectStore) -> dict[str, str]:
    """The leases whose holders show life, by their keys below `locks/`, and who they are.

    Takes up to PATIENCE seconds, where there is a lease whose holder must be watched.
    """
    seen = {key: _read(store, key) for key in store.list("locks")}
    silent = {key: said for key, said in seen.items() if said is not None and not _gone(said)}
    alive: dict[str, str] = {}
    end = time.monotonic() + PATIENCE
    while silent and time.monotonic() < end:
        time.sleep(min(ASK, PATIENCE))
        for key, before in list(silent.items()):
            said = _read(store, key)
            if said != before:
                del silent[key]
            if said is not None and said != before:
                alive[key.removeprefix("locks/")] = _spoken(said)
    return alive


def _read(store: ObjectStore, key: str) -> bytes | None:
    try:
        return store.read(key)
    except FileNotFoundError:
        return None


def _spoken(said: bytes | None) -> str:
    host, pid = _holder(said or b"")
    return f"process {pid} on {host}"


def _holder(said: bytes) -> tuple[str, str]:
    """Machine and process."""
    host, pid, *_ = (*said.decode(errors="replace").split(), "?", "?")
    return host, pid


def _gone(said: bytes) -> bool:
    """Whether the holder was a process of this machine, and is no more."""
    host, pid = _holder(said)
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
