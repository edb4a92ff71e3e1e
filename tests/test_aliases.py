"""Aliases: they name a step wherever RUN:STEP can, keep their history, and are whole after any kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import raycner
from fixtures_tiny import spoken
from raycner import InputError, Predictor
from raycner.__main__ import main
from raycner.storage.aliases import AliasRecord, find_alias, history
from raycner.storage.housekeeping import damages, leftovers
from raycner.storage.ledger import RunLedger
from raycner.storage.run_names import find_step
from raycner.storage.store import ObjectStore

WORDS = [words for words, _ in spoken(20, 9)]


@pytest.fixture
def store(trained: str, tmp_path: Path) -> ObjectStore:
    """A store of its own with a run of three steps."""
    return ObjectStore(str(shutil.copytree(trained, tmp_path / "store")))


@pytest.fixture
def verb(store: ObjectStore, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """The exit status of a verb, and what it prints."""

    def run(*arguments: str) -> tuple[int, str]:
        status = main([*arguments, "--store", store.uri])
        printed = capsys.readouterr()
        return status, printed.err if status == 2 else printed.out

    return run


def test_an_alias_stands_for_a_step(verb: Callable[..., tuple[int, str]], store: ObjectStore) -> None:
    status, printed = verb("promote", "columns:2", "production", "--why", "the first one")
    assert status == 0 and printed.startswith("production: columns-")
    run = raycner.load_run("columns", store=store.uri)
    predictor = Predictor.of("production", store.uri)
    assert predictor.types == run.steps[1].seen
    assert predictor.words(WORDS) == run.predictor(2).words(WORDS)
    assert raycner.aliases(store.uri)["production"].address == f"{run.name}:2"
    assert "production" in verb("aliases")[1]
    (record,) = history(store, "production")
    assert record.why == "the first one" and "@" in record.who and record.when.endswith("+00:00")
    assert verb("export", "production", str(Path(store.uri).parent / "exported"))[0] == 0


def test_rollback_returns_step_by_step(verb: Callable[..., tuple[int, str]], store: ObjectStore) -> None:
    for step in (1, 2, 3):
        verb("promote", f"columns:{step}", "production")
    verb("rollback", "production", "--why", "too many")
    assert find_step("production", store)[1].index == 1
    verb("promote", "columns:3", "production")
    for expected in (1, 0):
        assert verb("rollback", "production")[0] == 0
        assert find_step("production", store)[1].index == expected
    status, line = verb("rollback", "production")
    assert status == 2 and "named nothing before" in line
    steps = [(r.action, r.step) for r in history(store, "production")]
    assert steps == [
        *[("promote", 1), ("promote", 2), ("promote", 3), ("rollback", 2)],
        *[("promote", 3), ("rollback", 2), ("rollback", 1)],
    ]
    printed = verb("history", "production")[1]
    assert printed.count("rollback") == 3 and "too many" in printed


def test_nothing_is_promoted_that_does_not_pass(verb: Callable[..., tuple[int, str]], store: ObjectStore) -> None:
    source = Path(store.uri).parent / "test.conll"
    test = next(Path(raycner.load_run("columns", store=store.uri).config["scenario"]["corpus"]["path"]).glob("test*"))
    shutil.copy(test, source)
    gated = ("production", "--test", str(source))
    assert verb("promote", "columns:1", *gated)[0] == 0  # nothing to compare with
    status, printed = verb("promote", "columns:3", *gated)
    assert status == 3 and "does not pass" in printed
    assert [r.step for r in history(store, "production")] == [1]
    assert verb("promote", "columns:1", *gated, "--allow-unseen")[0] == 0
    verdict = history(store, "production")[-1].gate
    assert verdict is not None and verdict["passes"] and "examples" not in json.dumps(verdict)
    with pytest.raises(InputError, match="does not pass"):
        judgement = raycner.gate("columns:3", source, against="columns:1", store=store.uri)
        raycner.promote("columns:3", "production", gate=judgement, store=store.uri)


def test_an_alias_needs_no_run_and_is_never_collected(verb: Callable[..., tuple[int, str]], store: ObjectStore) -> None:
    run = raycner.load_run("columns", store=store.uri)
    before = run.predictor(3).words(WORDS)
    verb("promote", "columns:3", "production")
    verb("promote", "columns:2", "production")
    store.remove(f"runs/{run.name}")
    for leftover in leftovers(store):
        leftover.remove()
    verb("rollback", "production")
    assert Predictor.of("production", store.uri).words(WORDS) == before
    assert not list(damages(store, lambda _: None))
    assert verb("store", "verify")[0] == 0
    store.remove(f"steps/{run.steps[2].fingerprint}")
    assert [damage.key for damage in damages(store, lambda _: None)] == ["aliases/production"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("promote", "columns:1", "a/b"), "cannot name an alias"),
        (("promote", "columns:9", "production"), "no step '9' is done"),
        (("rollback", "production"), "no alias is called 'production'"),
        (("history", "staging"), "no alias is called 'staging'"),
    ],
)
def test_bad_input(
    arguments: tuple[str, ...], expected: str, verb: Callable[..., tuple[int, str]], store: ObjectStore
) -> None:
    status, line = verb(*arguments)
    assert status == 2 and expected in line and line.count("\n") == 1
    assert not store.list("aliases")


def test_an_alias_is_never_a_run(store: ObjectStore) -> None:
    (ledger,) = RunLedger.all(store)
    with pytest.raises(InputError, match="a run is called"):
        raycner.promote("columns:1", ledger.run, store=store.uri)
    raycner.promote("columns:1", "production", store=store.uri)
    with pytest.raises(InputError, match="an alias is called 'production'"):
        raycner.adopt("columns:1", "production", store=store.uri, progress=False)


def test_a_damaged_record_is_reported(verb: Callable[..., tuple[int, str]], store: ObjectStore) -> None:
    verb("promote", "columns:1", "production")
    (key,) = store.list("aliases")
    store.write(key, b"{}")
    status, line = verb("predict", "production", "-")
    assert status == 2 and "not a record of an alias" in line
    assert verb("store", "gc")[0] == 2  # what it names is unknown, so nothing may go


KILLED = """
import sys, raycner
step = 1
print("ready", flush=True)
while True:
    raycner.promote(f"columns:{step}", "production", store=sys.argv[1])
    if step == 2:
        raycner.rollback("production", store=sys.argv[1])
    step = step % 3 + 1
"""


def test_a_killed_promotion_or_rollback_leaves_the_alias_whole(store: ObjectStore) -> None:
    for moment in range(2):
        writer = subprocess.Popen([sys.executable, "-c", KILLED, store.uri], stdout=subprocess.PIPE, env=os.environ)
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        before = len(store.list("aliases"))
        while len(store.list("aliases")) < before + 3 + moment:
            time.sleep(0.01)
        writer.send_signal(signal.SIGKILL)
        writer.wait(30)
    records: list[AliasRecord] = history(store, "production")
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    assert find_alias(store, "production") == records[-1]
    assert not list(damages(store, lambda _: None))
    assert raycner.promote("columns:1", "production", store=store.uri).address.endswith(":1")


@pytest.mark.s3
def test_aliases_in_a_bucket(trained: str, s3_uri: str) -> None:
    bucket, folder = ObjectStore(s3_uri), ObjectStore(trained)
    for key in folder.list("runs"):
        bucket.write(key, folder.read(key))
    for step in (1, 2):
        raycner.promote(f"columns:{step}", "production", store=s3_uri)
    assert raycner.rollback("production", store=s3_uri).address.endswith(":1")
    assert [record.number for record in raycner.history("production", store=s3_uri).records] == [1, 2, 3]
