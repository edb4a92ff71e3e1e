"""search(plan): Ray Tune runs trials, Optuna proposes them, and no step is trained twice.

Trial 0 is run before the others: the steps that all share are then in the store, and every score is a difference to it.
"""

import os
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from raycner.config import ComputeConfig
from raycner.errors import InputError
from raycner.events import EventHandler, Message, RoundStarted, ignore_events
from raycner.hashing import canonical
from raycner.orchestration.cluster import cluster
from raycner.orchestration.run_steps import prepare
from raycner.orchestration.runner import run
from raycner.storage.ledger import RunLedger
from raycner.storage.locks import acquire
from raycner.storage.searches import RoundRecord, SearchRecord, WinnerRecord
from raycner.storage.store import ObjectStore
from raycner.training.checkpoint import StepCheckpoint
from raycner.training.plan import plan as steps_of
from raycner.tuning.objective import Dev, Objective
from raycner.tuning.optuna_searcher import Journal, OptunaSearcher, importances, open_study, trials
from raycner.tuning.study import PROBES, Plan, Settings, draws, quiet
from raycner.tuning.trial import Task, Trial


@dataclass(frozen=True)
class Forecast:
    """How many steps a search will train, if nothing is pruned."""

    alone: int
    """If every trial trained all of its steps."""
    shared: int
    """If none is trained twice."""
    missing: int
    """Of these, how many the store does not have."""

    def __str__(self) -> str:
        pruning = "pruning will stop some of them"
        return f"{self.alone} steps; {self.shared} if none is trained twice, {self.missing} not in the store; {pruning}"


def forecast(plan: Plan, emit: EventHandler) -> Forecast:
    """Draw the budget at random, and count steps. Of step-wise search, this counts one round as if for all steps."""
    study = plan.study
    store, scenario = prepare(plan.job, emit)
    drawn = [*study.first, *(trial.params for trial in draws(study.space, study.trials))][: study.trials]
    names: set[str] = set()
    for settings in drawn:
        config = plan.config(settings)
        for seed in range(config.seed, config.seed + study.seeds):
            names |= {spec.fingerprint for spec in steps_of(replace(config, seed=seed), scenario)}
    missing = sum(StepCheckpoint.find(store, name) is None for name in names)
    return Forecast(study.trials * study.seeds * len(scenario), len(names), missing)


def baseline(plan: Plan, emit: EventHandler) -> tuple[RunLedger, ...]:
    """Run trial 0, once a seed."""
    return _runs(plan, plan.study.first[0] if plan.study.first else {}, emit)


def search(
    plan: Plan, where: str, against: Sequence[RunLedger], emit: EventHandler, database: str | None = None
) -> SearchRecord:
    """Run the trials that the study still lacks, and leave a record of all of them, the winner's runs among them.

    `where` is the study's file, `against` the runs of trial 0, `database` the URL of a database to keep the journal in
    instead of the store.
    """

    def waiting(holder: str) -> None:
        emit(Message(f"waiting for search {plan.name}, which {holder} is running"))

    with (
        acquire(ObjectStore(plan.job.store), f"searches/{plan.name}", waiting),
        tempfile.TemporaryDirectory(prefix="raycner-search-") as scratch,
        quiet(),
    ):
        return Search(plan, where, against, emit, database, Path(scratch)).run()


class Search:
    """A search under way; its fields are what its rounds hand on to each other."""

    def __init__(
        self,
        plan: Plan,
        where: str,
        against: Sequence[RunLedger],
        emit: EventHandler,
        database: str | None,
        scratch: Path,
    ) -> None:
        self.plan, self.study, self.emit, self.against = plan, plan.study, emit, against
        self.compute = plan.job.compute
        self.store, self.scenario = prepare(plan.job, emit)
        self.journal = Journal(self.store, plan.name, database, scratch)
        series = [[Dev.of(record) for record in ledger.records()] for ledger in against]
        self.objective = Objective(self.study.metric, self.study.caution, series)
        self.record = SearchRecord(
            name=plan.name,
            space=where,
            job=plan.layers,
            metric=self.study.metric,
            objectives=self.study.objectives,
            seeds=self.study.seeds,
            strategy=self.study.strategy,
            steps=len(self.scenario),
        )

    def run(self) -> SearchRecord:
        cpus = max(os.cpu_count() or 1, self.compute.workers * self.compute.cpus_per_worker + 1)
        with cluster(cpus):
            best = self._step_by_step() if self.study.strategy == "per_step" else self._whole_runs()
        if best is not None:
            runs = _runs(self.plan, best, ignore_events)
            self.record = replace(
                self.record,
                winner=WinnerRecord(
                    settings=best,
                    command=self.plan.command(best),
                    runs=tuple(ledger.run for ledger in runs),
                    baseline=tuple(ledger.run for ledger in self.against),
                ),
            )
        self.record.write(self.store)
        return self.record

    def _whole_runs(self) -> Settings | None:
        task = self._task([{}], at=0, steps=len(self.scenario))
        best = self._round(self.plan.name, task)
        return best[0] if best else None

    def _step_by_step(self) -> Settings | None:
        """For one step after another, try settings for it from each of the best runs so far."""
        prefixes: list[Settings] = [{}]
        for number in range(self._first_open(), len(self.scenario) + 1):
            task = self._task(prefixes, at=number, steps=number)
            prefixes = self._round(f"{self.plan.name}-step-{number}", task)[: self.study.beam]
            if not prefixes:
                return None
        return prefixes[0]

    def _first_open(self) -> int:
        """The first step, from 1, that the space can change."""
        chains = [steps_of(self.plan.config(t.params), self.scenario) for t in draws(self.study.space, PROBES)]
        steps = enumerate(zip(*chains, strict=True), start=1)
        return next((number for number, specs in steps if len({spec.fingerprint for spec in specs}) > 1), 1)

    def _task(self, prefixes: Sequence[Settings], at: int, steps: int) -> Task:
        fingerprints = [corpus.fingerprint for corpus in self.scenario.corpora]
        return Task(self.plan, prefixes, at, steps, fingerprints, self.objective)

    def _round(self, name: str, task: Task) -> list[Settings]:
        """Run the trials that a round still lacks. What the finished ones tried, the best first, none twice."""
        study = self.study
        known = open_study(study, self.journal, name)
        done = trials(known)
        self.emit(RoundStarted(name=name, trials=study.trials, steps=task.steps, finished=done))
        while (missing := study.trials - len(done)) > 0:
            self._tune(name, task, missing)
            done = trials(known)
        found = RoundRecord(name=name, steps=task.steps, trials=done, importances=importances(known))
        self.record = replace(self.record, rounds=(*self.record.rounds, found))
        self.record.write(self.store)
        finished = sorted((t for t in done if t.state == "complete"), key=lambda t: sum(t.values), reverse=True)
        return list({canonical(s): s for s in (task.settings(trial.settings) for trial in finished)}.values())

    def _tune(self, name: str, task: Task, number: int) -> None:
        choices = range(len(task.prefixes))
        branching = len(choices) > 1

        def space(trial: Any) -> None:
            if branching:
                trial.suggest_categorical("prefix", list(choices))
            self.study.space(trial)

        first = [{**s, **({"prefix": p} if branching else {})} for s in self.study.first for p in choices]
        deaths = self.compute.max_failures
        proposer = OptunaSearcher(self.study, self.journal, name, space, first[:number], task.steps, deaths, self.emit)
        attempt = uuid.uuid4().hex[:12]
        in_gangs = self.compute.workers > 1
        tune.Tuner(
            tune.with_resources(tune.with_parameters(Trial, task=task), _resources(self.compute)),
            tune_config=tune.TuneConfig(
                search_alg=proposer,
                scheduler=self._scheduler(task.steps),
                num_samples=number,
                max_concurrent_trials=concurrency(self.compute, ray.cluster_resources()),
                reuse_actors=not in_gangs,
            ),
            run_config=tune.RunConfig(
                name=attempt,
                storage_path=f"{self.store.uri}/ray",
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()
        self.store.remove(f"ray/{attempt}")

    def _scheduler(self, steps: int) -> TrialScheduler:
        study = self.study
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


def concurrency(compute: ComputeConfig, there: dict[str, float]) -> int:
    """How many trials go on at once: as many as fit into what the cluster has, or as many as were asked for.

    Raises `InputError` where not one fits: it would wait for ever.
    """
    workers = max(compute.workers, 1)
    wanted = {"CPU": workers * compute.cpus_per_worker, "GPU": workers * compute.gpus_per_worker}
    wanted["CPU"] += 0.1 if compute.workers > 1 else 0  # what drives the gang
    fitting = min(int(there.get(kind, 0.0) / amount) for kind, amount in wanted.items() if amount)
    if fitting:
        return min(fitting, compute.max_concurrent_trials or fitting)
    if compute.max_concurrent_trials and os.environ.get("RAY_ADDRESS"):
        return compute.max_concurrent_trials
    has = " and ".join(f"{there.get(kind, 0.0):g} {kind}" for kind in wanted)
    needs = " and ".join(f"{amount:g} {kind}" for kind, amount in wanted.items() if amount)
    hint = "lower compute.workers, cpus_per_worker or gpus_per_worker; or, where the cluster grows on demand, "
    hint += "set compute.max_concurrent_trials"
    raise InputError(f"a trial needs {needs}, and the cluster has {has}", location="compute", hint=hint)


def _resources(compute: ComputeConfig) -> Any:
    if compute.workers > 1:
        return tune.PlacementGroupFactory([{"CPU": 0.1}])
    return {"cpu": compute.cpus_per_worker, "gpu": compute.gpus_per_worker}


def _runs(plan: Plan, settings: Settings, emit: EventHandler) -> tuple[RunLedger, ...]:
    """The runs of some settings, one a seed."""
    first = plan.config(settings).seed
    seeds = range(first, first + plan.study.seeds)
    return tuple(run(plan.config({**settings, "seed": seed}), emit) for seed in seeds)
