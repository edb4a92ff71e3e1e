"""Locks over a store: one process at a time does a piece of work, and the others wait.

A lock is a small object under `locks/` that its holder rewrites every few seconds (a lease). Whoever waits uses a clock
of its own: a lock that has not changed for PATIENCE seconds is free, and so is one whose process has died, if the
waiting process has the same host, boot and pid namespace. The start time of a process shows whether its pid was reused.

Requests to an object store cost time and money. There, the holder writes less often, those who wait ask less and less
often, at moments of their own, and of all that wait on one node only one asks.

Two processes may hold one lock: one that was suspended for longer than PATIENCE, or both where a store cannot create an
object atomically (object stores without conditional writes). The one that lost it learns so from `is_lost`, ends its
work with `LockLost`, and reuses what the other commits.

A lock holds one line: host, pid, boot id, pid namespace, start time, a random name, and the number of the write.
Version 0.1 wrote no boot id, namespace and start time: its locks become free after PATIENCE.
"""

import fcntl
import itertools
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from uuid import uuid4

from raycner.errors import InputError
from raycner.hashing import fingerprint
from raycner.storage.store import ObjectStore, cache_folder

HEARTBEAT = 3.0
"""Seconds between two writes of the holder, in a folder."""
REMOTE_HEARTBEAT = 8.0
"""The same in an object store: three writes within PATIENCE."""
PATIENCE = 30.0
"""Seconds without a write after which a lock is free."""
POLL = 0.5
"""Seconds between two tries of a process that waits, in a folder and at first."""
LONGEST_POLL = 8.0
"""Seconds between two tries in an object store, after a while: the holder writes as often."""
GROWTH = 1.5
"""How much longer each next pause of a process that waits for an object store is."""


class LockLost(Exception):
    """Another process has taken the lock of the work that ends with this."""


class Lock:
    """The right to one piece of work. `take` it until it is yours, then `drop` it."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store, self._key = store, f"locks/{key}"
        self._name = f"{this_process()} {uuid4().hex}"
        self._line = WaitingLine(f"{store} {self._key}")
        self._has_tried = False
        self._seen: bytes | None = None
        self._since = 0.0
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name=f"lock {key}", daemon=True)

    @property
    def holder(self) -> str:
        """Who held it when it was last read: a machine and a process."""
        return _describe(self._seen)

    @property
    def is_lost(self) -> bool:
        """Whether it was taken and is no longer yours: it was free for others for too long, or removed."""
        return not self._own(self._look())

    def take(self) -> bool:
        """Try to take it; whether it is yours now.

        From the second time on, an object store is only asked by the first of those that wait on this node.
        """
        if self._has_tried and not self._store.is_local and not self._line.is_first():
            return False
        self._has_tried = True
        content = self._look()
        if self._stale(content):
            self._store.remove(self._key)
        elif content is not None:
            return False
        if not self._store.create(self._key, self._content(0)):
            return False
        self._line.leave()
        self._beating.start()
        return True

    def drop(self) -> None:
        """Give it back, if it is still yours."""
        self._line.leave()
        if self._beating.ident is None:
            return  # it was never taken
        self._ended.set()
        self._beating.join()
        if self._own(self._look()):
            self._store.remove(self._key)

    def _content(self, beat: int) -> bytes:
        return f"{self._name} {beat}\n".encode()

    def _own(self, content: bytes | None) -> bool:
        return content is not None and content.startswith(self._name.encode())

    def _look(self) -> bytes | None:
        return content_of(self._store, self._key)

    def _stale(self, content: bytes | None) -> bool:
        if content != self._seen:
            self._seen, self._since = content, time.monotonic()
        return content is not None and (Process.parse(content).is_dead() or time.monotonic() > self._since + PATIENCE)

    def _beat(self) -> None:
        beat = 0
        while not self._ended.wait(HEARTBEAT if self._store.is_local else REMOTE_HEARTBEAT):
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
) -> Iterator[Lock]:
    """Hold a lock while the block runs. While another process has it, wait; `waiting` receives its holder once.

    `ask` runs `take` for processes that work together: one of them takes the lock, and all receive the answer.
    """
    lock = Lock(store, key)
    pauses, has_reported = _pauses(store), False
    try:
        while not ask(lock.take):
            if not has_reported:
                waiting(lock.holder)
            has_reported = True
            time.sleep(next(pauses))
        yield lock
    finally:
        lock.drop()


def _pauses(store: ObjectStore) -> Iterator[float]:
    """Seconds between the tries of a process that waits: POLL in a folder; of an object store longer and longer, up to
    LONGEST_POLL, and shortened by up to a half by chance, so that many that wait do not ask at the same moment."""
    if store.is_local:
        yield from itertools.repeat(POLL)
    pause = POLL
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(pause * GROWTH, LONGEST_POLL)


class WaitingLine:
    """The processes of this node that wait for one lock: the first of them asks the store for all.

    Its place is an advisory lock on a file of the node's cache folder, which dies with the process. Without such a
    folder, everybody is first.
    """

    def __init__(self, name: str) -> None:
        self._path = cache_folder() / "waiting" / fingerprint(name)
        self._descriptor: int | None = None

    def is_first(self) -> bool:
        """Whether this process is the first, perhaps since just now."""
        if self._descriptor is not None:
            return True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT)
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def leave(self) -> None:
        """Let the next one be the first."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def live_locks(store: ObjectStore) -> dict[str, str]:
    """The locks whose holders are alive, by their keys below `locks/`, with their holders.

    Takes up to PATIENCE seconds if there is a lock whose holder must be watched.
    """
    seen = {key: content_of(store, key) for key in store.list("locks")}
    silent = {
        key: content for key, content in seen.items() if content is not None and not Process.parse(content).is_dead()
    }
    alive: dict[str, str] = {}
    end = time.monotonic() + PATIENCE
    while silent and time.monotonic() < end:
        time.sleep(min(POLL, PATIENCE))
        for key, before in list(silent.items()):
            content = content_of(store, key)
            if content != before:
                del silent[key]
            if content is not None and content != before:
                alive[key.removeprefix("locks/")] = _describe(content)
    return alive


def content_of(store: ObjectStore, key: str) -> bytes | None:
    """What a lock holds, by its key in the store; None where there is none."""
    try:
        return store.read(key)
    except FileNotFoundError:
        return None


def _describe(content: bytes | None) -> str:
    process = Process.parse(content or b"")
    return f"process {process.pid} on {process.host}"


@dataclass(frozen=True)
class Process:
    """The identity of a process, unique even among machines with the same name. Unknown facts are "?"."""

    host: str
    pid: str
    boot: str
    """Which start of which kernel it runs on."""
    namespace: str
    """In which its pid counts: containers of one machine have one each."""
    started: str
    """When it started, in clock ticks since boot."""

    def __str__(self) -> str:
        return " ".join(astuple(self))

    @classmethod
    def parse(cls, lock: bytes) -> "Process":
        """The holder in the content of a lock."""
        words = lock.decode(errors="replace").split()
        facts = words[:5] if len(words) == 7 else words[:2]
        return cls(*facts, *["?"] * (5 - len(facts)))

    def is_dead(self) -> bool:
        """Whether it has ended; False where that cannot be seen from here."""
        here = this_process()
        place = (self.host, self.boot, self.namespace)
        if "?" in place or place != (here.host, here.boot, here.namespace) or not self.pid.isdigit():
            return False
        try:
            os.kill(int(self.pid), 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
        return start_time(int(self.pid)) not in ("?", self.started)


def this_process() -> Process:
    """The process that asks."""
    pid = os.getpid()
    return Process(socket.gethostname() or "?", str(pid), _boot_id(), _pid_namespace(), start_time(pid))


def start_time(pid: int) -> str:
    """When a process of this pid namespace started, in clock ticks since boot; "?" where it is unknown."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "?"
    return status.rpartition(")")[2].split()[19]  # field 22; the second, in parentheses, may hold anything


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "?"


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "?"
