"""One trial of a search: a run of every seed, walked abreast, one incremental step at a time.

A trial that fits one device trains in its own process, which is used again for the next trial. One that asks for
several workers starts a gang. Either way its steps lie in the store, so a trial that is begun again goes on.
"""

import itertools
import math
import queue
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray import tune

from raycner.config import RunConfig
from raycner.errors import InputError
from raycner.events import Event, StepFinished, StepReused, ignore_events
from raycner.orchestration.run_steps import StepResult, run_steps
from raycner.orchestration.worker_group import StepBarrier, on_driver_node, run_worker_group
from raycner.storage.ledger import StepRecord
from raycner.storage.searches import want
from raycner.storage.store import ObjectStore
from raycner.tuning.objective import Dev, Objective
from raycner.tuning.study import Plan, Settings


@dataclass(frozen=True)
class Task:
    """What every trial of a round is told."""

    plan: Plan
    prefixes: Sequence[Settings]
    """Settings that a trial may go on from; its own name one by `prefix`."""
    at: int
    """The step that is searched, from 1; 0 for all."""
    steps: int
    """How many steps to walk."""
    fingerprints: Sequence[str]
    objective: Objective

    def settings(self, drawn: Settings) -> dict[str, Any]:
        """What a draw means for the job."""
        own = {key: value for key, value in drawn.items() if key != "prefix"}
        placed = {f"at.{self.at}.{key}": value for key, value in own.items()} if self.at else own
        return {**self.prefixes[drawn.get("prefix", 0)], **placed}

    def configs(self, drawn: Settings) -> list[RunConfig]:
        """The runs of a draw, one a seed."""
        settings = self.settings(drawn)
        first = self.plan.config(settings).seed
        return [self.plan.config({**settings, "seed": first + k}) for k in range(self.plan.study.seeds)]


class Trial(tune.Trainable):  # type: ignore[misc]
    """Each `step` is one step of the job."""

    def setup(self, config: dict[str, Any], *, task: Task) -> None:
        self._task, self._store = task, ObjectStore(task.plan.job.store)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another trial."""
        self._drawn = dict(new_config)
        self._walking: Generator[tuple[StepResult, ...]] | None = None
        self._records: list[list[StepRecord]] = []
        self._values: dict[str, float] = dict.fromkeys(self._task.plan.study.objectives, 0.0)
        self._trained = 0
        return True

    def step(self) -> dict[str, Any]:
        """What Tune, Optuna and the table are told. A failure is told as well, since trying again would not mend it."""
        try:
            reason = self._walk()
        except InputError as refusal:
            reason = str(refusal)
        except torch.OutOfMemoryError:
            reason = "out of memory"
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        done = len(self._records)
        return {
            **self._values,
            "step": done,
            "trained": self._trained,
            "shared": done * self._task.plan.study.seeds - self._trained,
            "failed": reason,
            "done": bool(reason) or done == self._task.steps,
        }

    def _walk(self) -> str:
        """One step further; why the trial has failed, if it has."""
        if self._walking is None:
            self._walking = _in_lockstep(self._task.configs(self._drawn), self._task.fingerprints)
        walked = next(self._walking)
        for one in walked:
            want(self._store, self._task.plan.name, one.record.fingerprint)
        self._trained += sum(one.trained for one in walked)
        self._records.append([one.record for one in walked])
        if broken := next(filter(None, (_broken(one.record) for one in walked)), ""):
            return broken
        runs = zip(*self._records, strict=True)
        self._values = self._task.objective([[Dev.of(record) for record in run] for run in runs])
        return ""

    def cleanup(self) -> None:
        if self._walking is not None:
            self._walking.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the steps lie in the store."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: the steps lie in the store."""


def _broken(record: StepRecord) -> str:
    """Which loss of a step is no number, if one is."""
    for epoch in record.epochs:
        for term, value in epoch.losses.items():
            if not math.isfinite(value):
                return f"the loss {term} is {value} in epoch {epoch.epoch + 1} of step {record.index + 1}"
    return ""


def _in_lockstep(configs: Sequence[RunConfig], fingerprints: Sequence[str]) -> Generator[tuple[StepResult, ...]]:
    """The runs, step by step."""
    compute = configs[0].compute
    if compute.workers > 1:
        yield from _in_worker_group(configs, fingerprints)
        return
    torch.set_num_threads(compute.cpus_per_worker)
    yield from zip(*(run_steps(config, fingerprints, ignore_events) for config in configs), strict=True)


def _in_worker_group(configs: Sequence[RunConfig], fingerprints: Sequence[str]) -> Generator[tuple[StepResult, ...]]:
    """The same, from workers of a gang that this process drives: they wait until a step is asked for."""
    said: queue.Queue[StepResult | Exception | None] = queue.Queue()
    barrier = ray.remote(**on_driver_node())(StepBarrier).remote()

    def emit(event: Event) -> None:
        match event:
            case StepFinished(record):
                said.put(StepResult(record, trained=True))
            case StepReused(record):
                said.put(StepResult(record, trained=False))

    def drive() -> None:
        try:
            run_worker_group(configs, fingerprints, emit, barrier)
            said.put(None)
        except Exception as error:
            said.put(error)

    driving = threading.Thread(target=drive, daemon=True)
    driving.start()
    try:
        for step in itertools.count(1):
            barrier.open.remote(step)
            abreast: dict[str, StepResult] = {}  # a gang that begins anew tells all again
            while len(abreast) < len(configs):
                heard = said.get()
                if heard is None:
                    return
                if isinstance(heard, Exception):
                    raise heard
                if heard.record.index + 1 == step:
                    abreast.setdefault(heard.record.fingerprint, heard)
            yield tuple(abreast.values())
    finally:
        barrier.close.remote()
        driving.join()  # or the workers would keep their places, for which the next trial waits
