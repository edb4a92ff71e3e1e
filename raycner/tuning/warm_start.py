"""A search that starts from an earlier one: the best settings of that one are tried first.

They are tried, not believed: scores of another job, corpus or seed are no scores of this one.
"""

import warnings
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from raycner.errors import InputError
from raycner.hashing import Plain, canonical
from raycner.registry import suggest
from raycner.storage.searches import SearchRecord, TrialRecord
from raycner.storage.store import ObjectStore
from raycner.tuning.round import PREFIX
from raycner.tuning.study import Settings, Space, quiet_optuna

SETTINGS = 5
"""How many of an earlier search are tried."""


class Fit(NamedTuple):
    """What a space takes of settings that another space suggested."""

    settings: Settings
    left_out: Mapping[str, str]
    """Setting -> why the space does not take it."""


def find_search(store: ObjectStore, name: str) -> SearchRecord:
    """The record of a search of the store. Raises `InputError` if there is none."""
    try:
        return SearchRecord.read(store, SearchRecord.key(name))
    except FileNotFoundError:
        names = [key.split("/")[1] for key in SearchRecord.keys(store)]
        hint = suggest(name, names) if names else "the store has no search that ended"
        raise InputError(f"no search called {name!r}", location="--warm-start", hint=hint) from None


def best_settings(search: SearchRecord, step: int | None) -> list[Settings]:
    """The best settings of a search, the winner first; of a step-wise search those of a step, or of its last."""
    rounds = [round_ for round_ in search.rounds if round_.steps == step] or search.rounds[-1:]
    trials = sorted((trial for round_ in rounds for trial in round_.trials if trial.state == "complete"), key=_rank)
    best = [trial.settings for trial in trials]
    if search.winner and search.winner.settings in best:
        best.insert(0, search.winner.settings)
    own = [{key: value for key, value in settings.items() if key != PREFIX} for settings in best]
    return [settings for place, settings in enumerate(own) if settings not in own[:place]]


def _rank(trial: TrialRecord) -> tuple[float, str]:
    return -sum(trial.values), canonical(trial.settings)


def fit(space: Space, settings: Settings) -> Fit:
    """Which of the settings the space suggests, too."""
    with quiet_optuna(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of values outside their ranges, which Optuna takes all the same
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.enqueue_trial(dict(settings))
        trial = study.ask()
        space(trial)
    ranges = trial.distributions
    taken = {key: value for key, value in settings.items() if key in ranges and _is_in(ranges[key], value)}
    reasons = {key: "outside its range" if key in ranges else "not in the space" for key in settings}
    return Fit(taken, {key: reasons[key] for key in settings if key not in taken})


def _is_in(allowed: optuna.distributions.BaseDistribution, value: Plain) -> bool:
    """Whether a setting may have this value; a number is not held to the step of its range."""
    match allowed:
        case CategoricalDistribution(choices=choices):
            return value in choices
        case FloatDistribution(low=low, high=high) | IntDistribution(low=low, high=high):
            return isinstance(value, int | float) and low <= value <= high
    return False


def fitting(space: Space, candidates: Iterable[Settings]) -> tuple[list[Settings], list[str]]:
    """The settings to try first, as far as they fit, and one line for each setting that does not."""
    chosen: list[Settings] = []
    lines: list[str] = []
    for settings in candidates:
        taken, left_out = fit(space, settings)
        lines += [f"{key}={settings[key]} is {why}" for key, why in left_out.items()]
        if taken and taken not in chosen:
            chosen.append(taken)
        if len(chosen) == SETTINGS:
            break
    return chosen, list(dict.fromkeys(lines))
