"""The link between Ray Tune and Optuna: Optuna proposes settings and learns their scores, in a persistent journal.

The journal is in the store, or in any database that Optuna opens. Ray's own state of a search is never read: a search
that was killed starts again over the same journal, and first repeats the trials that were running.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search.optuna import OptunaSearch

from raycner.addresses import refuse_secret
from raycner.errors import InputError
from raycner.events import EventHandler, TrialCrashed, TrialFinished, TrialReported, TrialStarted
from raycner.storage.growing_file import GrowingFile
from raycner.storage.searches import TrialRecord
from raycner.storage.store import ObjectStore
from raycner.tuning.round import PREFIX, Round
from raycner.tuning.study import Settings, quiet_optuna

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


class OptunaSearcher(OptunaSearch):  # type: ignore[misc]
    """Optuna's proposals for one round of trials.

    In addition to Ray's class: a trial that Tune stops is pruned in Optuna, not complete with its last value; a trial
    that fails has failed, with its reason; and the journal has the facts of each trial.
    """

    def __init__(self, round_: Round, journal: Journal, emit: EventHandler) -> None:
        study = round_.plan.study
        self._objectives = objectives = list(study.objectives)
        self._round, self._journal, self._emit = round_, journal, emit
        self._study = open_study(round_, journal)
        self._started: dict[str, float] = {}
        resumed = bool(self._study.get_trials(deepcopy=False))
        interrupted = fail_interrupted(self._study)
        super().__init__(
            round_.suggest,
            metric=objectives if len(objectives) > 1 else objectives[0],
            mode=["max"] * len(objectives) if len(objectives) > 1 else "max",
            points_to_evaluate=[dict(s) for s in self._first_settings(resumed, interrupted)] or None,
            sampler=study.new_sampler(len(self._study.get_trials(deepcopy=False))),
            study_name=round_.name,
            storage=journal.storage,
        )

    def _first_settings(self, resumed: bool, interrupted: list[Settings]) -> list[Settings]:
        return interrupted if resumed else self._round.first()[: self._round.plan.study.trials]

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        settings: dict[str, Any] | None = super().suggest(trial_id)
        self._started[trial_id] = time.monotonic()
        self._journal.save()
        if settings is not None:
            self._emit(TrialStarted(number=self._ot_trials[trial_id].number, settings=settings))
        return settings

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        super().on_trial_result(trial_id, result)
        trial, score = self._ot_trials[trial_id], result[self._objectives[0]]
        trial.set_user_attr("scores", [*trial.user_attrs.get("scores", ()), score])
        self._journal.save()
        self._emit(TrialReported(number=trial.number, score=score))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        trial = self._ot_trials[trial_id]
        if error or result is None:
            self._on_crash(trial_id, trial)
            return
        if not result["failed"]:
            self.on_trial_result(trial_id, result)  # Tune passes the last result to this method only
        self._set_facts(trial_id, reason=result["failed"], trained=result["trained"], shared=result["shared"])
        complete = not result["failed"] and result["step"] == self._round.steps
        super().on_trial_complete(trial_id, result if complete else None, error=bool(result["failed"]))
        self._finish(trial.number)

    def _on_crash(self, trial_id: str, trial: optuna.Trial) -> None:
        """The process of a trial died. Its settings are tried again, `compute.max_failures` times at most."""
        same = [other for other in self._study.get_trials(deepcopy=False) if other.params == trial.params]
        crashes = sum(CRASHED in other.user_attrs for other in same)
        retry = crashes < self._round.plan.job.compute.max_failures
        self._set_facts(trial_id, **({CRASHED: True} if retry else {"reason": "its process died repeatedly"}))
        super().on_trial_complete(trial_id, None, error=True)
        if retry:
            self._study.enqueue_trial(trial.params)
            self._journal.save()
            self._emit(TrialCrashed(number=trial.number))
        else:
            self._finish(trial.number)

    def _set_facts(self, trial_id: str, **facts: Any) -> None:
        """Write facts of a trial into the journal. Optuna accepts them only before the trial ends."""
        facts["seconds"] = time.monotonic() - self._started[trial_id]
        for name, value in facts.items():
            self._ot_trials[trial_id].set_user_attr(name, value)

    def _finish(self, number: int) -> None:
        self._journal.save()
        self._emit(TrialFinished(_record(self._study.get_trials(deepcopy=False)[number])))

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher, and that pickle is never read."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the persistent state."""


def open_study(round_: Round, journal: Journal) -> optuna.Study:
    """The Optuna study of a round, created if there is none."""
    return optuna.create_study(
        storage=journal.storage,
        study_name=round_.name,
        directions=["maximize"] * len(round_.plan.study.objectives),
        load_if_exists=True,
    )


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
