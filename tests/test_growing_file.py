"""A growing file in a store: chunks and the whole agree after any kill, and what is sent grows with the file."""

from pathlib import Path

import pytest

from raycner.storage import growing_file
from raycner.storage.growing_file import GrowingFile
from raycner.storage.store import ObjectStore

KEY = "searches/a/journal.log"
LINES = [f"line {number}\n".encode() for number in range(40)]


@pytest.fixture(params=[True, False], ids=["folder", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    monkeypatch.setattr(ObjectStore, "is_local", request.param)
    monkeypatch.setattr(growing_file, "SECONDS", 0.01)
    return ObjectStore(str(tmp_path / "store"))


def append(file: Path, line: bytes) -> None:
    with file.open("ab") as stream:
        stream.write(line)


def restored(store: ObjectStore, folder: Path) -> bytes:
    """The file as a new process has it."""
    folder.mkdir(exist_ok=True)
    file = folder / "journal.log"
    file.unlink(missing_ok=True)
    GrowingFile(store, KEY, file)
    return file.read_bytes() if file.exists() else b""


def test_what_was_saved_is_restored(store: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "journal.log"
    copy = GrowingFile(store, KEY, file)
    for number, line in enumerate(LINES, 1):
        append(file, line)
        copy.save()
        if number == 1:
            assert restored(store, tmp_path / "killed") == LINES[0], "the first save returns when it is written"
    killed = restored(store, tmp_path / "killed")
    assert b"".join(LINES).startswith(killed) and killed.endswith(b"\n")
    append(file, b"never saved, because half a trial is none\n")
    copy.close()
    assert store.list("searches") == [KEY]
    assert store.read(KEY) == file.read_bytes() == restored(store, tmp_path / "whole")


def test_chunks_agree_with_the_file_after_a_kill(store: ObjectStore, tmp_path: Path) -> None:
    """A kill between writing the whole file and removing the chunks; a chunk of a writer that lost its lock."""
    whole = b"".join(LINES[:4])
    store.write(KEY, whole)
    store.write(f"{KEY}.d/{0:012d}", LINES[0])
    store.write(f"{KEY}.d/{len(LINES[0]):012d}", LINES[1])
    assert restored(store, tmp_path / "again") == whole
    store.write(f"{KEY}.d/{len(whole):012d}", LINES[4])
    assert restored(store, tmp_path / "again") == whole + LINES[4]
    for wrong in (3, len(whole) + 1, 10**6):
        store.write(f"{KEY}.d/{wrong:012d}", b"x" * 10**4)
    assert restored(store, tmp_path / "again") == whole + LINES[4], "a chunk that follows no line is left out"


def test_an_object_store_receives_each_byte_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: ObjectStore
) -> None:
    if store.is_local:
        pytest.skip("a folder has the whole file")
    monkeypatch.setattr(growing_file, "SECONDS", 0.0)
    sent: list[int] = []
    write = ObjectStore.write
    monkeypatch.setattr(ObjectStore, "write", lambda self, key, data: (sent.append(len(data)), write(self, key, data)))
    file = tmp_path / "journal.log"
    copy = GrowingFile(store, KEY, file)
    for line in LINES:
        append(file, line)
        copy.save()
    copy.close()
    assert sum(sent) <= 2 * file.stat().st_size
