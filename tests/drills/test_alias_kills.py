"""Kills around promotions and rollbacks: the alias is whole at any moment, and its history complete."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

import pytest

import raycner
from raycner.storage.aliases import AliasRecord, find_alias, history
from raycner.storage.housekeeping import damages
from raycner.storage.store import ObjectStore

pytestmark = pytest.mark.chaos
KILLS = 20
WRITER = """
import itertools, sys, raycner
print("ready", flush=True)
for step in itertools.cycle((1, 2, 3)):
    raycner.promote(f"columns:{step}", "production", store=sys.argv[1])
    if step == 3:
        raycner.rollback("production", store=sys.argv[1], why="a drill")
"""


@pytest.fixture
def store(trained: str, tmp_path: Path) -> ObjectStore:
    """A store of its own with a run of three steps, one of which is promoted."""
    place = ObjectStore(str(shutil.copytree(trained, tmp_path / "store")))
    raycner.promote("columns:1", "production", store=place.uri)
    return place


@pytest.fixture
def numbers(store: ObjectStore) -> Iterator[list[int]]:
    """What a reader sees of the alias all the while, as a server does: the number of the current record."""
    seen: list[int] = []
    ended = Event()

    def read() -> None:
        while not ended.is_set():
            current = find_alias(store, "production")
            seen.append(0 if current is None else current.number)

    reader = Thread(target=read)
    reader.start()
    yield seen
    ended.set()
    reader.join()


def test_kills_at_random_moments(store: ObjectStore, numbers: list[int]) -> None:
    draw = random.Random(0)
    for _ in range(KILLS):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, store.uri], stdout=subprocess.PIPE, env=os.environ)
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        time.sleep(draw.uniform(0, 0.5))
        writer.send_signal(signal.SIGKILL)
        writer.wait(30)
        check(history(store, "production"))
    assert numbers == sorted(numbers) and 0 not in numbers, "the alias never lacks a step, and never goes back"
    assert not list(damages(store, lambda _: None))
    assert raycner.promote("columns:2", "production", store=store.uri).address.endswith(":2")


def check(records: list[AliasRecord]) -> None:
    """Every record is there once, and a rollback names what was named before."""
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    by_number = {record.number: record for record in records}
    for before, record in pairwise(records):
        if record.action == "rollback":
            assert before.before is not None and record.step == by_number[before.before].step
        else:
            assert record.before == before.number
