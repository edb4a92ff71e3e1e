"""The trials of a search on Ray: Ray Tune starts them where there is room, and brings their results to Optuna.

Tune has no state of its own here: it decides nothing, and what it writes is never read.
"""

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
import ray
import torch
from ray import tune
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from raycner.config import ComputeConfig, RunConfig
from raycner.errors import InputError
from raycner.events import EventHandler, ignore_events
from raycner.orchestration.cluster import cluster, use_assigned_device
from raycner.orchestration.parallel_runs import run_tasks
from raycner.orchestration.runner import run
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore
from raycner.tuning.optuna_searcher import OptunaSearcher
from raycner.tuning.round import Round
from raycner.tuning.trial import Trial, nothing

WORKER_GROUP_CPUS = 0.1
"""CPUs of the process that starts a trial's worker group: it only waits."""


class OnRay:
    """Runs as many trials at once as the cluster has room for. The process is connected to the cluster."""

    def __init__(self, compute: ComputeConfig, store: ObjectStore) -> None:
        self._compute, self._store = compute, store

    @classmethod
    @contextmanager
    def connected(cls, compute: ComputeConfig, store: ObjectStore, emit: EventHandler) -> "Iterator[OnRay]":
        """Connected to the cluster at RAY_ADDRESS, or to a temporary one on this machine."""
        cpus = max(os.cpu_count() or 1, compute.workers * compute.cpus_per_worker + 1)
        with cluster(cpus, emit):
            yield cls(compute, store)

    @property
    def parallel(self) -> int:
        """How many trials run at once."""
        return concurrency(self._compute, ray.cluster_resources())

    def run_trials(self, round_: Round, searcher: OptunaSearcher, number: int) -> None:
        attempt = uuid.uuid4().hex[:12]  # a new name each time: Ray's own state is never resumed
        proposals = TuneSearcher(searcher)
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(TrialProcess, round_=round_), _resources(self._compute)),
            tune_config=tune.TuneConfig(
                search_alg=proposals,
                scheduler=ReportingScheduler(proposals),
                num_samples=number,
                max_concurrent_trials=self.parallel,
                reuse_actors=self._compute.workers <= 1,
            ),
            run_config=tune.RunConfig(
                name=attempt,
                storage_path=f"{self._store.uri}/ray",
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                verbose=0,
            ),
        )
        with _credentials_withheld():
            tuner.fit()
        self._store.remove(f"ray/{attempt}")

    def run_all(self, configs: Sequence[RunConfig]) -> list[RunLedger]:
        """The ledgers of complete runs; as many go at once as trials."""
        if self._compute.workers > 1:
            return [run(config, ignore_events) for config in configs]
        tasks = {f"run {number}": config for number, config in enumerate(configs)}
        return list(run_tasks(tasks, self.parallel, ignore_events))


@contextmanager
def _credentials_withheld() -> Iterator[None]:
    """Tune hands its trials none of the credentials in the environment of this process.

    Ray logs the variables that Tune hands on, with their values. A trial uses the credentials of its node, like every
    other process of the cluster.
    """
    handed_on = class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.ENV_VARS_TO_PROPAGATE = {name for name in handed_on if not name.startswith("AWS_")}
    try:
        yield
    finally:
        class_cache.ENV_VARS_TO_PROPAGATE = handed_on


class TrialProcess(tune.Trainable):  # type: ignore[misc]
    """A process of trials, one after another. A Tune iteration is one step of a trial."""

    def setup(self, config: dict[str, Any], *, round_: Round) -> None:
        self._round = round_
        self._trial = self._new_trial(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another trial, with these suggested settings."""
        self._trial.close()
        self._trial = self._new_trial(new_config)
        return True

    def _new_trial(self, suggested: dict[str, Any]) -> Trial:
        has_workers = self._round.plan.job.compute.workers > 1
        return Trial(self._round, dict(suggested), begin=nothing if has_workers else self._use_resources)

    def _use_resources(self) -> None:
        """Compute on what Ray assigned to this process."""
        use_assigned_device()
        torch.set_num_threads(self._round.plan.job.compute.cpus_per_worker)

    def step(self) -> dict[str, Any]:
        return {"result": self._trial.advance()}

    def cleanup(self) -> None:
        self._trial.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the steps are in the store."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: the steps are in the store."""


class _Unpickled:
    """Tune pickles its parts, and that pickle is never read: it holds nothing."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class TuneSearcher(_Unpickled, Searcher):  # type: ignore[misc]
    """Gives Tune the settings that Optuna proposes."""

    def __init__(self, searcher: OptunaSearcher) -> None:
        super().__init__()
        self._searcher = searcher
        self._running: dict[str, optuna.Trial] = {}
        """Tune's name of a trial -> the trial."""

    def set_search_properties(self, metric: str | None, mode: str | None, config: Any, **spec: Any) -> bool:  # noqa: ARG002
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self._running[trial_id] = trial = self._searcher.ask()
        return dict(trial.params)

    def report(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial ends with this result."""
        ends = self._searcher.report(self._running[trial_id], result["result"])
        if ends:
            del self._running[trial_id]
        return ends

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:  # noqa: ARG002
        if trial_id in self._running:  # its process died before Optuna ended it
            self._searcher.crash(self._running.pop(trial_id))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the persistent state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


class ReportingScheduler(_Unpickled, FIFOScheduler):  # type: ignore[misc]
    """Ends the trials that Optuna ends."""

    def __init__(self, searcher: TuneSearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002
        ends = self._searcher.report(trial.trial_id, result)
        decision: str = TrialScheduler.STOP if ends else TrialScheduler.CONTINUE
        return decision


def concurrency(compute: ComputeConfig, cluster_resources: Mapping[str, float]) -> int:
    """How many trials run at once: as many as the cluster has resources for, or `max_concurrent_trials` if fewer.

    On the cluster at RAY_ADDRESS, `max_concurrent_trials` is taken as it is: nodes start for trials that wait. Raises
    `InputError` if not even one fits, because it would wait for ever.
    """
    if compute.max_concurrent_trials and os.environ.get("RAY_ADDRESS"):
        return compute.max_concurrent_trials
    needed = _needed(compute)
    fitting = min(int(cluster_resources.get(kind, 0.0) / amount) for kind, amount in needed.items() if amount)
    if fitting:
        return min(fitting, compute.max_concurrent_trials or fitting)
    has = " and ".join(f"{cluster_resources.get(kind, 0.0):g} {kind}" for kind in needed)
    needs = " and ".join(f"{amount:g} {kind}" for kind, amount in needed.items() if amount)
    hint = "lower compute.workers, cpus_per_worker or gpus_per_worker; or, if the cluster scales up on demand, "
    hint += "set compute.max_concurrent_trials"
    raise InputError(f"a trial needs {needs}, and the cluster has {has}", location="compute", hint=hint)


def _needed(compute: ComputeConfig) -> dict[str, float]:
    """The resources of a trial and its workers."""
    workers = max(compute.workers, 1)
    driver = WORKER_GROUP_CPUS if compute.workers > 1 else 0.0
    return {"CPU": workers * compute.cpus_per_worker + driver, "GPU": workers * compute.gpus_per_worker}


def _resources(compute: ComputeConfig) -> Any:
    """The resources of a trial's own process; a worker group requests its own."""
    if compute.workers > 1:
        return tune.PlacementGroupFactory([{"CPU": WORKER_GROUP_CPUS}])
    return {"cpu": compute.cpus_per_worker, "gpu": compute.gpus_per_worker}
