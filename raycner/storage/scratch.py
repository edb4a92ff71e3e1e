"""Temporary folders of this process. Those of killed processes are removed by the next process that needs one."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from time import time

from raycner.storage.durable_files import ABANDONED_AFTER

PREFIX = "raycner-scratch-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder, removed when the block ends.

    An advisory lock on the folder shows that its process is alive, in whatever container that is.
    """
    _remove_abandoned(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder, _locked(Path(folder)):
        yield Path(folder)


@cache
def _remove_abandoned(parent: str) -> None:
    """Once per process: remove the folders whose process has ended, an hour after they were begun."""
    for folder in Path(parent).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.is_symlink() or time() - folder.stat().st_mtime < ABANDONED_AFTER:
                continue
            with _locked(folder):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which dies with the process. Raises BlockingIOError while another process has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
