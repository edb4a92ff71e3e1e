"""What a search maximises: F1 on dev, never on test, compared with trial 0 after the same steps.

    score(t) = mean over seeds  -  caution * standard error over seeds,   of
               mean over steps i <= t of  F1_i(trial) - F1_i(trial 0)

F1 falls as types accumulate, so raw scores would favour pruned trials. The difference to trial 0, averaged over the
steps so far, is comparable after any number of steps; after the last step it ranks trials as their average F1 does. The
average is over all seen types, because tuning on new types alone rewards forgetting.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal, NamedTuple

from raycner.data.metrics import macro, micro, old_new
from raycner.storage.ledger import Counts, StepRecord


class DevScores(NamedTuple):
    """What one step predicted on dev."""

    counts: Counts
    new: Collection[str]
    """The types that the step added."""

    @classmethod
    def of(cls, record: StepRecord) -> "DevScores":
        return cls(record.dev, record.new)


RunScores = Sequence[DevScores]
"""Of the steps of one run, in order."""
Measure = Callable[[DevScores], float | None]
"""F1 of one step, from 0 to 1; None where the step has no type of that kind."""


def _mean(scores: DevScores) -> float:
    return (micro(scores.counts) + macro(scores.counts)) / 2


def _macro(scores: DevScores) -> float:
    return macro(scores.counts)


def _micro(scores: DevScores) -> float:
    return micro(scores.counts)


def _old(scores: DevScores) -> float | None:
    return old_new(scores.counts, scores.new)[0]


def _new(scores: DevScores) -> float | None:
    return old_new(scores.counts, scores.new)[1]


MEASURES: dict[str, dict[str, Measure]] = {
    "mean_f1": {"score": _mean},
    "macro_f1": {"score": _macro},
    "micro_f1": {"score": _micro},
    "old_new": {"old": _old, "new": _new},
}
"""Metric -> name of an objective -> what it measures after each step."""


@dataclass(frozen=True)
class Objective:
    """The objectives of a trial. Picklable: trials compute them where they run."""

    metric: Literal["mean_f1", "macro_f1", "micro_f1", "old_new"]
    caution: float
    """Standard errors to subtract."""
    baseline: Sequence[RunScores]
    """Of trial 0, one run per seed."""

    def __call__(self, trial: Sequence[RunScores]) -> dict[str, float]:
        """Name of an objective -> its value after the steps that the trial has, one run per seed."""
        return {name: self._value(measure, trial) for name, measure in MEASURES[self.metric].items()}

    def _value(self, measure: Measure, trial: Sequence[RunScores]) -> float:
        gains = [_gain(measure, run, baseline) for run, baseline in zip(trial, self.baseline, strict=True)]
        standard_error = stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
        return fmean(gains) - self.caution * standard_error


def _gain(measure: Measure, run: RunScores, baseline: RunScores) -> float:
    """The mean difference to the baseline over the steps that `run` has."""
    pairs = [(measure(step), measure(same_step)) for step, same_step in zip(run, baseline, strict=False)]
    gains = [score - reference for score, reference in pairs if score is not None and reference is not None]
    return fmean(gains) if gains else 0.0
