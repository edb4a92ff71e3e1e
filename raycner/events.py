"""Events: what a run and a search report while they work.

An emitter calls its `EventHandler` with one of the frozen dataclasses below. A handler matches the classes that it
knows and ignores every other one:

    def handler(event: Event) -> None:
        match event:
            case EpochFinished(number=number, losses=losses):
                print(number, losses)

So a new event or a new field breaks no handler. Events are plain values, and travel between processes as they are.

A run emits, for each of its steps, `StepStarted` and then one of two sequences. For a step that the store has:
`StepReused`, after `ScoringStarted` where its evaluation is missing. For a step that is trained: any number of
`StepAdvanced` and `EpochFinished`, `ScoringStarted`, and `StepFinished`. When workers restart after a failure, the step
starts again and its events are repeated.

A comparison whose runs go in parallel emits `RunsPlanned`, then the events of each run inside `EventOf`, and a
`RunEnded` for each.

A search emits `RoundStarted`, then for each trial `TrialStarted`, a `TrialReported` after each of its steps, and
`TrialFinished`; or `TrialCrashed`, after which the same settings are tried as a new trial.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from raycner.storage.ledger import StepRecord
from raycner.storage.searches import TrialRecord


@dataclass(frozen=True)
class Message:
    """A line for the user that stays on the screen."""

    text: str


@dataclass(frozen=True)
class Waiting:
    """The process waits: for a lock, or for workers to start. Its duration is unknown."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """The command ended with an error; always the last event. Only `--log json` reports it."""

    reason: str
    """Class and message of the error."""


@dataclass(frozen=True, kw_only=True)
class StepStarted:
    """A step of a run starts: it is looked up in the store, and trained if it is missing."""

    run: str
    """Name of the run."""
    index: int
    """Number of the step, from 0."""
    of: int
    """How many steps the run has."""
    fingerprint: str
    types: tuple[str, ...]
    """The types that the step adds."""
    epochs: int
    """The most epochs it can train."""


@dataclass(frozen=True)
class StepAdvanced:
    """One more update of the step's training. Frequent: `--log json` leaves it out, and workers send five a second."""

    share: float
    """Finished updates of the step, from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class EpochFinished:
    """An epoch of the step's training ended, and the network was scored on dev."""

    number: int
    """From 1."""
    losses: Mapping[str, float]
    """Loss term -> its mean over the epoch, unweighted by the other terms."""
    dev_score: float
    """Micro-F1 on dev, from 0 to 1."""
    seconds: float


@dataclass(frozen=True)
class ScoringStarted:
    """The weights of the step are scored on dev and test: the store lacks the requested evaluation."""


@dataclass(frozen=True)
class StepReused:
    """The store has the step already: nothing was trained."""

    record: StepRecord


@dataclass(frozen=True)
class StepFinished:
    """The step was trained and committed to the store."""

    record: StepRecord


@dataclass(frozen=True)
class RunsPlanned:
    """Several runs are about to go in parallel."""

    titles: tuple[str, ...]
    """Of each run: its row, its seed and its order."""
    parallel: int
    """How many go at once."""


@dataclass(frozen=True)
class EventOf:
    """An event of one of several runs that go in parallel."""

    title: str
    """Of the run, as in `RunsPlanned`."""
    event: "RunEvent"


@dataclass(frozen=True)
class RunEnded:
    """One of several runs that go in parallel is complete."""

    title: str


@dataclass(frozen=True, kw_only=True)
class RoundStarted:
    """A round of trials starts or resumes. A search has one, a step-wise search one for each step."""

    name: str
    """Of the round's Optuna study."""
    trials: int
    """How many trials the round has, finished ones included."""
    steps: int
    """How many steps each trial trains."""
    finished: tuple[TrialRecord, ...]
    """The trials that ended in an earlier session."""


@dataclass(frozen=True, kw_only=True)
class TrialStarted:
    """A trial starts."""

    number: int
    settings: Mapping[str, Any]
    """Dotted name -> value, as Optuna proposed them."""


@dataclass(frozen=True, kw_only=True)
class TrialReported:
    """A trial finished one of its steps."""

    number: int
    score: float
    """Its first objective after the step: F1 on dev minus that of trial 0, from -1 to 1."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """objective/NAME for each objective, dev/micro and dev/macro (F1 from 0 to 1): what trackers record."""


@dataclass(frozen=True, kw_only=True)
class TrialCrashed:
    """The process of a trial died. The same settings are tried again, as another trial."""

    number: int


@dataclass(frozen=True)
class TrialFinished:
    """A trial ended: it completed, was pruned, or failed."""

    record: TrialRecord


RunEvent: TypeAlias = (
    Message | Waiting | Failed | StepStarted | StepAdvanced | EpochFinished | ScoringStarted | StepReused | StepFinished
)
SearchEvent: TypeAlias = RoundStarted | TrialStarted | TrialReported | TrialCrashed | TrialFinished
ComparisonEvent: TypeAlias = RunsPlanned | EventOf | RunEnded
Event: TypeAlias = RunEvent | ComparisonEvent | SearchEvent


class EventHandler(Protocol):
    """Anything that can be called with an event. It must ignore the events that it does not know."""

    def __call__(self, event: Event, /) -> None: ...


def ignore_events(event: Event, /) -> None:
    """A handler that does nothing."""


def event_name(event: type[Event]) -> str:
    """The name of an event in `--log json`.

    >>> event_name(StepStarted)
    'step_started'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()
