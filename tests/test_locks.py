"""A lock is held until it is released, its holder dies, or its heartbeat stops."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from raycner.storage import locks as locks
from raycner.storage.locks import Lock
from raycner.storage.store import ObjectStore


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(str(tmp_path))


@pytest.fixture(autouse=True)
def nothing_goes_on_beating(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leases that a test leaves held are dropped after it."""
    held: list[Lock] = []
    take = Lock.take

    def taking(lock: Lock) -> bool:
        taken = take(lock)
        held.extend([lock] if taken else [])
        return taken

    monkeypatch.setattr(Lock, "take", taking)
    yield
    for lock in held:
        lock.drop()


def test_a_lock_has_one_holder_until_it_is_released(store: ObjectStore) -> None:
    first, second = Lock(store, "steps/a"), Lock(store, "steps/a")
    assert first.take()
    assert not second.take()
    assert Lock(store, "steps/b").take(), "another piece of work has another lock"
    first.drop()
    assert second.take()


def test_of_many_contenders_one_gets_the_lock(store: ObjectStore) -> None:
    taken, ready = [], threading.Barrier(8)

    def ask() -> None:
        lock = Lock(store, "steps/a")
        ready.wait()
        if lock.take():
            taken.append(lock)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1


def test_the_lock_of_a_dead_process_is_taken_at_once(store: ObjectStore) -> None:
    code = f"""from raycner.storage.locks import Lock
from raycner.storage.store import ObjectStore
assert Lock(ObjectStore({store.uri!r}), "steps/a").take()
import os; os._exit(1)"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
    assert store.list("locks") == ["locks/steps/a"]
    assert Lock(store, "steps/a").take()


def test_a_remote_lock_without_a_heartbeat_is_taken_over(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("locks/steps/a", b"elsewhere 1 name 7\n")
    waiting = Lock(store, "steps/a")
    assert not waiting.take()
    assert waiting.holder == "process 1 on elsewhere"
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    assert waiting.take()


def test_a_remote_lock_with_a_heartbeat_is_respected(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Lock(store, "steps/a")
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    for beat in range(4):
        store.write("locks/steps/a", f"elsewhere 1 name {beat}\n".encode())
        assert not waiting.take()
        time.sleep(0.06)


def test_a_process_that_lost_a_lock_does_not_release_anothers(store: ObjectStore) -> None:
    lost = Lock(store, "steps/a")
    assert lost.take()
    store.remove("locks/steps/a")
    assert Lock(store, "steps/a").take()
    lost.drop()
    assert store.exists("locks/steps/a")


def test_a_holder_writes_heartbeats(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT", 0.01)
    lock = Lock(store, "steps/a")
    assert lock.take()
    first = store.read("locks/steps/a")
    while store.read("locks/steps/a") == first:
        time.sleep(0.01)
    lock.drop()
    assert store.list("locks") == []


def test_equal_hostnames_in_two_namespaces_are_two_places(store: ObjectStore) -> None:
    """Containers of one host name do not see each other's processes: a missing pid there is no dead holder."""
    for strange in ({"namespace": "pid:[1]"}, {"boot": "another-boot"}, {"host": "elsewhere"}, {"namespace": "?"}):
        holder = replace(locks.this_process(), pid=str(2**22 + 1), started="1", **strange)
        assert not holder.is_dead()
        store.write("locks/steps/a", f"{holder} name 1\n".encode())
        assert not Lock(store, "steps/a").take()
    store.write("locks/steps/a", f"{replace(locks.this_process(), pid=str(2**22 + 1))} name 1\n".encode())
    assert Lock(store, "steps/a").take(), "here, the process is known to have ended"


def test_a_pid_that_another_process_has_now_is_a_dead_holder(store: ObjectStore) -> None:
    me = locks.this_process()
    assert not me.is_dead()
    before_me = replace(me, started=str(int(me.started) - 1))
    assert before_me.is_dead()
    store.write("locks/steps/a", f"{before_me} name 1\n".encode())
    assert Lock(store, "steps/a").take()


def test_the_lock_of_version_01_is_waited_for(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("locks/steps/a", f"{locks.this_process().host} {2**22 + 1} name 7\n".encode())
    waiting = Lock(store, "steps/a")
    assert not waiting.take()
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    assert waiting.take()


def test_a_holder_learns_that_it_lost_its_lock(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT", 600.0)  # a suspended process shows no life
    suspended, other = Lock(store, "steps/a"), Lock(store, "steps/a")
    assert suspended.take() and not suspended.is_lost
    assert not other.take()
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    assert other.take()
    assert suspended.is_lost and not other.is_lost
    suspended.drop()
    assert not other.is_lost


@pytest.fixture
def remote(store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ObjectStore:
    """A store that counts as remote."""
    monkeypatch.setenv("RAYCNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ObjectStore, "is_local", False)
    return store


def test_one_waiter_of_a_node_asks_an_object_store(remote: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    holder, *waiters = [Lock(remote, "steps/a") for _ in range(6)]
    assert holder.take()
    assert not any(waiter.take() for waiter in waiters)
    asked: list[str] = []
    read = ObjectStore.read
    monkeypatch.setattr(ObjectStore, "read", lambda self, key: (asked.append(key), read(self, key))[1])
    for _ in range(3):
        assert not any(waiter.take() for waiter in waiters)
    assert len(asked) == 3, "one a round"
    holder.drop()
    taken = []
    for _ in waiters:
        (taker,) = [waiter for waiter in waiters if waiter not in taken and waiter.take()]
        taker.drop()
        taken.append(taker)
    assert remote.list("locks") == []


def test_who_waits_for_an_object_store_asks_less_and_less(remote: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = [pause for _, pause in zip(range(20), locks._pauses(remote), strict=False)]
    assert pauses[0] <= locks.POLL and max(pauses) <= locks.LONGEST_POLL
    assert sum(pauses) > 20 * 2 * locks.POLL
    assert pauses != [pause for _, pause in zip(range(20), locks._pauses(remote), strict=False)]
    monkeypatch.setattr(ObjectStore, "is_local", True)
    assert [pause for _, pause in zip(range(3), locks._pauses(remote), strict=False)] == [locks.POLL] * 3


def test_a_clock_that_is_wrong_neither_frees_nor_holds_a_lock(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder's clock, and the file's times, are a day ahead or behind; only a missing heartbeat frees the lock."""
    for skew in (-86400.0, 86400.0):
        waiting = Lock(store, "steps/a")
        for beat in range(3):
            store.write("locks/steps/a", f"elsewhere 1 name {skew} {beat}\n".encode())
            when = time.time() + skew
            os.utime(f"{store.uri}/locks/steps/a", (when, when))
            assert not waiting.take()
        with monkeypatch.context() as patch:
            patch.setattr(locks, "PATIENCE", 0.0)
            assert waiting.take()
        waiting.drop()
