"""What a search maximises: F1 on dev, never on test, against trial 0 at the same steps.

    score(t) = mean over seeds  -  caution * standard error over seeds,   of
               mean over steps i <= t of  F1_i(trial) - F1_i(trial 0)

F1 falls as types accumulate, so a raw score would make the trials that were stopped early look best. The difference to
trial 0, averaged over the steps so far, means the same after any step; after the last it ranks trials as their own
averages do. Source for the averaged score over all seen types: tuning on new types alone rewards forgetting.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal, NamedTuple

from raycner.data.metrics import macro, micro, old_new
from raycner.storage.ledger import Counts, StepRecord


class Dev(NamedTuple):
    """What one step left on dev."""

    counts: Counts
    new: Collection[str]

    @classmethod
    def of(cls, record: StepRecord) -> "Dev":
        return cls(record.dev, record.new)


Series = Sequence[Dev]
"""The steps of one run."""


def _old(dev: Dev) -> float | None:
    return old_new(dev.counts, dev.new)[0]


def _new(dev: Dev) -> float | None:
    return old_new(dev.counts, dev.new)[1]


MEASURES: dict[str, dict[str, Callable[[Dev], float | None]]] = {
    "mean_f1": {"score": lambda dev: (micro(dev.counts) + macro(dev.counts)) / 2},
    "macro_f1": {"score": lambda dev: macro(dev.counts)},
    "micro_f1": {"score": lambda dev: micro(dev.counts)},
    "old_new": {"old": _old, "new": _new},
}
"""metric -> objective -> F1 of one step; None where the step has nothing of the kind."""


@dataclass(frozen=True)
class Objective:
    """The scores of a trial; picklable, for trials compute it where they run."""

    metric: Literal["mean_f1", "macro_f1", "micro_f1", "old_new"]
    caution: float
    baseline: Sequence[Series]
    """Of trial 0, seed by seed."""

    def __call__(self, trial: Sequence[Series]) -> dict[str, float]:
        """Objective -> its value after the steps so far."""
        return {name: self._value(measure, trial) for name, measure in MEASURES[self.metric].items()}

    def _value(self, measure: Callable[[Dev], float | None], trial: Sequence[Series]) -> float:
        gains = [_gain(measure, ours, theirs) for ours, theirs in zip(trial, self.baseline, strict=True)]
        error = stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
        return fmean(gains) - self.caution * error


def _gain(measure: Callable[[Dev], float | None], ours: Series, theirs: Series) -> float:
    """How much better than trial 0, on average over the steps that `ours` has."""
    pairs = [(measure(our), measure(their)) for our, their in zip(ours, theirs, strict=False)]
    gains = [our - their for our, their in pairs if our is not None and their is not None]
    return fmean(gains) if gains else 0.0
