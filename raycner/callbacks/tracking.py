"""Tracking a run: its events become scores, which a tracker records.

    of an epoch   loss/TERM, dev/micro, seconds; epochs are counted over the whole run, from 1
    of a step     test/micro, test/macro, test/old and test/new (from the second step on), type/TYPE: F1, from 0 to 1;
                  test/micro_precision, test/micro_recall, test/macro_precision, test/macro_recall;
                  precision/TYPE, recall/TYPE; support/TYPE: gold entities;
                  test_NAME/micro, test_NAME/macro and so on: the same of an extra test set, `eval.test.NAME`

    of a trial    after each of its steps: objective/NAME (F1 against trial 0, from -1 to 1), dev/micro, dev/macro

A record is a copy: the run never reads it. Each command starts the record again, and steps that the store has are
recorded like trained ones. A trial of a search is a run of its own, called SEARCH/trial-NUMBER, with the settings that
were suggested for it.
"""

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from raycner.callbacks.trackers import TRACKERS, TrackedRun, Tracker
from raycner.callbacks.trackers.no_tracker import NoTracker
from raycner.data.metrics import f1, macro, micro, old_new, precision, recall, support
from raycner.events import (
    EpochFinished,
    Event,
    EventHandler,
    RoundStarted,
    StepFinished,
    StepReused,
    StepStarted,
    TrialCrashed,
    TrialFinished,
    TrialReported,
    TrialStarted,
)
from raycner.hashing import Plain
from raycner.storage.ledger import Counts, StepRecord

log = logging.getLogger(__name__)


def tracker(name: str, path: str) -> Tracker:
    """The tracker that `compute.tracker` and `compute.tracker_path` describe."""
    chosen: Tracker = TRACKERS.find(name, "compute.tracker")(path=path)
    return chosen


@contextlib.contextmanager
def tracked(to: Tracker, run: str, settings: Mapping[str, Plain], emit: EventHandler) -> Iterator[EventHandler]:
    """A handler that passes events on to `emit`, and records their scores until the block ends."""
    handler = TrackingHandler(to.open(run, settings), emit)
    try:
        yield handler
    finally:
        handler.close()


class TrackingHandler:
    """Passes events on, and records each epoch and each step once, however often workers restart."""

    def __init__(self, run: TrackedRun, emit: EventHandler) -> None:
        self._run, self._emit = run, emit
        self._index = 0
        self._epochs_before = {0: 0}
        """Index of a step -> the epochs of all steps before it."""
        self._logged: set[tuple[str, int]] = set()
        self._failed = False

    def __call__(self, event: Event, /) -> None:
        self._emit(event)
        match event:
            case StepStarted(index=index):
                self._index = index
            case EpochFinished():
                self._guard(lambda: self._log_epoch(event))
            case StepFinished(record) | StepReused(record):
                self._guard(lambda: self._log_step(record))

    def close(self) -> None:
        self._guard(self._run.close)

    def _guard(self, write: Callable[[], None]) -> None:
        """A tracker that fails must not end the run: it is reported once, and then left out."""
        if self._failed:
            return
        try:
            write()
        except Exception as error:
            self._failed = True
            log.warning("the tracker failed; the run continues without it: %s: %s", type(error).__name__, error)

    def _log_epoch(self, epoch: EpochFinished) -> None:
        at = self._epochs_before[self._index] + epoch.number
        if ("epoch", at) not in self._logged:
            self._logged.add(("epoch", at))
            losses = {f"loss/{name}": value for name, value in epoch.losses.items()}
            self._run.log("epoch", at, losses | {"dev/micro": epoch.dev_score, "seconds": epoch.seconds})

    def _log_step(self, record: StepRecord) -> None:
        self._index = record.index
        for epoch in record.epochs:
            number, losses = epoch.epoch + 1, epoch.losses
            finished = EpochFinished(number=number, losses=losses, dev_score=epoch.dev_score, seconds=epoch.seconds)
            self._log_epoch(finished)
        self._epochs_before[record.index + 1] = self._epochs_before[record.index] + len(record.epochs)
        at = record.index + 1
        if ("step", at) not in self._logged:
            self._logged.add(("step", at))
            self._run.log("step", at, _scores(record))


@contextlib.contextmanager
def tracked_trials(to: Tracker, emit: EventHandler) -> Iterator[EventHandler]:
    """A handler that passes events on to `emit`, and records the scores of each trial until it ends."""
    handler = TrialTrackingHandler(to, emit)
    try:
        yield handler
    finally:
        handler.close()


class TrialTrackingHandler:
    """Passes events on, and records each trial of a round as a run of the round's group."""

    def __init__(self, tracker: Tracker, emit: EventHandler) -> None:
        self._tracker, self._emit = tracker, emit
        self._group = ""
        self._open: dict[int, TrackedRun] = {}
        self._steps: Counter[int] = Counter()
        """Number of a trial -> the steps that it reported."""

    def __call__(self, event: Event, /) -> None:
        self._emit(event)
        match event:
            case RoundStarted(name=name):
                self._group = name
                self._steps.clear()
            case TrialStarted(number=number, settings=settings):
                self._open[number] = self._tracker.open(f"{self._group}/trial-{number}", settings)
            case TrialReported(number=number, scores=scores) if number in self._open:
                self._steps[number] += 1
                self._guard(lambda: self._open[number].log("step", self._steps[number], scores))
            case TrialCrashed(number=number):
                self._end(number)
            case TrialFinished(record):
                self._end(record.number)

    def close(self) -> None:
        """End the records of trials that did not end: the search was interrupted."""
        for number in list(self._open):
            self._end(number)

    def _end(self, number: int) -> None:
        if run := self._open.pop(number, None):
            self._guard(run.close)

    def _guard(self, write: Callable[[], None]) -> None:
        """A tracker that fails must not end the search: it is reported once, and then left out."""
        try:
            write()
        except Exception as error:
            self._open.clear()
            log.warning("the tracker failed; the search continues without it: %s: %s", type(error).__name__, error)
            self._tracker = NoTracker(path="")


def _scores(record: StepRecord) -> dict[str, float]:
    scores = _means("test", record.test)
    for name, extra in (record.tests or {}).items():
        if any(map(any, extra.values())):
            scores |= _means(f"test_{name}", extra)
    old, new = old_new(record.test, record.new)
    if old is not None and new is not None:
        scores |= {"test/old": old, "test/new": new}
    for name, counts in record.test.items():
        scores |= {f"type/{name}": f1(counts), f"support/{name}": float(support(counts))}
        scores |= {f"precision/{name}": precision(counts), f"recall/{name}": recall(counts)}
    return scores


def _means(name: str, counts: Counts) -> dict[str, float]:
    """The scores over all types on one set of sentences."""
    return {
        f"{name}/micro": micro(counts),
        f"{name}/macro": macro(counts),
        f"{name}/micro_precision": micro(counts, score=precision),
        f"{name}/micro_recall": micro(counts, score=recall),
        f"{name}/macro_precision": macro(counts, score=precision),
        f"{name}/macro_recall": macro(counts, score=recall),
    }
