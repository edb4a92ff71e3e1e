"""Runs of one scenario compared: means over seeds, the gap to the joint bound, paired tests, and steps trained once.

Scores are those of `scores`: on test, in percent. A row counts its finished runs only; a score is None where there is
none.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from raycner.analysis.scores import Run, learns_tasks, protocol_name
from raycner.analysis.statistics import Spread, difference, paired_test, spread
from raycner.settings import flat, spell


@dataclass(frozen=True, kw_only=True)
class Point:
    """The scores of a row after one step, over those of its runs that have done the step, finished or not."""

    step: int
    micro: Spread
    macro: Spread
    tasks: Spread


@dataclass(frozen=True, kw_only=True)
class Significance:
    """A two-sided paired t-test of average macro-F1, over the seeds that two rows share."""

    against: str
    """The label of the other row."""
    seeds: tuple[int, ...]
    p: float | None
    """None when the difference is the same for every seed: the test is undefined then."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Runs that differ only by seed; of two with the same seed, the one with more steps."""

    label: str
    """Unique in the comparison: `title` and `settings`."""
    title: str
    """The label of the runs, and "joint" where that is their protocol."""
    settings: Mapping[str, Any]
    """By dotted name: the settings that differ from those of other rows with this title."""
    joint: bool
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    finished: tuple[int, ...]
    """The seeds whose run is finished."""
    done: int
    """The fewest steps that any of its runs has."""
    average_micro: Spread | None
    average_macro: Spread | None
    average_tasks: Spread | None
    """SpanKL's Macro-F1: the mean over tasks, the types that one step brought, of micro-F1."""
    calibrated_micro: Spread | None
    """The average with the bias of new types lowered, over the runs of which every step was calibrated."""
    calibrated_macro: Spread | None
    final_micro: Spread | None
    final_macro: Spread | None
    final_tasks: Spread | None
    final_micro_precision: Spread | None
    final_micro_recall: Spread | None
    final_macro_precision: Spread | None
    final_macro_recall: Spread | None
    forgetting: Spread | None
    """The mean over the types that are old in the last step."""
    backward_transfer: Spread | None
    """BWT: micro-F1 of a task after the last step minus that when it was learned, mean over tasks but the last."""
    backward_interference: Spread | None
    """SpanKL's BI: micro-F1 of a task after the last step minus the best after any, mean over tasks."""
    gap_average: float | None
    """Average macro-F1 of the joint bound minus this row's; None without a bound."""
    gap_final: float | None
    """The same of macro-F1 after the last step."""
    gap_tasks: float | None
    """The same of the mean over tasks after the last step."""
    significance: Significance | None
    """Against the best row that is not joint; None for that row, and without two shared seeds."""
    curve: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A step that several runs have under one fingerprint: it was trained once."""

    step: int
    fingerprint: str
    runs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs that learn the same types in the same steps: best average macro-F1 first, rows without one last."""

    plan: tuple[tuple[str, ...], ...]
    """The types that each step brings."""
    scenario: Mapping[str, Any]
    """The settings of the first run; joint runs differ from it in `joint`."""
    rows: tuple[Row, ...]
    shared: tuple[Shared, ...]


def compare(runs: Sequence[Run]) -> tuple[Comparison, ...]:
    """Comparisons of the runs that are tested alike, in the order of their first run.

    Runs are comparable when the content of their corpora, the types of each step, the protocol (a joint run bounds the
    others) and its test agree, whatever the sampling of slices, and wherever the files are.
    """
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        scenario, corpora = run.config["scenario"], [corpus.fingerprint for corpus in run.corpora]
        test = scenario["protocol"].get("test", "all")
        groups[_key([run.plan, corpora, protocol_name(scenario), test])].append(run)
    return tuple(map(_comparison, groups.values()))


def setup(comparison: Comparison) -> str:
    """SpanKL's name of the setup of a comparison whose steps are tasks, as in "Split-All"; empty for any other."""
    scenario = comparison.scenario
    if not learns_tasks(scenario):
        return ""
    return f"{protocol_name(scenario).capitalize()}-{scenario['protocol']['test'].capitalize()}"


@dataclass(frozen=True)
class _System:
    """The runs of one row, by seed, and the row without what depends on other rows."""

    runs: Mapping[int, Run]
    row: Row

    @property
    def scores(self) -> dict[int, float]:
        """Average macro-F1 of the finished runs, by seed."""
        return {seed: run.average.macro for seed, run in self.runs.items() if run.finished and run.average}

    @property
    def model(self) -> Any:
        return next(iter(self.runs.values())).config["model"]


def _comparison(runs: Sequence[Run]) -> Comparison:
    members: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.seed):
        members[_key([run.label, _system_settings(run)])].append(run)
    settings = _distinguishing({key: same[0] for key, same in members.items()})
    systems = [_system(same, settings[key]) for key, same in members.items()]
    systems.sort(key=lambda system: system.row.average_macro.mean if system.row.average_macro else -1.0, reverse=True)
    bounds = [system for system in systems if system.row.joint and system.row.finished]
    best = next((system for system in systems if system.scores and not system.row.joint), None)
    return Comparison(
        plan=runs[0].plan,
        scenario=runs[0].config["scenario"],
        rows=tuple(_among(system, bounds, best) for system in systems),
        shared=_shared(runs),
    )


def _system(members: Sequence[Run], settings: Mapping[str, Any]) -> _System:
    runs = {run.seed: run for run in sorted(members, key=lambda run: (run.seed, len(run.steps)))}
    finished = [run for run in runs.values() if run.finished and run.steps]
    averages = [run.average for run in finished if run.average]
    calibrated = [average.calibrated for average in averages if average.calibrated]
    finals = [run.steps[-1] for run in finished]
    title = _title(members[0])
    row = Row(
        label=" ".join([title, *(f"{key}={spell(value)}" for key, value in settings.items())]),
        title=title,
        settings=settings,
        joint=members[0].joint,
        runs=tuple(run.run for run in runs.values()),
        seeds=tuple(runs),
        finished=tuple(run.seed for run in finished),
        done=min(len(run.steps) for run in runs.values()),
        average_micro=spread(average.micro for average in averages),
        average_macro=spread(average.macro for average in averages),
        average_tasks=spread(average.tasks for average in averages),
        calibrated_micro=spread(means.micro for means in calibrated),
        calibrated_macro=spread(means.macro for means in calibrated),
        final_micro=spread(final.micro for final in finals),
        final_macro=spread(final.macro for final in finals),
        final_tasks=spread(final.tasks for final in finals),
        final_micro_precision=spread(final.micro_precision for final in finals),
        final_micro_recall=spread(final.micro_recall for final in finals),
        final_macro_precision=spread(final.macro_precision for final in finals),
        final_macro_recall=spread(final.macro_recall for final in finals),
        forgetting=spread(run.mean_forgetting for run in finished),
        backward_transfer=spread(run.backward_transfer for run in finished),
        backward_interference=spread(run.backward_interference for run in finished),
        gap_average=None,
        gap_final=None,
        gap_tasks=None,
        significance=None,
        curve=tuple(_curve(list(runs.values()))),
    )
    return _System(runs, row)


def _curve(runs: Sequence[Run]) -> Iterator[Point]:
    for step in range(max(len(run.steps) for run in runs)):
        done = [run.steps[step] for run in runs if step < len(run.steps)]
        micro, macro, tasks = (spread(getattr(one, score) for one in done) for score in ("micro", "macro", "tasks"))
        assert micro
        assert macro
        assert tasks
        yield Point(step=step, micro=micro, macro=macro, tasks=tasks)


def _among(system: _System, bounds: Sequence[_System], best: _System | None) -> Row:
    """The row of a system with its gap to the joint bound and its test against the best."""
    row = replace(system.row, significance=_significance(system, best))
    if row.joint or not bounds:
        return row
    same_model = [bound for bound in bounds if bound.model == system.model]
    bound = (same_model or bounds)[0].row
    return replace(
        row,
        gap_average=difference(bound.average_macro, row.average_macro),
        gap_final=difference(bound.final_macro, row.final_macro),
        gap_tasks=difference(bound.final_tasks, row.final_tasks),
    )


def _significance(system: _System, best: _System | None) -> Significance | None:
    if best is None or system is best:
        return None
    ours, theirs = system.scores, best.scores
    seeds = sorted(ours.keys() & theirs.keys())
    if len(seeds) < 2:
        return None
    p = paired_test([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])
    return Significance(against=best.row.label, seeds=tuple(seeds), p=p)


def _shared(runs: Sequence[Run]) -> tuple[Shared, ...]:
    holders: dict[tuple[int, str], list[str]] = defaultdict(list)
    for run in runs:
        for step in run.steps:
            holders[step.index, step.fingerprint].append(run.run)
    several = sorted((step, fingerprint, names) for (step, fingerprint), names in holders.items() if len(names) > 1)
    return tuple(Shared(step=step, fingerprint=name, runs=tuple(names)) for step, name, names in several)


def _title(run: Run) -> str:
    return f"{run.label}, joint" if run.joint else run.label


def _system_settings(run: Run) -> dict[str, Any]:
    """The settings that make a row: all but the seed, the compute and the store.

    Of the evaluation, only what changes the predictions counts. `optim.conlleval` is a setting of version 0.1.
    """
    settings = {key: value for key, value in run.config.items() if key not in ("seed", "compute", "store", "eval")}
    if "optim" in settings:
        settings["optim"] = {key: value for key, value in settings["optim"].items() if key != "conlleval"}
    evaluation = run.config.get("eval", {})
    changed = {key: evaluation[key] for key in ("decoding", "threshold") if evaluation.get(key) is not None}
    return {**settings, "eval": changed} if changed else settings


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _distinguishing(systems: Mapping[str, Run]) -> dict[str, dict[str, Any]]:
    """For each system, the settings that differ among the systems of its title."""
    settings: dict[str, dict[str, Any]] = {}
    by_title = sorted(systems, key=lambda key: _title(systems[key]))
    for _, namesakes in groupby(by_title, key=lambda key: _title(systems[key])):
        by_key = {key: flat(_system_settings(systems[key])) for key in namesakes}
        common = set.intersection(*({(name, _key(value)) for name, value in one.items()} for one in by_key.values()))
        for key, one in by_key.items():
            settings[key] = {name: value for name, value in one.items() if (name, _key(value)) not in common}
    return settings
