"""Where Ray Tune and Optuna meet: Optuna proposes settings and is told how they did, in a journal that lasts.

The journal lies in the store (or in any database that Optuna opens). Nothing that Ray keeps of a search is ever read:
a search that was killed is begun again over the same journal, and the trials that it left running come first.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search.optuna import OptunaSearch

from raycner.errors import InputError
from raycner.events import EventHandler, TrialCrashed, TrialFinished, TrialReported, TrialStarted
from raycner.storage.searches import TrialRecord
from raycner.storage.store import ObjectStore
from raycner.tuning.study import Settings, Study, quiet

ENDED: dict[TrialState, Literal["complete", "pruned", "failed"]] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}

DIED = "trial_crashed"
"""The mark of a trial whose process died: the same is proposed again, and counts once."""
ENOUGH = 10
"""Finished trials from which on importances say something."""


class Journal:
    """The Optuna storage of a search: a file in the store, or a database by its URL."""

    def __init__(self, store: ObjectStore, name: str, url: str | None, scratch: Path) -> None:
        self._store, self._key = store, f"searches/{name}/journal.log"
        self._file = scratch / "journal.log"
        self._url = url
        with contextlib.suppress(FileNotFoundError):
            if url is None:
                self._file.write_bytes(store.read(self._key))
        self.storage = JournalStorage(JournalFileBackend(str(self._file))) if url is None else _database(url)

    def keep(self) -> None:
        """Put what was written since into the store."""
        if self._url is None and self._file.exists():
            self._store.write(self._key, self._file.read_bytes())


def _database(url: str) -> BaseStorage:
    """A database that Optuna opens; its URL may hold a password, and is never shown."""
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:
        hint = "write a URL of SQLAlchemy's, such as sqlite:////FOLDER/FILE, and install what it needs"
        raise InputError(f"cannot be opened ({type(error).__name__})", location="--database", hint=hint) from None


class OptunaSearcher(OptunaSearch):  # type: ignore[misc]
    """Optuna's proposals for one round of trials.

    Beyond Ray's own: a trial that Tune stopped is pruned to Optuna, and not complete with whatever it had last; one
    that failed has failed, with its reason; and what each did stands in the journal.
    """

    def __init__(
        self,
        study: Study,
        journal: Journal,
        name: str,
        space: Callable[[Any], object],
        first: Sequence[Settings],
        steps: int,
        deaths: int,
        emit: EventHandler,
    ) -> None:
        self._names = names = list(study.objectives)
        self._known = open_study(study, journal, name)
        self._journal, self._steps, self._deaths, self._emit = journal, steps, deaths, emit
        self._began: dict[str, float] = {}
        left = sweep(self._known)
        fresh = not self._known.get_trials(deepcopy=False)
        super().__init__(
            space,
            metric=names if len(names) > 1 else names[0],
            mode=["max"] * len(names) if len(names) > 1 else "max",
            points_to_evaluate=[dict(settings) for settings in (first if fresh else left)] or None,
            sampler=study.sample(len(self._known.get_trials(deepcopy=False))),
            study_name=name,
            storage=journal.storage,
        )

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        settings: dict[str, Any] | None = super().suggest(trial_id)
        self._began[trial_id] = time.monotonic()
        self._journal.keep()
        if settings is not None:
            self._emit(TrialStarted(number=self._ot_trials[trial_id].number, settings=settings))
        return settings

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        super().on_trial_result(trial_id, result)
        trial, score = self._ot_trials[trial_id], result[self._names[0]]
        trial.set_user_attr("scores", [*trial.user_attrs.get("scores", ()), score])
        self._journal.keep()
        self._emit(TrialReported(number=trial.number, score=score))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        trial = self._ot_trials[trial_id]
        if error or result is None:
            self._died(trial_id, trial)
            return
        if not result["failed"]:
            self.on_trial_result(trial_id, result)  # Tune hands the last result to this method alone
        self._note(trial_id, reason=result["failed"], trained=result["trained"], shared=result["shared"])
        finished = not result["failed"] and result["step"] == self._steps
        super().on_trial_complete(trial_id, result if finished else None, error=bool(result["failed"]))
        self._ended(trial.number)

    def _died(self, trial_id: str, trial: optuna.Trial) -> None:
        """A process that dies takes its trial with it: the same is tried again, but not for ever."""
        alike = [known for known in self._known.get_trials(deepcopy=False) if known.params == trial.params]
        again = sum(DIED in known.user_attrs for known in alike) < self._deaths
        self._note(trial_id, **({DIED: True} if again else {"reason": "its process died, again and again"}))
        super().on_trial_complete(trial_id, None, error=True)
        if again:
            self._known.enqueue_trial(trial.params)
            self._journal.keep()
            self._emit(TrialCrashed(number=trial.number))
        else:
            self._ended(trial.number)

    def _note(self, trial_id: str, **said: Any) -> None:
        """Write into the journal what a trial did; Optuna takes no more of it once the trial is told as over."""
        said["seconds"] = time.monotonic() - self._began[trial_id]
        for key, value in said.items():
            self._ot_trials[trial_id].set_user_attr(key, value)

    def _ended(self, number: int) -> None:
        self._journal.keep()
        self._emit(TrialFinished(_record(self._known.get_trials(deepcopy=False)[number])))

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, likewise: Tune keeps a pickle of its searcher, which nobody is ever to open."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is what lasts."""


def open_study(study: Study, journal: Journal, name: str) -> optuna.Study:
    """The Optuna study of a round, made if there is none yet."""
    return optuna.create_study(
        storage=journal.storage,
        study_name=name,
        directions=["maximize"] * len(study.objectives),
        load_if_exists=True,
    )


def sweep(study: optuna.Study) -> list[Settings]:
    """End the trials that a killed search left running, and say what they tried."""
    left = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in left:
        study.tell(trial.number, state=TrialState.FAIL)
    return [trial.params for trial in left]


def trials(study: optuna.Study) -> tuple[TrialRecord, ...]:
    """What the trials did that ended, and were not only swept: those have no reason, not even an empty one."""
    found = study.get_trials(deepcopy=False, states=tuple(ENDED))
    return tuple(_record(trial) for trial in found if "reason" in trial.user_attrs)


def _record(trial: FrozenTrial) -> TrialRecord:
    said: Mapping[str, Any] = trial.user_attrs
    return TrialRecord(
        number=trial.number,
        state=ENDED[trial.state],
        settings=trial.params,
        values=tuple(trial.values or ()),
        scores=tuple(said.get("scores", ())),
        trained=said.get("trained", 0),
        shared=said.get("shared", 0),
        seconds=said.get("seconds", 0.0),
        reason=said.get("reason", ""),
    )


def importances(study: optuna.Study) -> dict[str, float]:
    """Setting -> its share of what makes the best finished trials; {} while fewer than ENOUGH have finished."""
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < ENOUGH:
        return {}
    target = None if len(study.directions) == 1 else (lambda trial: sum(trial.values))
    try:
        with quiet():
            found = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(), target=target
            )
    except (ValueError, RuntimeError):
        return {}
    return {key: value for key, value in found.items() if key != "prefix"}
