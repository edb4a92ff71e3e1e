"""Searches: the settings of a job, searched with Optuna in this process or on Ray."""

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from os import PathLike, fspath
from typing import TYPE_CHECKING

from rich.console import Console

from raycner.api.jobs import Overrides, overlay
from raycner.api.notebook import as_html
from raycner.api.progress import Progress, event_handler
from raycner.api.runs import Run
from raycner.callbacks.search_progress import SearchProgressDisplay
from raycner.console import TextConsole
from raycner.errors import InputError
from raycner.events import Message
from raycner.hashing import Plain
from raycner.reporting.report import render_search
from raycner.settings import flat, spell
from raycner.storage.ledger import RunLedger
from raycner.storage.searches import SearchRecord
from raycner.storage.store import ObjectStore
from raycner.tuning.search import Forecast, baseline
from raycner.tuning.search import forecast as count_steps
from raycner.tuning.search import search as run_trials
from raycner.tuning.study import SearchPlan, Study, load
from raycner.tuning.warm_start import find_search

if TYPE_CHECKING:
    from pandas import DataFrame


def search(
    study: Study | str | PathLike[str],
    overrides: Overrides = (),
    /,
    *,
    database: str | None = None,
    parallel: int | None = None,
    warm_start: str | None = None,
    progress: Progress = True,
    **options: object,
) -> "Search":
    """Run the trials that a study still lacks, and return the finished search; the same call resumes.

        raycner.search("search_spaces/dld.py")
        raycner.search(Study(base="jobs/demo.yaml", space=space), trials=8, seed=1)

    `study` is a `Study` or a Python file with a STUDY. `overrides` are laid over its job. `options` are fields of the
    study (`trials`, `seeds`, `base`, ...) or else top-level settings of its job. `database` is the URL of a database
    for Optuna's study, instead of the store. `parallel` is how many trials run at once; with `compute.workers=0` one
    at a time runs in this process, without Ray. `warm_start` names an earlier search, whose best settings are tried
    first.
    """
    plan = _plan(study, overrides, options)
    if parallel is not None and parallel < 1:
        raise InputError(f"{parallel} trials at once", location="--parallel", hint="write a number above 0")
    earlier = find_search(ObjectStore(plan.job.store), warm_start) if warm_start else None
    with event_handler(progress) as handler:
        handler(Message("trial 0, the baseline of all others"))
        against = baseline(plan, handler)
    with event_handler(progress, SearchProgressDisplay) as handler:
        record = run_trials(plan, against, handler, database=database, parallel=parallel, earlier=earlier)
    return Search(record, ObjectStore(plan.job.store))


def forecast(
    study: Study | str | PathLike[str],
    overrides: Overrides = (),
    /,
    *,
    progress: Progress = True,
    **options: object,
) -> Forecast:
    """How many steps a search would train. Nothing is trained."""
    with event_handler(progress) as handler:
        return count_steps(_plan(study, overrides, options), handler)


class Search:
    """A search of a store: its trials, and the best settings."""

    def __init__(self, record: SearchRecord, store: ObjectStore) -> None:
        self.record, self._store = record, store

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def settings(self) -> Mapping[str, Plain] | None:
        """The winner's settings under their dotted names; None before any trial is complete."""
        return self.record.winner.settings if self.record.winner else None

    @property
    def command(self) -> str | None:
        """The command that runs the winner."""
        return self.record.winner.command if self.record.winner else None

    @property
    def runs(self) -> list[Run]:
        """The winner's runs, one per seed."""
        return self._runs(self.record.winner.runs) if self.record.winner else []

    @property
    def baseline(self) -> list[Run]:
        """The runs of trial 0, one per seed."""
        return self._runs(self.record.winner.baseline) if self.record.winner else []

    def trials(self) -> "DataFrame":
        """One row per trial: its state, its objectives against trial 0 (points of F1), and its settings."""
        from pandas import DataFrame

        rows = [
            {
                "round": stage.name,
                "trial": trial.number,
                "state": trial.state,
                **{name: 100 * value for name, value in zip(self.record.objectives, trial.values, strict=False)},
                "trained": trial.trained,
                "seconds": trial.seconds,
                **trial.settings,
            }
            for stage in self.record.rounds
            for trial in stage.trials
        ]
        return DataFrame(rows)

    def show(self, console: Console | None = None) -> None:
        """Print the trials and the winner."""
        render_search(self.record, self._store, console or TextConsole())

    def _runs(self, names: tuple[str, ...]) -> list[Run]:
        return [Run(RunLedger.open(self._store, name), self._store) for name in names]

    def __repr__(self) -> str:
        trials = sum(len(stage.trials) for stage in self.record.rounds)
        return f"<Search {self.name}: {trials} trials, winner {dict(self.settings) if self.settings else None}>"

    def _repr_html_(self) -> str:
        return as_html(partial(render_search, self.record, self._store))


def _plan(study: Study | str | PathLike[str], overrides: Overrides, options: Mapping[str, object]) -> SearchPlan:
    loaded = study if isinstance(study, Study) else load(fspath(study))
    names = {field.name for field in fields(Study)}
    of_study = {name: value for name, value in options.items() if name in names}
    of_job = {name: value for name, value in options.items() if name not in names}
    return SearchPlan.of(loaded, _as_configs(overrides) + _as_configs(of_job), _origin(study), of_study)


def _origin(study: Study | str | PathLike[str]) -> str:
    """The file of a study; of one that was made in Python, the name of its space."""
    if not isinstance(study, Study):
        return fspath(study)
    return getattr(study.space, "__name__", "study")


def _as_configs(overrides: Overrides) -> list[str]:
    """Overrides as a command line has them."""
    if not isinstance(overrides, Mapping):
        return [fspath(config) for config in overrides]
    return [f"{key}={spell(value)}" for key, value in flat(overlay({}, overrides)).items()]
