"""Studies: what is searched, on which job, by which score, with how many trials.

A study is a Python file that defines STUDY. It is loaded by path, and needs no installation:

    from raycner import Study

    def space(trial):
        trial.suggest_float("method.kd_weight", 0.2, 5.0, log=True)

    STUDY = Study(base="jobs/demo.yaml", overrides=("method.name=extend_ner",), space=space, trials=24,
                  first=[{"method.kd_weight": 1.0}])

A space suggests settings by their dotted names, as on the command line.
"""

import contextlib
import inspect
import runpy
import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import optuna

from raycner.config import RunConfig, read
from raycner.errors import InputError
from raycner.hashing import Plain, fingerprint, plain
from raycner.settings import spell
from raycner.shipped import local_or_shipped

Settings = Mapping[str, Plain]
"""Dotted name -> value."""
Space = Callable[[Any], object]
"""Receives an Optuna trial, and suggests settings by their dotted names."""
RANDOM_TRIALS = 10
"""Trials that TPE proposes at random, before it has scores to go by."""
PROBES = 32
"""How many random draws of a space are checked before the first trial."""

DEFINING = ("metric", "seeds", "caution", "strategy", "beam")
"""Fields that make trials comparable: a study with another value is another study. More trials are the same study."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """The complete description of a search."""

    base: str
    """The job to search on: a YAML file."""
    space: Space
    """Receives an Optuna trial, and suggests settings by their dotted names."""
    overrides: Sequence[str] = ()
    """Config files and KEY=VALUE overrides of the job; suggested settings override them."""
    first: Sequence[Settings] = field(default_factory=list)
    """Settings to try before Optuna proposes any. The first is trial 0, the baseline: the published values."""
    trials: int = 24
    metric: Literal["mean_f1", "macro_f1", "micro_f1", "old_new"] = "mean_f1"
    """F1 on dev over all seen types, averaged over the steps; mean_f1 is the mean of macro- and micro-F1. old_new has
    two objectives: macro-F1 over the types of earlier steps, and over the new types of each step."""
    seeds: int = 1
    """Seeds per trial: the job's own and those after it."""
    caution: float = 1.0
    """How many standard errors to subtract from the mean over seeds."""
    sampler: Literal["tpe", "random"] = "tpe"
    """tpe: multivariate and grouped, so settings are proposed jointly, and may be conditional."""
    pruning: Literal["asha", "none"] = "asha"
    """asha: only the best trials continue, from rung to rung; its rungs are shares of the sentences, then steps."""
    rungs: Sequence[float] = (1.0,)
    """Shares of the training sentences of each step. With (0.25, 1.0), a trial first trains all steps on a quarter of
    their sentences, and only the best trials continue on all of them. The last is 1."""
    grace: int = 2
    """Steps of the last rung that no trial is pruned before."""
    reduction: int = 2
    """At each rung, one trial in so many continues."""
    strategy: Literal["whole_run", "per_step"] = "whole_run"
    """whole_run: one set of settings for all steps. per_step: `trials` trials for each step in turn, which continue one
    of the best runs so far; the result may have other settings for each step."""
    beam: int = 2
    """How many of the best runs so far per_step continues."""
    finalists: int = 3
    """How many of the best trials are run with more seeds before the best of them is named the winner: the best of many
    trials is in part the luckiest. 1: the best trial is the winner."""
    final_seeds: int = 3
    """Seeds of each finalist, and of trial 0."""
    sampler_seed: int = 0
    layers: InitVar[None] = None
    """The earlier name of `overrides`; refused."""

    def __post_init__(self, layers: None) -> None:
        if layers is not None:
            raise InputError("no such field", location="Study.layers", hint="it is now called `overrides`")
        counts = (self.trials, self.seeds, self.grace, self.beam, self.finalists, self.final_seeds)
        if min(counts) < 1 or self.reduction < 2 or self.caution < 0:
            raise ValueError(
                "trials, seeds, grace, beam, finalists and final_seeds are at least 1, reduction at least 2, "
                "caution not negative"
            )
        if self.metric == "old_new" and self.strategy == "per_step":
            raise ValueError("per_step continues the best runs, which takes a single score: choose another metric")
        if not self.rungs or list(self.rungs) != sorted(set(self.rungs)) or self.rungs[0] <= 0 or self.rungs[-1] != 1:
            raise ValueError(f"rungs {list(self.rungs)}: rising shares above 0, the last of which is 1")
        if len(self.rungs) > 1 and (self.metric == "old_new" or self.strategy == "per_step" or self.pruning == "none"):
            raise ValueError("rungs decide which trials continue, which takes pruning, one score, and whole runs")

    @property
    def objectives(self) -> tuple[str, ...]:
        """The names of what Optuna maximises."""
        return ("old", "new") if self.metric == "old_new" else ("score",)

    @property
    def published(self) -> Settings:
        """The settings of trial 0."""
        return self.first[0] if self.first else {}

    def too_many_at_once(self, parallel: int) -> str:
        """A warning, or nothing: TPE proposes a trial by the scores of those that ended before it started."""
        most = min(RANDOM_TRIALS, self.trials // 3)
        if self.sampler != "tpe" or self.trials <= RANDOM_TRIALS or parallel <= most:
            return ""
        return (
            f"{parallel} of {self.trials} trials run at once, so TPE proposes most of them before it has learned from "
            f"any: at most --parallel {most}, or more trials, make use of it; --sampler random needs no scores"
        )

    def new_sampler(self, finished_trials: int) -> optuna.samplers.BaseSampler:
        """A sampler for the trials still missing. Its seed depends on their number, so a resumed search does not
        repeat itself."""
        seed = self.sampler_seed + finished_trials
        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, n_startup_trials=RANDOM_TRIALS, seed=seed
        )


@dataclass(frozen=True)
class SearchPlan:
    """A study with the config files and overrides of its job, checked: all that its space suggests can be run."""

    study: Study
    path: str
    """The file of the study."""
    configs: tuple[str, ...]
    """Config files and overrides of the job, left to right."""
    base: Mapping[str, Plain]
    """The settings that they give."""
    name: str
    """Of the file, and a hash of what determines the search: the same command continues the same search."""

    @classmethod
    def of(
        cls, study: Study, configs: Sequence[str], path: str, options: Mapping[str, Any] | None = None
    ) -> "SearchPlan":
        """Plan a study; `options` replace fields of it. Raises `InputError` with file and setting."""
        try:
            study = replace(study, **(options or {}))
        except ValueError as error:
            raise InputError(str(error), location=path) from None
        configs = (study.base, *study.overrides, *configs)
        base = read(configs)
        job = plain(RunConfig.from_settings(base, {}), hashed=True)
        identity = [job, *(getattr(study, name) for name in DEFINING), inspect.getsource(study.space)]
        identity += [list(study.rungs)] if len(study.rungs) > 1 else []
        search_plan = cls(study, path, configs, base, f"{Path(path).stem}-{fingerprint(identity)[:8]}")
        search_plan._check_first_settings()
        search_plan._check_space()
        return search_plan

    def configs_of(self, settings: Settings, seeds: int, share: float = 1.0) -> list[RunConfig]:
        """The runs of these settings on a share of their sentences: the job's seed, and those after it."""
        config = self.config(settings)
        scenario = replace(config.scenario, train_share=share * config.scenario.train_share)
        return [replace(config, scenario=scenario, seed=config.seed + i) for i in range(seeds)]

    @cached_property
    def job(self) -> RunConfig:
        """The job without any suggested setting."""
        return self.config({})

    def config(self, settings: Settings) -> RunConfig:
        """The job with these settings."""
        return RunConfig.from_settings(self.base, settings)

    def command(self, settings: Settings) -> str:
        """The command that runs the job with these settings."""
        overrides = [f"{key}={spell(value)}" for key, value in settings.items()]
        return shlex.join(["raycner", "run", *self.configs, *overrides])

    def _check_first_settings(self) -> None:
        location = f"{self.path}: first"
        for settings in self.study.first:
            self._check(settings, location)
            trial = optuna.trial.FixedTrial(dict(settings))
            try:
                self.study.space(trial)
            except ValueError as error:
                hint = "give every setting that the space suggests a value in its range"
                raise InputError(str(error), location=location, hint=hint) from None
            if unused := sorted(settings.keys() - trial.params.keys()):
                hint = "suggest it there, or remove it here"
                raise InputError("the space does not suggest it", location=f"{location}.{unused[0]}", hint=hint)

    def _check_space(self) -> None:
        for trial in random_draws(self.study.space, PROBES):
            for settings in (trial.params, *at_range_ends(trial)):
                self._check(settings, self.path)

    def _check(self, settings: Settings, location: str) -> None:
        try:
            self.config(settings)
        except InputError as error:
            where = f"{location}: {error.location}" if error.location else location
            raise InputError(error.what, location=where, hint=error.hint) from None


def load(path: str) -> Study:
    """The STUDY of a file, local or shipped."""
    file = local_or_shipped(path)
    if not Path(file).is_file():
        raise InputError("there is no such file", location=path, hint="name a file of search_spaces/")
    try:
        study = runpy.run_path(file).get("STUDY")
    except InputError as error:
        raise InputError(error.what, location=f"{path}: {error.location}", hint=error.hint) from None
    except Exception as error:
        raise InputError(f"{type(error).__name__}: {error}", location=path, hint="correct the file") from None
    if not isinstance(study, Study):
        raise InputError("no STUDY in this file", location=path, hint="write STUDY = Study(base=..., space=...)")
    return study


def random_draws(space: Space, number: int) -> Iterator[optuna.Trial]:
    """So many trials with random settings."""
    with quiet_optuna():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(number):
        trial = study.ask()
        space(trial)
        yield trial


def at_range_ends(trial: optuna.Trial) -> Iterator[dict[str, Plain]]:
    """The settings of a trial with one numeric setting at an end of its range, for all such settings and both ends."""
    for key, distribution in trial.distributions.items():
        if isinstance(distribution, optuna.distributions.FloatDistribution | optuna.distributions.IntDistribution):
            for end in (distribution.low, distribution.high):
                yield {**trial.params, key: end}


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's log, and without its warnings of experimental features."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
