"""Optuna proposes settings, learns their scores, and prunes, all in a persistent journal.

The journal is in the store, or in any database that Optuna opens. Nothing else is read of an earlier session: a search
that was killed starts again over the same journal, in process or on Ray, and first repeats the trials that ran.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from raycner.addresses import refuse_secret
from raycner.errors import InputError
from raycner.events import EventHandler, TrialCrashed, TrialFinished, TrialReported, TrialStarted
from raycner.storage.growing_file import GrowingFile
from raycner.storage.searches import TrialRecord
from raycner.storage.store import ObjectStore
from raycner.tuning.pruning import SuccessiveHalving
from raycner.tuning.round import PREFIX, Round
from raycner.tuning.study import Settings, quiet_optuna
from raycner.tuning.trial import TrialResult

FINISHED: dict[TrialState, Literal["complete", "pruned", "failed"]] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
CRASHED = "trial_crashed"
"""The user attribute of a trial whose process died; the trial that repeats it counts instead."""
MIN_TRIALS_FOR_IMPORTANCES = 10
"""With fewer complete trials, importances mean nothing."""


class Journal:
    """The Optuna storage of a search: a file in the store, or a database given by its URL."""

    def __init__(self, store: ObjectStore, name: str, url: str | None, scratch: Path) -> None:
        file = scratch / "journal.log"
        self._copy = GrowingFile(store, f"searches/{name}/journal.log", file) if url is None else None
        self.storage = _journal(file, f"{store}/searches/{name}") if url is None else _database(url)

    def save(self) -> None:
        """Have the journal written to the store, within a few seconds."""
        if self._copy is not None:
            self._copy.save()

    def close(self) -> None:
        """Write the journal to the store as one file, which optuna-dashboard opens."""
        if self._copy is not None:
            self._copy.close()


def _journal(file: Path, location: str) -> BaseStorage:
    """The journal in a file. Raises `InputError` for lines that Optuna did not write."""
    try:
        return JournalStorage(JournalFileBackend(str(file)))
    except Exception as error:
        hint = "remove its journal, and search again: the finished steps are still in the store"
        raise InputError(f"not a journal ({type(error).__name__})", location=location, hint=hint) from None


def _database(url: str) -> BaseStorage:
    """A database that Optuna opens. Its URL is never shown."""
    refuse_secret(url, "--database")
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:
        hint = "write an SQLAlchemy URL, such as sqlite:////FOLDER/FILE, and install the driver that it needs"
        raise InputError(f"cannot be opened ({type(error).__name__})", location="--database", hint=hint) from None


class OptunaSearcher:
    """Optuna's proposals for one round of trials, and what became of them: all of it is in the journal.

    Whoever runs the trials, in this process or on Ray, asks for one, and reports its steps until `report` ends it.
    """

    def __init__(self, round_: Round, journal: Journal, emit: EventHandler) -> None:
        self._round, self._journal, self._emit = round_, journal, emit
        self._study = open_study(round_, journal)
        self._objectives = round_.plan.study.objectives
        self._started: dict[int, float] = {}
        """Number of a trial -> when it started."""
        has_begun = bool(self._study.get_trials(deepcopy=False))
        interrupted = fail_interrupted(self._study)
        for settings in interrupted if has_begun else round_.first()[: round_.plan.study.trials]:
            self._study.enqueue_trial(dict(settings))
        for settings in round_.warm_start:
            self._study.enqueue_trial(dict(settings), skip_if_exists=True)

    def ask(self) -> optuna.Trial:
        """The next trial, with its settings."""
        trial = self._study.ask()
        self._round.suggest(trial)
        self._started[trial.number] = time.monotonic()
        self._journal.save()
        self._emit(TrialStarted(number=trial.number, settings=trial.params))
        return trial

    def report(self, trial: optuna.Trial, result: TrialResult) -> bool:
        """Take what a trial has after a step. Whether it ends there: complete, pruned or failed."""
        if not result.failure:
            self._add_score(trial, result)
        state = self._state(trial, result)
        if state == TrialState.RUNNING:
            self._journal.save()
            return False
        self._set_facts(trial, reason=result.failure, trained=result.trained, shared=result.shared)
        values = [result.values[name] for name in self._objectives] if state == TrialState.COMPLETE else None
        self._study.tell(trial, values, state=state)
        self._finish(trial.number)
        return True

    def crash(self, trial: optuna.Trial) -> None:
        """The process of a trial died. Its settings are tried again, `compute.max_failures` times at most."""
        same = [other for other in self._study.get_trials(deepcopy=False) if other.params == trial.params]
        crashes = sum(CRASHED in other.user_attrs for other in same)
        retry = crashes < self._round.plan.job.compute.max_failures
        self._set_facts(trial, **({CRASHED: True} if retry else {"reason": "its process died repeatedly"}))
        self._study.tell(trial, state=TrialState.FAIL)
        if retry:
            self._study.enqueue_trial(trial.params)
            self._journal.save()
            self._emit(TrialCrashed(number=trial.number))
        else:
            self._finish(trial.number)

    def _add_score(self, trial: optuna.Trial, result: TrialResult) -> None:
        score = result.values[self._objectives[0]]
        trial.set_user_attr("scores", [*trial.user_attrs.get("scores", ()), score])
        if len(self._objectives) == 1:
            trial.report(score, result.step)  # Optuna takes no intermediate values of two objectives
        scores = {f"objective/{name}": value for name, value in result.values.items()} | dict(result.dev)
        self._emit(TrialReported(number=trial.number, score=score, scores=scores))

    def _state(self, trial: optuna.Trial, result: TrialResult) -> TrialState:
        if result.failure:
            return TrialState.FAIL
        if result.step == self._round.reports:
            return TrialState.COMPLETE
        return TrialState.PRUNED if self._round.prunes and trial.should_prune() else TrialState.RUNNING

    def _set_facts(self, trial: optuna.Trial, **facts: Any) -> None:
        """Write facts of a trial into the journal. Optuna accepts them only before the trial ends."""
        facts["seconds"] = time.monotonic() - self._started[trial.number]
        for name, value in facts.items():
            trial.set_user_attr(name, value)

    def _finish(self, number: int) -> None:
        self._journal.save()
        self._emit(TrialFinished(_record(self._study.get_trials(deepcopy=False)[number])))


def open_study(round_: Round, journal: Journal) -> optuna.Study:
    """The Optuna study of a round, created if there is none."""
    study = optuna.create_study(
        storage=journal.storage,
        study_name=round_.name,
        directions=["maximize"] * len(round_.plan.study.objectives),
        pruner=SuccessiveHalving(round_.rung_ends, round_.plan.study.reduction),
        load_if_exists=True,
    )
    study.sampler = round_.plan.study.new_sampler(len(study.get_trials(deepcopy=False)))
    return study


def fail_interrupted(study: optuna.Study) -> list[Settings]:
    """Fail the trials that a killed search left running, and return their settings."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in running:
        study.tell(trial.number, state=TrialState.FAIL)
    return [trial.params for trial in running]


def finished_trials(study: optuna.Study) -> tuple[TrialRecord, ...]:
    """The trials that ended by themselves. Crashed and interrupted ones have no reason, not even an empty one."""
    trials = study.get_trials(deepcopy=False, states=tuple(FINISHED))
    return tuple(_record(trial) for trial in trials if "reason" in trial.user_attrs)


def _record(trial: FrozenTrial) -> TrialRecord:
    facts: Mapping[str, Any] = trial.user_attrs
    return TrialRecord(
        number=trial.number,
        state=FINISHED[trial.state],
        settings=trial.params,
        values=tuple(trial.values or ()),
        scores=tuple(facts.get("scores", ())),
        trained=facts.get("trained", 0),
        shared=facts.get("shared", 0),
        seconds=facts.get("seconds", 0.0),
        reason=facts.get("reason", ""),
    )


def importances(study: optuna.Study) -> dict[str, float]:
    """Setting -> its share in what makes a trial good, by PED-ANOVA; {} after too few complete trials."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < MIN_TRIALS_FOR_IMPORTANCES:
        return {}
    target = None if len(study.directions) == 1 else (lambda trial: sum(trial.values))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    try:
        with quiet_optuna():
            shares = optuna.importance.get_param_importances(study, evaluator=evaluator, target=target)
    except (ValueError, RuntimeError):
        return {}
    return {key: share for key, share in shares.items() if key != PREFIX}
