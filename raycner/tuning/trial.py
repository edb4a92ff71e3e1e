"""One trial of a search: the same job for every seed, trained step by step as its results are asked for.

A trial that fits one device trains in this process. A trial of several workers starts a worker group. Its steps are in
the store, so a trial that starts again continues where it stopped.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from raycner.data.metrics import macro, micro
from raycner.errors import InputError
from raycner.storage.ledger import StepRecord
from raycner.storage.searches import want
from raycner.storage.store import ObjectStore
from raycner.tuning.lockstep import StepResults, in_lockstep
from raycner.tuning.objective import DevScores
from raycner.tuning.round import Round, Rung
from raycner.tuning.study import Settings


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What a trial has after a step."""

    step: int
    """How many steps it has finished, over all rungs."""
    values: Mapping[str, float]
    """Objective -> its value after this step."""
    dev: Mapping[str, float]
    """dev/micro and dev/macro: F1 on dev after this step, from 0 to 1, means over seeds."""
    trained: int
    """Steps that it trained, over all seeds; the others were in the store."""
    shared: int
    failure: str
    """Why it failed, or nothing."""


def nothing() -> None:
    """What a trial does before its first step in a process that is ready to train."""


class Trial:
    """A trial in progress."""

    def __init__(self, round_: Round, suggested: Settings, begin: Callable[[], None] = nothing) -> None:
        self._round, self._store = round_, ObjectStore(round_.plan.job.store)
        self._steps = self._train(suggested, begin)
        self._finished = self._trained = 0
        self._values = dict.fromkeys(round_.plan.study.objectives, 0.0)
        self._dev: Mapping[str, float] = {}

    def advance(self) -> TrialResult:
        """Train the next step. A failure is a result, because the same settings would fail again."""
        try:
            failure = next(self._steps)
        except InputError as error:
            failure = str(error)
        except torch.OutOfMemoryError:
            failure = "out of memory"
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        return TrialResult(
            step=self._finished,
            values=dict(self._values),
            dev=self._dev,
            trained=self._trained,
            shared=self._finished * self._round.plan.study.seeds - self._trained,
            failure=failure,
        )

    def close(self) -> None:
        """End it, and its worker group if it has one."""
        self._steps.close()

    def _train(self, suggested: Settings, begin: Callable[[], None]) -> Generator[str]:
        """Train every step of every rung; after each, why the trial fails, or nothing."""
        begin()
        for rung in self._round.rungs:
            records: list[list[StepRecord]] = []
            """Of each finished step, one per seed."""
            for results in in_lockstep(self._round.configs(suggested, rung.share), self._round.corpora):
                records.append([result.record for result in results])
                yield self._take(rung, records, results)

    def _take(self, rung: Rung, records: Sequence[Sequence[StepRecord]], results: StepResults) -> str:
        """Add the step that was finished last."""
        for result in results:
            want(self._store, self._round.plan.name, result.record.fingerprint)
        self._finished += 1
        self._trained += sum(result.trained for result in results)
        if failure := next(filter(None, map(_divergence, records[-1])), ""):
            return failure
        runs = zip(*records, strict=True)
        self._values = rung.objective([[DevScores.of(record) for record in run] for run in runs])
        counts = [record.dev for record in records[-1]]
        self._dev = {"dev/micro": fmean(map(micro, counts)), "dev/macro": fmean(map(macro, counts))}
        return ""


def _divergence(record: StepRecord) -> str:
    """The first loss of a step that is not finite, or nothing."""
    for epoch in record.epochs:
        for term, loss in epoch.losses.items():
            if not math.isfinite(loss):
                return f"the loss {term} is {loss} in epoch {epoch.epoch + 1} of step {record.index + 1}"
    return ""
