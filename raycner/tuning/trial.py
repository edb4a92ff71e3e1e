"""One trial of a search as Ray Tune runs it: the same job for every seed, one step per Tune iteration.

A trial that fits one device trains in its own process, which then serves the next trial. A trial of several workers
starts a worker group. Its steps are in the store, so a trial that starts again continues where it stopped.
"""

import math
from collections.abc import Generator
from typing import Any

import torch
from ray import tune

from raycner.errors import InputError
from raycner.storage.ledger import StepRecord
from raycner.storage.searches import want
from raycner.storage.store import ObjectStore
from raycner.tuning.lockstep import StepResults, in_lockstep
from raycner.tuning.objective import DevScores
from raycner.tuning.round import Round


class Trial(tune.Trainable):  # type: ignore[misc]
    """A Tune iteration (`step`) is one step of the job."""

    def setup(self, config: dict[str, Any], *, round_: Round) -> None:
        self._round, self._store = round_, ObjectStore(round_.plan.job.store)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another trial, with these suggested settings."""
        self._suggested = dict(new_config)
        self._steps: Generator[StepResults] | None = None
        self._records: list[list[StepRecord]] = []
        """Of each finished step, one per seed."""
        self._values = dict.fromkeys(self._round.plan.study.objectives, 0.0)
        self._trained = 0
        return True

    def step(self) -> dict[str, Any]:
        """Train the next step. A failure is a result, because the same settings would fail again."""
        try:
            failure = self._train_step()
        except InputError as error:
            failure = str(error)
        except torch.OutOfMemoryError:
            failure = "out of memory"
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        steps = len(self._records)
        return {
            **self._values,
            "step": steps,
            "trained": self._trained,
            "shared": steps * self._round.plan.study.seeds - self._trained,
            "failed": failure,
            "done": bool(failure) or steps == self._round.steps,
        }

    def _train_step(self) -> str:
        """Train the next step of every seed; why the trial fails, or nothing."""
        if self._steps is None:
            self._steps = in_lockstep(self._round.configs(self._suggested), self._round.corpora)
        results = next(self._steps)
        for result in results:
            want(self._store, self._round.plan.name, result.record.fingerprint)
        self._trained += sum(result.trained for result in results)
        self._records.append([result.record for result in results])
        if failure := next(filter(None, (_divergence(result.record) for result in results)), ""):
            return failure
        runs = zip(*self._records, strict=True)
        self._values = self._round.objective([[DevScores.of(record) for record in run] for run in runs])
        return ""

    def cleanup(self) -> None:
        if self._steps is not None:
            self._steps.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the steps are in the store."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: the steps are in the store."""


def _divergence(record: StepRecord) -> str:
    """The first loss of a step that is not finite, or nothing."""
    for epoch in record.epochs:
        for term, loss in epoch.losses.items():
            if not math.isfinite(loss):
                return f"the loss {term} is {loss} in epoch {epoch.epoch + 1} of step {record.index + 1}"
    return ""
