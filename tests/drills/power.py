"""A disk that loses power: every change of a folder is recorded, and what a cut leaves of it is drawn.

What POSIX promises is kept and nothing more. A file that was flushed has its bytes; of any other, none, some, or zeros
of the right length may be there. A name that was created, replaced or removed is on the disk once its folder was
flushed; of the later changes of a folder a beginning is there, and each folder has its own.
"""

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from raycner.storage.store import MANIFEST, ObjectStore


@dataclass(eq=False)
class File:
    """A file, whatever its name: the bytes that it has, and those that are on the disk."""

    content: bytes = b""
    is_flushed: bool = False

    def after_a_cut(self, random: Random) -> bytes:
        if self.is_flushed:
            return self.content
        part = random.randint(0, len(self.content))
        return random.choice([b"", self.content[:part], bytes(len(self.content)), self.content])


@dataclass(eq=False)
class Folder:
    """A folder: the names that it has on the disk, and the changes since it was flushed."""

    names: dict[str, "File | Folder"] = field(default_factory=dict)
    pending: list[Callable[[dict[str, Any]], object]] = field(default_factory=list)

    def current(self) -> dict[str, "File | Folder"]:
        names = dict(self.names)
        for change in self.pending:
            change(names)
        return names

    def flush(self) -> None:
        self.names, self.pending = self.current(), []

    def after_a_cut(self, random: Random) -> dict[str, Any]:
        names = dict(self.names)
        for change in self.pending[: random.randint(0, len(self.pending))]:
            change(names)
        return {name: entry.after_a_cut(random) for name, entry in names.items()}


@dataclass(frozen=True)
class Change:
    """One recorded call: create, write, flush, rename or remove."""

    what: str
    path: tuple[str, ...]
    content: bytes = b""
    to: str = ""


class Disk:
    """The state of a folder after a number of changes."""

    def __init__(self) -> None:
        self.root = Folder()

    def apply(self, change: Change) -> None:
        *above, name = change.path or ("",)
        if change.what == "flush":
            entry = self._at(change.path)
            if isinstance(entry, Folder):
                entry.flush()
            elif entry is not None:
                entry.is_flushed = True
            return
        folder = self._at(tuple(above))
        if not isinstance(folder, Folder):
            return
        if change.what == "folder":
            made = Folder()
            folder.pending.append(lambda names: names.setdefault(name, made))
        elif change.what == "write":
            file = folder.current().get(name)
            if isinstance(file, File):
                file.content, file.is_flushed = change.content, False
            else:
                new = File(change.content)
                folder.pending.append(lambda names: names.update({name: new}))
        elif change.what == "rename":
            folder.pending.append(lambda names: name in names and names.update({change.to: names.pop(name)}))
        else:
            folder.pending.append(lambda names: names.pop(name, None))

    def _at(self, path: tuple[str, ...]) -> File | Folder | None:
        entry: File | Folder | None = self.root
        for name in path:
            entry = entry.current().get(name) if isinstance(entry, Folder) else None
        return entry


def restore(changes: list[Change], folder: Path, random: Random) -> None:
    """Put into a new folder what a cut after these changes leaves."""
    disk = Disk()
    for change in changes:
        disk.apply(change)
    _write(disk.root.after_a_cut(random), folder)


def _write(names: Mapping[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, entry in names.items():
        if isinstance(entry, bytes):
            (folder / name).write_bytes(entry)
        else:
            _write(entry, folder / name)


class Recorder:
    """Records what Python and the store change below a folder, in order."""

    def __init__(self, root: Path) -> None:
        self.root, self.changes = root.resolve(), list[Change]()
        self._open: dict[tuple[str, ...], bytes | None] = {}
        self._lock, self._is_on = threading.RLock(), False
        sys.addaudithook(self._note)

    @contextmanager
    def recording(self) -> Iterator[None]:
        fsync, remove = os.fsync, ObjectStore.remove

        def flush(descriptor: int) -> None:
            self._add("flush", Path(f"/proc/self/fd/{descriptor}").readlink())
            fsync(descriptor)

        def remove_recorded(store: ObjectStore, key: str) -> None:
            path = Path(store.uri, key)
            if path.is_dir():
                self._add("remove", path / MANIFEST)
            self._add("remove", path)
            remove(store, key)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", flush)
            patch.setattr(ObjectStore, "remove", remove_recorded)
            self._is_on = True
            try:
                yield
            finally:
                self._written()
                self._is_on = False

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audited event, before it happens."""
        if not self._is_on:
            return
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            path = self._path(arguments[0])
            if path is not None:
                with self._lock:
                    self._open.setdefault(path, None)
        elif event == "os.rename":
            source, target = Path(os.fsdecode(arguments[0])), Path(os.fsdecode(arguments[1]))
            assert source.parent == target.parent
            self._add("rename", source, to=target.name)
        elif event == "os.mkdir":
            self._add("folder", arguments[0])
        elif event == "os.remove" and arguments[1] == -1:
            self._add("remove", arguments[0])

    def _path(self, path: object) -> tuple[str, ...] | None:
        """A path below the root; None for any other."""
        if not isinstance(path, str | bytes | os.PathLike):
            return None
        absolute = Path(os.fsdecode(path)).absolute()
        return absolute.relative_to(self.root).parts if absolute.is_relative_to(self.root) else None

    def _add(self, what: str, path: object, to: str = "") -> None:
        below = self._path(path)
        if below is None:
            return
        with self._lock:
            self._written()
            self.changes.append(Change(what, below, to=to))

    def _written(self) -> None:
        """Record the bytes that open files have got since the last change."""
        with self._lock:
            for path, before in list(self._open.items()):
                try:
                    content = self.root.joinpath(*path).read_bytes()
                except OSError:
                    if before is not None:
                        del self._open[path]
                    continue
                if content != before:
                    self._open[path] = content
                    self.changes.append(Change("write", path, content))


def copied(folder: Path, to: Path) -> Path:
    """A copy of a folder."""
    return Path(shutil.copytree(folder, to))
