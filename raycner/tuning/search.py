"""search(plan, baseline): Optuna proposes trials, this process or Ray runs them, and no step is trained twice.

Trial 0, the baseline, is run before the others: the store then has the steps that all trials share, and every score is
a difference to the baseline.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from raycner.callbacks.tracking import tracked_trials, tracker
from raycner.config import ComputeConfig, RunConfig
from raycner.data.scenarios.scenario import Scenario
from raycner.events import EventHandler, Message, RoundStarted
from raycner.hashing import canonical
from raycner.orchestration.run_steps import prepare
from raycner.orchestration.runner import run
from raycner.storage.ledger import RunLedger
from raycner.storage.locks import acquire
from raycner.storage.scratch import scratch_folder
from raycner.storage.searches import RoundRecord, SearchRecord, TrialRecord, WinnerRecord
from raycner.storage.store import ObjectStore
from raycner.training import plan as steps
from raycner.training.checkpoint import StepCheckpoint
from raycner.tuning.in_process import InProcess, fits_in_process
from raycner.tuning.objective import DevScores, Objective
from raycner.tuning.optuna_searcher import Journal, OptunaSearcher, finished_trials, importances, open_study
from raycner.tuning.round import Round, Rung
from raycner.tuning.study import PROBES, SearchPlan, Settings, quiet_optuna, random_draws
from raycner.tuning.warm_start import best_settings, fitting


class Executor(Protocol):
    """Where trials run: in this process, or on Ray."""

    @property
    def parallel(self) -> int:
        """How many trials run at once."""

    def run_trials(self, round_: Round, searcher: OptunaSearcher, number: int) -> None:
        """Run so many trials to their end."""

    def run_all(self, configs: Sequence[RunConfig]) -> list[RunLedger]:
        """The ledgers of complete runs."""


@contextmanager
def executor(compute: ComputeConfig, store: ObjectStore, emit: EventHandler) -> "Iterator[Executor]":
    """This process for trials that run one at a time without workers; otherwise a Ray cluster."""
    if fits_in_process(compute):
        emit(Message("trials run one at a time in this process; --parallel N runs N at once on Ray"))
        yield InProcess()
        return
    from raycner.tuning.on_ray import OnRay

    with OnRay.connected(compute, store, emit) as on_ray:
        yield on_ray


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
    for share in study.rungs:
        on_share = Scenario.open(
            replace(plan.job.scenario, train_share=share * plan.job.scenario.train_share), store, scenario.fingerprints
        )
        for settings in trials:
            for config in plan.configs_of(settings, study.seeds, share):
                fingerprints |= {spec.fingerprint for spec in steps.plan(config, on_share)}
    missing = sum(StepCheckpoint.find(store, fingerprint) is None for fingerprint in fingerprints)
    more_seeds = max(study.final_seeds - study.seeds, 0) if study.finalists > 1 else 0
    return Forecast(
        alone=study.trials * study.seeds * len(study.rungs) * len(scenario),
        shared=len(fingerprints),
        missing=missing,
        finals=(study.finalists + 1) * more_seeds * len(scenario),
    )


Baseline = Sequence[tuple[RunLedger, ...]]
"""The runs of trial 0 at each rung, one per seed."""


def baseline(plan: SearchPlan, emit: EventHandler) -> Baseline:
    """Run trial 0 at each rung, once per seed."""
    settings, seeds = plan.study.published, plan.study.seeds
    return [
        tuple(run(config, emit) for config in plan.configs_of(settings, seeds, share)) for share in plan.study.rungs
    ]


def search(
    plan: SearchPlan,
    baseline: Baseline,
    emit: EventHandler,
    *,
    database: str | None = None,
    parallel: int | None = None,
    earlier: SearchRecord | None = None,
) -> SearchRecord:
    """Run the trials that the study still lacks. The record has all of them, and the runs of the winner.

    `baseline` are the runs of trial 0. `database` is the URL of a database that keeps the journal instead of the store.
    `parallel` replaces `compute.max_concurrent_trials`. The best settings of the `earlier` search are tried first.
    """

    def waiting(holder: str) -> None:
        emit(Message(f"waiting for search {plan.name}, which {holder} is running"))

    store, compute = ObjectStore(plan.job.store), plan.job.compute
    if parallel is not None:
        compute = replace(compute, max_concurrent_trials=parallel)
    with (
        acquire(store, f"searches/{plan.name}", waiting),
        scratch_folder() as scratch,
        quiet_optuna(),
        closing(Journal(store, plan.name, database, scratch)) as journal,
        tracked_trials(tracker(compute.tracker, compute.tracker_path), emit) as handler,
        executor(compute, store, emit) as where,
    ):
        return Search(plan, baseline, journal, where, handler, earlier).run()


class Search:
    """A search in progress. `record` grows with every round."""

    def __init__(
        self,
        plan: SearchPlan,
        baseline: Baseline,
        journal: Journal,
        where: Executor,
        emit: EventHandler,
        earlier: SearchRecord | None = None,
    ) -> None:
        self.plan, self.study = plan, plan.study
        self.journal, self.where, self.emit, self.earlier = journal, where, emit, earlier
        self.store, self.scenario = prepare(plan.job, emit)
        self.rungs = [
            Rung(share, Objective(self.study.metric, self.study.caution, _scores(ledgers)))
            for share, ledgers in zip(self.study.rungs, baseline, strict=True)
        ]
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
        if warning := self.study.too_many_at_once(self.where.parallel):
            self.emit(Message(warning))
        best = self._step_by_step() if self.study.strategy == "per_step" else self._whole_runs()
        if best:
            self.record = replace(self.record, winner=self._winner(best[: self.study.finalists]))
        self.record.write(self.store)
        return self.record

    def _winner(self, finalists: Sequence[Settings]) -> WinnerRecord:
        """The best finalist; several are compared with more seeds than their trials had."""
        seeds = self.study.seeds if len(finalists) == 1 else max(self.study.seeds, self.study.final_seeds)
        baseline, *runs = self._run_seeds([self.study.published, *finalists], seeds)
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
        """The runs of each candidate, one per seed."""
        configs = [config for settings in candidates for config in self.plan.configs_of(settings, seeds)]
        where = InProcess() if seeds == self.study.seeds else self.where  # the store has the steps of trials
        ledgers = where.run_all(configs)
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
            rungs=self.rungs,
            warm_start=self._warm_start(step),
        )

    def _warm_start(self, step: int | None) -> list[Settings]:
        """The best settings of the earlier search that this space has, too. What does not fit is reported."""
        if self.earlier is None:
            return []
        settings, left_out = fitting(self.study.space, best_settings(self.earlier, step))
        self.emit(Message(f"warm start from {self.earlier.name}: tries {len(settings)} of its best settings first"))
        for line in left_out:
            self.emit(Message(f"warm start: left out, {line}"))
        return settings

    def _run_round(self, round_: Round) -> list[Settings]:
        """Run the trials that a round still lacks. The settings of the complete ones, best first, none twice."""
        optuna_study = open_study(round_, self.journal)
        finished = finished_trials(optuna_study)
        self.emit(RoundStarted(name=round_.name, trials=self.study.trials, steps=round_.reports, finished=finished))
        while (missing := self.study.trials - len(finished)) > 0:
            self.where.run_trials(round_, OptunaSearcher(round_, self.journal, self.emit), missing)
            finished = finished_trials(optuna_study)
        shares = importances(optuna_study)
        record = RoundRecord(name=round_.name, steps=round_.steps, trials=finished, importances=shares)
        self.record = replace(self.record, rounds=(*self.record.rounds, record))
        self.record.write(self.store)
        ranked = best_first(finished, self.study.published)
        settings = [round_.settings(trial.settings) for trial in ranked]
        return list({canonical(one): one for one in settings}.values())


def best_first(trials: Sequence[TrialRecord], published: Settings) -> list[TrialRecord]:
    """The complete trials. Of equal ones the published settings come first, the others by their text.

    The numbers of trials cannot decide: one that was interrupted has another number when it is repeated.
    """

    def rank(trial: TrialRecord) -> tuple[float, bool, str]:
        is_published = published.items() <= trial.settings.items()
        return -sum(trial.values), not is_published, canonical(trial.settings)

    return sorted((trial for trial in trials if trial.state == "complete"), key=rank)


def _scores(ledgers: Sequence[RunLedger]) -> list[list[DevScores]]:
    """What the runs of one set of settings scored on dev, one run per seed."""
    return [[DevScores.of(record) for record in ledger.records()] for ledger in ledgers]
