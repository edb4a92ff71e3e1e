"""Asynchronous successive halving (Li et al., 2020) over the rungs of a round.

Optuna's own pruner has its rungs at grace * reduction^k; ours may also end a pass over a share of the sentences. All it
reads is in the journal, so a search that resumes compares trials with those of earlier sessions.
"""

from collections.abc import Collection

import optuna
from optuna.trial import FrozenTrial


class SuccessiveHalving(optuna.pruners.BasePruner):
    """At each rung, one trial in `reduction` continues: the best of those that reached it so far, rounded up."""

    def __init__(self, rungs: Collection[int], reduction: int) -> None:
        self._rungs, self._reduction = frozenset(rungs), reduction

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial ends after its last report. Trial 0 never does: all others are compared with it."""
        step = trial.last_step
        if step not in self._rungs or trial.number == 0:
            return False
        reached = (other.intermediate_values for other in study.get_trials(deepcopy=False))
        scores = sorted((values[step] for values in reached if step in values), reverse=True)
        continuing = -(-len(scores) // self._reduction)
        return trial.intermediate_values[step] < scores[continuing - 1]
