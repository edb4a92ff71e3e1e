"""Local files that are complete or absent, after a kill and after a loss of power.

A file is written as a draft next to it, `NAME~<32 hexadecimal digits>`, flushed to the disk, and renamed; then the
folder is flushed. A killed process leaves a draft, which the next writer of the same name removes.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from typing import BinaryIO
from uuid import uuid4

from raycner.errors import InputError

DRAFT = re.compile(r"~[0-9a-f]{32}\Z")
"""The end of the name of a draft."""
ABANDONED_AFTER = 3600.0
"""Seconds without a write after which a draft, or a commit without a manifest, counts as abandoned."""


def draft_of(path: Path) -> Path:
    """A new name next to a file or folder, for what will take its place."""
    return path.with_name(f"{path.name}~{uuid4().hex}")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes take the place of `path` when the block ends, and are dropped when it fails."""
    create_folder(path.parent)
    draft = draft_of(path)
    try:
        with draft.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """`replacing` for a file that a user names: what killed processes left of it is removed first.

    A link, a pipe or a device, such as /dev/stdout, stays what it is and is written to.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        with path.open("wb") as stream:
            yield stream
        return
    remove_abandoned_drafts(path)
    with replacing(path) as stream:
        yield stream


@contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """A draft of a folder that a user names. It takes the folder's place when the block ends, and is dropped when it
    fails. Raises `InputError` where the folder has files, and where it cannot be written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("the folder is not empty", location=str(folder), hint="name a new folder, or an empty one")
    remove_abandoned_drafts(folder)
    draft = draft_of(folder)
    try:
        create_folder(folder.parent)
        draft.mkdir()
        yield draft
        sync_tree(draft)
        draft.replace(folder)
        sync_folder(folder.parent)
    except OSError as error:
        hint = "name a folder that can be written"
        raise InputError(f"cannot be written ({error.strerror})", location=str(folder), hint=hint) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def create_folder(folder: Path) -> None:
    """Create a folder and those above it; their names outlive a loss of power."""
    missing = [above for above in (folder, *folder.parents) if not above.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for created in reversed(missing):
        sync_folder(created.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names of a folder to the disk. Some network filesystems cannot, and need not."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush the files of a folder, and their names, to the disk."""
    for place, _, files in os.walk(folder):
        for name in files:
            with Path(place, name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(place))


def remove_abandoned_drafts(path: Path) -> None:
    """Remove the drafts of this file or folder that killed processes left, if they are an hour old."""
    with suppress(OSError):
        for draft in path.parent.iterdir():
            if draft.name.startswith(f"{path.name}~") and DRAFT.fullmatch(draft.name, len(path.name)):
                _remove_if_abandoned(draft)


def _remove_if_abandoned(draft: Path) -> None:
    with suppress(OSError):
        is_folder = draft.is_dir() and not draft.is_symlink()
        inside = [Path(place, name) for place, _, files in os.walk(draft) for name in files] if is_folder else []
        if time() - max(one.lstat().st_mtime for one in (draft, *inside)) < ABANDONED_AFTER:
            return
        if is_folder:
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
