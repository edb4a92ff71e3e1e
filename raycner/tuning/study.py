"""Studies: what is searched, on which job, by which score, with how many trials.

A study is a Python file with one name, STUDY; it is loaded by path and never installed:

    from raycner import Study

    def space(trial):
        trial.suggest_float("method.kd_weight", 0.2, 5.0, log=True)

    STUDY = Study(base="jobs/demo.yaml", layers=("method.name=extend_ner",), space=space, trials=24,
                  first=[{"method.kd_weight": 1.0}])

What a space suggests are settings under their dotted names, as one would type them after the job.
"""

import contextlib
import inspect
import runpy
import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import optuna

from raycner.config import RunConfig, read
from raycner.errors import InputError
from raycner.hashing import Plain, fingerprint, plain
from raycner.settings import spell

Settings = Mapping[str, Plain]
"""Settings under their dotted names."""
PROBES = 32
"""How many draws of a space are tried before the first trial."""

DEFINING = ("metric", "seeds", "caution", "strategy", "beam")
"""What makes trials comparable: a study that says otherwise is another one. More trials are the same study."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A search, said in full."""

    base: str
    """The job that is searched on: a YAML file."""
    space: Callable[[Any], object]
    """Is given an Optuna trial, and suggests settings under their dotted names."""
    layers: Sequence[str] = ()
    """Laid over the job before the settings are: files and KEY=VALUE."""
    first: Sequence[Settings] = field(default_factory=list)
    """Settings that are tried before any is proposed. The first of them is trial 0, which all are compared with: the
    published values."""
    trials: int = 24
    metric: Literal["mean_f1", "macro_f1", "micro_f1", "old_new"] = "mean_f1"
    """On dev, over all types seen, averaged over the steps; mean_f1 is the mean of the other two. old_new: two
    objectives, macro-F1 over the types of earlier steps and over each step's new ones."""
    seeds: int = 1
    """How many seeds a trial is: the job's own and those after it."""
    caution: float = 1.0
    """How many standard errors are taken from the mean over seeds."""
    sampler: Literal["tpe", "random"] = "tpe"
    """tpe: multivariate and grouped, so that settings are proposed together, and conditional ones may be."""
    pruning: Literal["asha", "none"] = "asha"
    """asha: of the trials that have come as far, only the best go on; its rungs are steps."""
    grace: int = 2
    """Steps that every trial is allowed."""
    reduction: int = 2
    """At each rung one trial in so many goes on."""
    strategy: Literal["whole_run", "per_step"] = "whole_run"
    """whole_run: one set of settings for all steps. per_step: for one step at a time, `trials` times, each from one of
    the best runs so far; the result may differ from step to step."""
    beam: int = 2
    """How many of the best runs so far per_step goes on from."""
    sampler_seed: int = 0

    def __post_init__(self) -> None:
        if min(self.trials, self.seeds, self.grace, self.beam) < 1 or self.reduction < 2 or self.caution < 0:
            raise ValueError("trials, seeds, grace and beam are at least 1, reduction at least 2, caution not negative")
        if self.metric == "old_new" and self.strategy == "per_step":
            raise ValueError("per_step goes on from the best runs, which takes one score: choose another metric")

    @property
    def objectives(self) -> tuple[str, ...]:
        """What Optuna maximises."""
        return ("old", "new") if self.metric == "old_new" else ("score",)

    def sample(self, known: int) -> optuna.samplers.BaseSampler:
        """A sampler for a round that knows so many trials already: begun again, it does not repeat itself."""
        seed = self.sampler_seed + known
        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)


@dataclass(frozen=True)
class Plan:
    """A study and the layers of its job, as they were asked for: every draw of it can be run."""

    study: Study
    layers: tuple[str, ...]
    said: Mapping[str, Plain]
    """What the layers say."""
    name: str
    """The file's, and of what is searched by which score: the same line goes on with the same study."""

    @classmethod
    def of(cls, study: Study, layers: Sequence[str], where: str, asked: Mapping[str, Any] | None = None) -> "Plan":
        """Check that whatever a study, with what was asked for instead of its own values, may propose can be run.

        Raises `InputError` naming file and setting.
        """
        try:
            study = replace(study, **(asked or {}))
        except ValueError as error:
            raise InputError(str(error), location=where) from None
        layers = (study.base, *study.layers, *layers)
        base = read(layers)
        job = plain(RunConfig.laid(base, {}), hashed=True)
        searched = [job, *(getattr(study, name) for name in DEFINING), inspect.getsource(study.space)]
        hashed = fingerprint(searched)
        made = cls(study, layers, base, f"{Path(where).stem}-{hashed[:8]}")
        for settings in study.first:
            made._try(settings, f"{where}: first")
            fixed = optuna.trial.FixedTrial(dict(settings))
            try:
                study.space(fixed)
            except ValueError as error:
                hint = "say a value in the space's range for every setting that the space asks for"
                raise InputError(str(error), location=f"{where}: first", hint=hint) from None
            if spare := sorted(settings.keys() - fixed.params.keys()):
                hint = "suggest it there, or leave it out here"
                raise InputError("the space does not suggest it", location=f"{where}: first.{spare[0]}", hint=hint)
        for trial in draws(study.space, PROBES):
            for settings in (trial.params, *ends(trial)):
                made._try(settings, where)
        return made

    @cached_property
    def job(self) -> RunConfig:
        """The job as its layers say it."""
        return self.config({})

    def config(self, settings: Settings) -> RunConfig:
        """The job with these settings."""
        return RunConfig.laid(self.said, settings)

    def command(self, settings: Settings) -> str:
        """The line that runs the job with these settings."""
        said = [*self.layers, *(f"{key}={spell(value)}" for key, value in settings.items())]
        return shlex.join(["raycner", "run", *said])

    def _try(self, settings: Settings, where: str) -> None:
        try:
            self.config(settings)
        except InputError as refusal:
            place = f"{where}: {refusal.location}" if refusal.location else where
            raise InputError(refusal.what, location=place, hint=refusal.hint) from None


def load(path: str) -> Study:
    """The STUDY of a file."""
    if not Path(path).is_file():
        raise InputError("there is no such file", location=path, hint="name a file of search_spaces/")
    try:
        study = runpy.run_path(path).get("STUDY")
    except Exception as error:
        raise InputError(f"{type(error).__name__}: {error}", location=path, hint="mend the file") from None
    if not isinstance(study, Study):
        raise InputError("no STUDY in this file", location=path, hint="write STUDY = Study(base=..., space=...)")
    return study


def draws(space: Callable[[Any], object], number: int) -> Iterator[optuna.Trial]:
    """So many draws of a space at random."""
    with quiet():
        asking = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(number):
        trial = asking.ask()
        space(trial)
        yield trial


def ends(trial: optuna.Trial) -> Iterator[dict[str, Plain]]:
    """A draw with each of its ranges at either end."""
    for key, distribution in trial.distributions.items():
        if isinstance(distribution, optuna.distributions.FloatDistribution | optuna.distributions.IntDistribution):
            for end in (distribution.low, distribution.high):
                yield {**trial.params, key: end}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's notices, and without its warnings of features that may change."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
