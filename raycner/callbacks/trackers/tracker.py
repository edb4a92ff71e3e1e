"""The base of all trackers, and their registry.

A tracker is a frozen value; `open` makes the record of one run, which takes the run's scores until it is closed:

    @TRACKERS.register("console")
    class Console(Tracker):
        def open(self, run, settings):
            return PrintedRun()
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from raycner.errors import InputError
from raycner.hashing import Plain
from raycner.registry import Registry

TRACKERS = Registry("tracker", group="raycner.trackers")
Axis = Literal["epoch", "step"]
"""What a score belongs to; both are counted over the whole run, from 1."""


class TrackedRun(ABC):
    """An open record of one run."""

    @abstractmethod
    def log(self, axis: Axis, at: int, scores: Mapping[str, float]) -> None:
        """Write the scores of epoch or step number `at`. A score may be infinite or not a number."""

    @abstractmethod
    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Tracker(ABC):
    """Where the scores of runs go. A tracker imports its library in `open`, so that raycner works without it."""

    path: str
    """A folder, or whatever else the tracker takes as its location: `compute.tracker_path`."""

    @abstractmethod
    def open(self, run: str, settings: Mapping[str, Plain]) -> TrackedRun:
        """Start the record of a run, in place of an earlier one of the same name.

        The name of a trial of a search has its group before a slash: SEARCH/trial-3.
        `settings` are the run's, by dotted name. Raises `InputError` when the library is missing or the path cannot be
        used.
        """

    def folder(self) -> Path:
        """The folder at `path`, created if needed."""
        folder = Path(self.path).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"the folder cannot be created ({error.strerror})"
            location = f"compute.tracker_path={self.path}"
            raise InputError(what, location=location, hint="name another folder") from None
        return folder


def group_of(run: str) -> str:
    """The group in the name of a run, or nothing.

    >>> group_of("dld-12345678/trial-3")
    'dld-12345678'
    """
    return run.rpartition("/")[0]


def missing_package(package: str, extra: str) -> InputError:
    """The error for a tracker whose library is an extra of raycner that is not installed."""
    what = f"the package {package} is not installed"
    return InputError(what, location="compute.tracker", hint=f"pip install 'raycner[{extra}]'")


def safe_name(score: str) -> str:
    """The name of a score in the characters that both TensorBoard and MLflow accept."""
    return re.sub(r"[^\w\-./]", "_", score)
