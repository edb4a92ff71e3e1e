"""search(plan, baseline): Ray Tune runs the trials, Optuna proposes them, and no step is trained twice.

Trial 0, the baseline, is run before the others: the store then has the steps that all trials share, and every score is
a difference to the baseline.
"""

import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from raycner.config import ComputeConfig
from raycner.errors import InputError
from raycner.events import EventHandler, Message, RoundStarted, ignore_events
from raycner.hashing import canonical
from raycner.orchestration.cluster import cluster
from raycner.orchestration.parallel_runs import run_tasks
from raycner.orchestration.run_steps import prepare
from raycner.orchestration.runner import run
from raycner.storage.ledger import RunLedger
from raycner.storage.locks import acquire
from raycner.storage.scratch import scratch_folder
from raycner.storage.searches import RoundRecord, SearchRecord, TrialRecord, WinnerRecord
from raycner.storage.store import ObjectStore
from raycner.training import plan as steps
from raycner.training.checkpoint import StepCheckpoint
from raycner.tuning.objective import DevScores, Objective
from raycner.tuning.optuna_searcher import Journal, OptunaSearcher, finished_trials, importances, open_study
from raycner.tuning.round import Round
from raycner.tuning.study import PROBES, SearchPlan, Settings, Study, quiet_optuna, random_draws
from raycner.tuning.trial import Trial

WORKER_GROUP_CPUS = 0.1
"""CPUs of the process that starts a trial's worker group: it only waits."""


@dataclass(frozen=True)
class Forecast:
    """How many steps a search trains if nothing is pruned."""

    alone: int
    """If every trial trained all of its steps."""
    shared: int
    """If no step is trained twice."""
    missing: int
    """Of the shared ones, those that the store does not have."""
    finals: int
    """At most so many more for the finalists' other seeds."""

    def __str__(self) -> str:
        return (
            f"{self.alone} steps; {self.shared} if none is trained twice, {self.missing} not in the store; "
            "pruning will stop some of them" + (f"; up to {self.finals} more for the finalists" if self.finals else "")
        )


def forecast(plan: SearchPlan, emit: EventHandler) -> Forecast:
    """Count the steps of as many random trials as the study has. Of a step-wise search, only one round is counted, as
    if it set all steps."""
    study = plan.study
    store, scenario = prepare(plan.job, emit)
    random_settings = (trial.params for trial in random_draws(study.space, study.trials))
    trials = [*study.first, *random_settings][: study.trials]
    fingerprints: set[str] = set()
    for settings in trials:
        config = plan.config(settings)
        for seed in range(config.seed, config.seed + study.seeds):
            fingerprints |= {spec.fingerprint for spec in steps.plan(replace(config, seed=seed), scenario)}
    missing = sum(StepCheckpoint.find(store, fingerprint) is None for fingerprint in fingerprints)
    more_seeds = max(study.final_seeds - study.seeds, 0) if study.finalists > 1 else 0
    return Forecast(
        alone=study.trials * study.seeds * len(scenario),
        shared=len(fingerprints),
        missing=missing,
        finals=(study.finalists + 1) * more_seeds * len(scenario),
    )


def baseline(plan: SearchPlan, emit: EventHandler) -> tuple[RunLedger, ...]:
    """Run trial 0, once per seed."""
    configs = plan.configs_of(plan.study.first[0] if plan.study.first else {}, plan.study.seeds)
    return tuple(run(config, emit) for config in configs)


def search(
    plan: SearchPlan, baseline: Sequence[RunLedger], emit: EventHandler, database: str | None = None
) -> SearchRecord:
    """Run the trials that the study still lacks. The record has all of them, and the runs of the winner.

    `baseline` are the runs of trial 0. `database` is the URL of a database that keeps the journal instead of the store.
    """

    def waiting(holder: str) -> None:
        emit(Message(f"waiting for search {plan.name}, which {holder} is running"))

    store = ObjectStore(plan.job.store)
    with (
        acquire(store, f"searches/{plan.name}", waiting),
        scratch_folder() as scratch,
        quiet_optuna(),
        closing(Journal(store, plan.name, database, scratch)) as journal,
    ):
        return Search(plan, baseline, journal, emit).run()


class Search:
    """A search in progress. `record` grows with every round."""

    def __init__(self, plan: SearchPlan, baseline: Sequence[RunLedger], journal: Journal, emit: EventHandler) -> None:
        self.plan, self.study, self.compute = plan, plan.study, plan.job.compute
        self.journal, self.emit = journal, emit
        self.store, self.scenario = prepare(plan.job, emit)
        self.baseline = tuple(ledger.run for ledger in baseline)
        self.objective = Objective(self.study.metric, self.study.caution, _scores(baseline))
        self.record = SearchRecord(
            name=plan.name,
            space=plan.path,
            job=plan.configs,
            metric=self.study.metric,
            objectives=self.study.objectives,
            seeds=self.study.seeds,
            strategy=self.study.strategy,
            steps=len(self.scenario),
        )

    def run(self) -> SearchRecord:
        cpus = max(os.cpu_count() or 1, self.compute.workers * self.compute.cpus_per_worker + 1)
        with cluster(cpus, self.emit):
            best = self._step_by_step() if self.study.strategy == "per_step" else self._whole_runs()
            if best:
                self.record = replace(self.record, winner=self._winner(best[: self.study.finalists]))
        self.record.write(self.store)
        return self.record

    def _winner(self, finalists: Sequence[Settings]) -> WinnerRecord:
        """The best finalist; several are compared with more seeds than their trials had."""
        seeds = self.study.seeds if len(finalists) == 1 else max(self.study.seeds, self.study.final_seeds)
        published = self.study.first[0] if self.study.first else {}
        baseline, *runs = self._run_seeds([published, *finalists], seeds)
        objective = Objective(self.study.metric, self.study.caution, _scores(baseline))
        gains = [sum(objective(_scores(ledgers)).values()) for ledgers in runs]
        best = max(range(len(finalists)), key=gains.__getitem__)
        if len(finalists) > 1:
            self._announce(finalists, gains, seeds)
        return WinnerRecord(
            settings=finalists[best],
            command=self.plan.command(finalists[best]),
            runs=tuple(ledger.run for ledger in runs[best]),
            baseline=tuple(ledger.run for ledger in baseline),
        )

    def _announce(self, finalists: Sequence[Settings], gains: Sequence[float], seeds: int) -> None:
        for place, (settings, gain) in enumerate(zip(finalists, gains, strict=True), start=1):
            line = f"finalist {place}: {100 * gain:+.1f} over trial 0, {seeds} seeds  {self.plan.command(settings)}"
            self.emit(Message(line))

    def _run_seeds(self, candidates: Sequence[Settings], seeds: int) -> list[tuple[RunLedger, ...]]:
        """The runs of each candidate, one per seed: as many at once as trials, unless the store has their steps."""
        configs = [config for settings in candidates for config in self.plan.configs_of(settings, seeds)]
        if self.compute.workers > 1 or seeds == self.study.seeds:
            ledgers = [run(config, ignore_events) for config in configs]
        else:
            tasks = {f"run {number}": config for number, config in enumerate(configs)}
            ledgers = list(run_tasks(tasks, concurrency(self.compute, ray.cluster_resources()), ignore_events))
        return [tuple(ledgers[first : first + seeds]) for first in range(0, len(ledgers), seeds)]

    def _whole_runs(self) -> list[Settings]:
        return self._run_round(self._round(self.plan.name, step=None, prefixes=[{}]))

    def _step_by_step(self) -> list[Settings]:
        """One step after another: try settings for it after each of the best runs so far."""
        best, prefixes = list[Settings](), list[Settings]([{}])
        for step in range(self._first_searched_step(), len(self.scenario) + 1):
            best = self._run_round(self._round(f"{self.plan.name}-step-{step}", step=step, prefixes=prefixes))
            prefixes = best[: self.study.beam]
            if not prefixes:
                break
        return best

    def _first_searched_step(self) -> int:
        """The first step, from 1, that the space can change."""
        draws = random_draws(self.study.space, PROBES)
        chains = [steps.plan(self.plan.config(draw.params), self.scenario) for draw in draws]
        for step, specs in enumerate(zip(*chains, strict=True), start=1):
            if len({spec.fingerprint for spec in specs}) > 1:
                return step
        return 1

    def _round(self, name: str, *, step: int | None, prefixes: Sequence[Settings]) -> Round:
        return Round(
            name=name,
            plan=self.plan,
            step=step,
            steps=step or len(self.scenario),
            prefixes=prefixes,
            corpora=list(self.scenario.fingerprints),
            objective=self.objective,
        )

    def _run_round(self, round_: Round) -> list[Settings]:
        """Run the trials that a round still lacks. The settings of the complete ones, best first, none twice."""
        optuna_study = open_study(round_, self.journal)
        finished = finished_trials(optuna_study)
        self.emit(RoundStarted(name=round_.name, trials=self.study.trials, steps=round_.steps, finished=finished))
        while (missing := self.study.trials - len(finished)) > 0:
            self._tune(round_, missing)
            finished = finished_trials(optuna_study)
        shares = importances(optuna_study)
        record = RoundRecord(name=round_.name, steps=round_.steps, trials=finished, importances=shares)
        self.record = replace(self.record, rounds=(*self.record.rounds, record))
        self.record.write(self.store)
        settings = [round_.settings(trial.settings) for trial in _best_first(finished)]
        return list({canonical(one): one for one in settings}.values())

    def _tune(self, round_: Round, trials: int) -> None:
        attempt = uuid.uuid4().hex[:12]  # a new name each time: Ray's own state is never resumed
        tune.Tuner(
            tune.with_resources(tune.with_parameters(Trial, round_=round_), _resources(self.compute)),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearcher(round_, self.journal, self.emit),
                scheduler=_scheduler(self.study, round_.steps),
                num_samples=trials,
                max_concurrent_trials=concurrency(self.compute, ray.cluster_resources()),
                reuse_actors=self.compute.workers <= 1,
            ),
            run_config=tune.RunConfig(
                name=attempt,
                storage_path=f"{self.store.uri}/ray",
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()
        self.store.remove(f"ray/{attempt}")


def _best_first(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    complete = (trial for trial in trials if trial.state == "complete")
    return sorted(complete, key=lambda trial: sum(trial.values), reverse=True)


def _scheduler(study: Study, steps: int) -> TrialScheduler:
    if study.pruning == "none" or study.metric == "old_new" or study.strategy == "per_step" or steps <= study.grace:
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="step",
        metric="score",
        mode="max",
        max_t=steps,
        grace_period=study.grace,
        reduction_factor=study.reduction,
    )


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


def _scores(ledgers: Sequence[RunLedger]) -> list[list[DevScores]]:
    """What the runs of one set of settings scored on dev, one run per seed."""
    return [[DevScores.of(record) for record in ledger.records()] for ledger in ledgers]
