"""A store is kept in order: what is damaged is found, what is wanted stays, and what nobody wants can go."""

import os
import time
from datetime import timedelta
from pathlib import Path

import boto3
import pytest

import runs
from raycner.__main__ import main
from raycner.errors import InputError
from raycner.storage import locks as locks
from raycner.storage.housekeeping import damages, leftovers
from raycner.storage.locks import Lock
from raycner.storage.searches import want
from raycner.storage.store import ObjectStore
from raycner.storage.uploads import Upload, abort, unfinished

QUICK = ("scenario.protocol.first=2", "optim.epochs=1", "optim.first.epochs=1", "scenario.corpus.sentences=40")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a finished run of two steps."""
    store = tmp_path_factory.mktemp("whole")
    assert main(["run", *runs.SMALL, *QUICK, f"store={store}"]) == 0
    return store


@pytest.fixture
def store(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A copy of it, to be harmed."""
    monkeypatch.setenv("RAYCNER_CACHE", str(tmp_path / "cache"))
    copy = ObjectStore(str(tmp_path / "store"))
    source = ObjectStore(str(whole))
    for key in source.list(""):
        copy.write(key, source.read(key))
    return copy


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock expires within the time that a test can wait."""
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    monkeypatch.setattr(locks, "POLL", 0.02)
    monkeypatch.setattr(locks, "HEARTBEAT", 0.02)


def left(store: ObjectStore, unused_days: float = 30.0) -> dict[str, str]:
    return {one.name: one.why for one in leftovers(store, unused_days)}


def damaged(store: ObjectStore) -> dict[str, str]:
    return {damage.key: damage.what for damage in damages(store, lambda _: None)}


def age(path: Path, seconds: float = 3601) -> None:
    """Let a file or folder look as if it was written so long ago."""
    os.utime(path, (time.time() - seconds,) * 2)


def first_step(store: ObjectStore) -> str:
    return f"steps/{runs.ledger(store.uri).planned[0].fingerprint}"


# ---- verify


def test_a_whole_store_is_whole(store: ObjectStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert damaged(store) == {}
    assert main(["store", "verify", "--store", store.uri]) == 0
    assert "everything is as it was committed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("victim", "phrase"),
    [
        ("{step}/weights.safetensors", "weights.safetensors has"),
        ("{step}/MANIFEST", "no readable MANIFEST"),
        ("{corpus}/train.arrow", "train.arrow has"),
        ("runs/{run}/ledger.json", "not a ledger of schema 1"),
    ],
)
def test_a_truncated_file_is_found(
    victim: str, phrase: str, store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = runs.ledger(store.uri)
    corpus = f"corpora/{ledger.corpora[0].fingerprint}"
    key = victim.format(step=first_step(store), corpus=corpus, run=ledger.run)
    store.write(key, store.read(key)[:-3])
    (what,) = damaged(store).values()
    assert phrase in what
    assert main(["store", "verify", "--store", store.uri]) == 1
    assert "1 damaged" in capsys.readouterr().out


def test_a_step_recorded_in_a_ledger_must_exist(store: ObjectStore) -> None:
    store.remove(first_step(store))
    (what,) = damaged(store).values()
    assert "its step 1" in what and "is not in the store" in what


# ---- gc


def test_what_a_process_has_begun_since_it_was_listed_stays(store: ObjectStore) -> None:
    """A killed run left unfinished commits and locks; another one takes them up between the listing and the removal."""
    for key in ("corpora/torn", "corpora/finished", "corpora/dead"):
        store.write(f"{key}/train.arrow", b"half")
        age(Path(store.uri, key, "train.arrow"))
    store.write("locks/corpora/torn", b"elsewhere 1 name 0\n")
    listed = leftovers(store)
    lock = Lock(store, "corpora/torn")
    store.remove("locks/corpora/torn")
    assert lock.take()
    store.push(Path(store.uri, first_step(store)), "corpora/finished")
    for leftover in listed:
        leftover.remove()
    assert not lock.is_lost and store.exists("corpora/torn/train.arrow")
    assert store.damage("corpora/finished") == ""
    assert not store.exists("corpora/dead/train.arrow")
    lock.drop()


def test_nothing_is_left_over_of_a_finished_run(store: ObjectStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert left(store) == {}
    assert main(["store", "gc", "--store", store.uri]) == 0
    assert "nothing is left over" in capsys.readouterr().out


def test_unreferenced_files_are_removed_and_others_remain(
    store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(store.list(""))
    step, fingerprint = first_step(store), first_step(store).partition("/")[2]
    weights = Path(store.uri, step)
    for key in ("steps/unwanted", "steps/searched", f"snapshots/{fingerprint}/epoch-1", "snapshots/unwanted/epoch-2"):
        store.push(weights, key)
    planned = runs.ledger(store.uri).planned[1].fingerprint
    store.remove(f"steps/{planned}")
    store.push(weights, f"snapshots/{planned}/epoch-1")
    want(store, "dld-1", "searched")
    store.write("steps/torn/weights.safetensors", b"half")
    store.write("ray/attempt/state.json", b"{}")
    store.write("locks/steps/a", b"elsewhere 1 name 0\n")
    (Path(store.uri) / "corpora" / f"x~{'0' * 32}").write_bytes(b"draft")
    for unfinished_write in ("steps/torn/weights.safetensors", f"corpora/x~{'0' * 32}"):
        age(Path(store.uri, unfinished_write))
    expected = {
        "steps/unwanted": "no run or search refers to its step",
        "snapshots/unwanted/epoch-2": "no run or search refers to its step",
        f"snapshots/{fingerprint}/epoch-1": "the step is finished",
        "steps/torn": "its commit never finished",
        "ray/attempt": "Ray's own state of an attempt that has ended",
        "locks/steps/a": "its holder has died",
        f"corpora/x~{'0' * 32}": "a draft",
    }
    assert left(store) == expected
    assert main(["store", "gc", "--store", store.uri, "--dry-run"]) == 0
    assert "nothing was removed" in capsys.readouterr().out
    assert left(store) == expected
    assert main(["store", "gc", "--store", store.uri, "--yes"]) == 0
    assert left(store) == {}
    remaining = {f"steps/searched/{name}" for name in ("MANIFEST", "step.json", "weights.safetensors")}
    remaining |= {f"snapshots/{planned}/epoch-1/{name}" for name in ("MANIFEST", "step.json", "weights.safetensors")}
    lost = {key for key in before if key.startswith(f"steps/{planned}/")}
    assert set(store.list("")) == before - lost | remaining | {"searches/dld-1/steps/searched"}


def test_nothing_is_tidied_while_a_run_is_active(store: ObjectStore) -> None:
    lock = locks.Lock(store, "runs/demo")
    assert lock.take()
    try:
        with pytest.raises(InputError, match=r"runs/demo is in use by process \d+ on "):
            leftovers(store)
    finally:
        lock.drop()
    assert left(store) == {}


def test_an_unreadable_ledger_keeps_everything(store: ObjectStore) -> None:
    ledger = runs.ledger(store.uri).run
    store.write(f"runs/{ledger}/ledger.json", b"{")
    with pytest.raises(InputError, match="not a ledger"):
        leftovers(store)


def test_what_is_being_written_stays(store: ObjectStore) -> None:
    store.write("corpora/0123/train.arrow", b"so far")
    store.write("corpora/0123/dev.arrow", b"so far")
    draft = Path(store.uri, "corpora", "0123", f"test.arrow~{'0' * 32}")
    draft.write_bytes(b"half")
    age(Path(store.uri, "corpora/0123/dev.arrow"))
    assert left(store) == {}
    age(Path(store.uri, "corpora/0123/train.arrow"))
    age(draft)
    assert set(left(store)) == {"corpora/0123", f"corpora/0123/{draft.name}"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_ledger_that_cannot_be_read_is_damage(
    store: ObjectStore, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    other = runs.ledger(store.uri).run
    store.write("runs/damaged/ledger.json", content)
    store.write("runs/damaged/notes.txt", b"no ledger")
    store.write("searches/damaged/search.json", content)
    assert set(damaged(store)) == {"runs/damaged/ledger.json", "searches/damaged/search.json"}
    assert main(["store", "ls", "--store", store.uri]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert other in output and "which of them are in use is unknown" in output
    assert main(["report", "--store", store.uri]) == 0
    capsys.readouterr()
    before = store.list("")
    assert main(["store", "gc", "--store", store.uri, "--yes"]) == 2
    assert "runs/damaged/ledger.json: not a ledger" in capsys.readouterr().err
    assert store.list("") == before


def test_gc_never_follows_a_link(store: ObjectStore, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    for name in ("MANIFEST", "weights.safetensors", f"x~{'0' * 32}"):
        (victim / name).write_bytes(b"of another store")
        age(victim / name)
    for place in ("steps/aaaa", "snapshots/bbbb", "corpora/cccc", "ray/dddd"):
        Path(store.uri, place).parent.mkdir(exist_ok=True)
        Path(store.uri, place).symlink_to(victim)
    Path(store.uri, "corpora", "loop").symlink_to(store.uri)
    store.push(Path(store.uri, first_step(store)), "steps/unwanted")
    Path(store.uri, "steps/unwanted/inside").symlink_to(victim)
    assert set(left(store)) == {"steps/unwanted"}
    assert main(["store", "gc", "--store", store.uri, "--yes"]) == 0
    assert not Path(store.uri, "steps/unwanted").exists()
    assert len(list(victim.iterdir())) == 3
    store.remove("steps/aaaa/MANIFEST")
    store.remove("steps/aaaa")
    assert len(list(victim.iterdir())) == 3 and not Path(store.uri, "steps/aaaa").is_symlink()


def test_runs_behind_a_link_keep_everything(store: ObjectStore, capsys: pytest.CaptureFixture[str]) -> None:
    for loop in ("l1", "l2"):
        Path(store.uri, "runs", loop).symlink_to(store.uri)
    assert main(["store", "ls", "--store", store.uri]) == 0
    capsys.readouterr()
    assert main(["store", "gc", "--store", store.uri, "--yes"]) == 2
    assert "runs/l1: a symbolic link" in capsys.readouterr().err


def test_an_unused_copy_is_evicted(store: ObjectStore, tmp_path: Path) -> None:
    cache = ObjectStore(str(tmp_path / "cache"))
    cache.push(Path(store.uri, first_step(store)), "0123abcd")
    (tmp_path / "cache" / "0123abcd.lock").touch()
    assert left(store) == {}
    long_ago = time.time() - 31 * 24 * 3600
    os.utime(tmp_path / "cache" / "0123abcd", (long_ago, long_ago))
    (copy,) = leftovers(store)
    assert copy.why == "unused for 30 days" and copy.size > 0
    copy.remove()
    assert not list((tmp_path / "cache").iterdir())


# ---- ls


def test_ls_names_all_there_is(store: ObjectStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.push(Path(store.uri, first_step(store)), "steps/unwanted")
    assert main(["store", "ls", "--store", store.uri]) == 0
    output = " ".join(capsys.readouterr().out.split())
    ledger = runs.ledger(store.uri)
    assert "2 of 2 yes" in output
    assert ledger.corpora[0].fingerprint in output
    assert "3 steps" in output and "1 that no run or search refers to" in output


def test_ls_of_an_empty_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "ls", "--store", str(tmp_path)]) == 0
    assert "0 steps" in capsys.readouterr().out


# ---- uploads


@pytest.mark.s3
def test_an_upload_that_never_ended_is_found_and_aborted(s3_uri: str) -> None:
    store = ObjectStore(f"{s3_uri}/some/folder")
    client, bucket = boto3.client("s3"), s3_uri.removeprefix("s3://")
    for key in ("some/folder/steps/a/weights", "another/folder"):
        begun = client.create_multipart_upload(Bucket=bucket, Key=key)
        client.upload_part(Bucket=bucket, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=b"x")
    assert unfinished(store) == [], "it may still be running"
    at_all = timedelta(seconds=-5)
    (upload,) = unfinished(store, at_all)
    assert upload.key == "steps/a/weights"
    abort(store, upload)
    abort(store, upload)
    assert unfinished(store, at_all) == []
    assert [one.key for one in unfinished(ObjectStore(s3_uri), at_all)] == ["another/folder"]
    abort(store, Upload("never/begun", upload.id))
