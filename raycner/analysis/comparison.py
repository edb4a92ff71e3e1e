"""Runs of one scenario compared: means over seeds, the gap to the joint bound, paired tests, and steps trained once.

Rows whose predictions were read otherwise, or that another version's arithmetic trained, are apart and say so.

Scores are those of `scores`: on test, in percent. A row counts its finished runs only; a score is None where there is
none.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from raycner.analysis.provenance import differing, numerics
from raycner.analysis.scores import Run, learns_tasks, protocol_name
from raycner.analysis.statistics import Effect, Spread, difference, holm, paired_effect, spread
from raycner.renames import as_before
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
    """A row minus the best one in average macro-F1, over the seeds that both have finished."""

    against: str
    """The label of the best row."""
    seeds: tuple[int, ...]
    effect: Effect
    p: float | None
    """Holm's correction of `effect.p` for the number of such tests in the comparison."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Runs that differ only by seed; of two with the same seed, the one with more steps."""

    label: str
    """Unique in the comparison: `title` and `settings`, and `read_out` where these two repeat."""
    system: str
    """The label of its runs."""
    title: str
    """The same, and "joint" where that is their protocol."""
    settings: Mapping[str, Any]
    """By dotted name: the settings that differ from those of other rows with this title."""
    read_out: Mapping[str, str]
    """decoder, calibration, threshold and numerics, as far as they differ among the rows of the comparison."""
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
    bound: str | None
    """The label of the joint row that the gaps are to: of the same model, read-out and optimisation, as far as there is
    one."""
    significance: Significance | None
    """Against the best row that is not joint; None for that row, and without two shared seeds."""
    control_of: str | None = None
    """The system that this row is a control of."""
    isolates: str = ""
    """What the difference between the system and this control shows the effect of."""
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
    others) and its test agree, whatever the sampling of slices, and wherever the files are. Few-shot steps are
    comparable in one draw of one number of sentences.
    """
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        scenario, corpora = run.config["scenario"], [corpus.fingerprint for corpus in run.corpora]
        test = scenario["protocol"].get("test", "all")
        drawn = scenario["protocol"] if protocol_name(scenario) == "few_shot" else None
        groups[_key([run.plan, corpora, protocol_name(scenario), test, drawn])].append(run)
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
    def config(self) -> Mapping[str, Any]:
        return next(iter(self.runs.values())).config

    def likeness(self, other: "_System") -> tuple[bool, bool, bool]:
        """Whether two systems have the same model, read-out and optimisation: the most alike compare largest."""
        ours, theirs = self.config, other.config
        same_read_out = self.row.read_out == other.row.read_out
        return ours["model"] == theirs["model"], same_read_out, ours["optim"] == theirs["optim"]


def _comparison(runs: Sequence[Run]) -> Comparison:
    members: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.seed):
        members[_key([run.label, numerics(run), system_settings(run)])].append(run)
    first = {key: same[0] for key, same in members.items()}
    settings, read_out = _distinguishing(first), differing(first)
    systems = _labelled([_system(same, settings[key], read_out[key]) for key, same in members.items()])
    systems.sort(key=lambda system: system.row.average_macro.mean if system.row.average_macro else -1.0, reverse=True)
    bounds = [system for system in systems if system.row.joint and system.row.finished]
    tests = _against_best(systems)
    return Comparison(
        plan=runs[0].plan,
        scenario=runs[0].config["scenario"],
        rows=tuple(replace(_with_gaps(system, bounds), significance=tests.get(system.row.label)) for system in systems),
        shared=_shared(runs),
    )


def _system(members: Sequence[Run], settings: Mapping[str, Any], read_out: Mapping[str, str]) -> _System:
    runs = {run.seed: run for run in sorted(members, key=lambda run: (run.seed, len(run.steps)))}
    finished = [run for run in runs.values() if run.finished and run.steps]
    averages = [run.average for run in finished if run.average]
    calibrated = [average.calibrated for average in averages if average.calibrated]
    finals = [run.steps[-1] for run in finished]
    title = _title(members[0])
    row = Row(
        label=_spelled(title, settings),
        system=members[0].label,
        title=title,
        settings=settings,
        read_out=read_out,
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
        bound=None,
        significance=None,
        curve=tuple(_curve(list(runs.values()))),
    )
    return _System(runs, row)


def _labelled(systems: Sequence[_System]) -> list[_System]:
    """Rows that differ by their read-out alone have it in their labels."""
    times = Counter(system.row.label for system in systems)
    return [
        replace(system, row=replace(system.row, label=_spelled(system.row.label, system.row.read_out)))
        if times[system.row.label] > 1
        else system
        for system in systems
    ]


def _spelled(name: str, settings: Mapping[str, Any]) -> str:
    return " ".join([name, *(f"{key}={spell(value)}" for key, value in settings.items())])


def _curve(runs: Sequence[Run]) -> Iterator[Point]:
    for step in range(max(len(run.steps) for run in runs)):
        done = [run.steps[step] for run in runs if step < len(run.steps)]
        micro, macro, tasks = (spread(getattr(one, score) for one in done) for score in ("micro", "macro", "tasks"))
        assert micro
        assert macro
        assert tasks
        yield Point(step=step, micro=micro, macro=macro, tasks=tasks)


def _with_gaps(system: _System, bounds: Sequence[_System]) -> Row:
    """The row of a system with its gaps to the joint bound."""
    same = [bound for bound in bounds if bound.row.read_out.get("numerics") == system.row.read_out.get("numerics")]
    if system.row.joint or not same:
        return system.row
    bound = max(same, key=system.likeness).row
    return replace(
        system.row,
        gap_average=difference(bound.average_macro, system.row.average_macro),
        gap_final=difference(bound.final_macro, system.row.final_macro),
        gap_tasks=difference(bound.final_tasks, system.row.final_tasks),
        bound=bound.label,
    )


def _against_best(systems: Sequence[_System]) -> dict[str, Significance]:
    """By label, the test of each row against the best that is not joint; `systems` are best first."""
    best = next((system for system in systems if system.scores and not system.row.joint), None)
    tests: dict[str, Significance] = {}
    for system in systems:
        seeds = sorted(system.scores.keys() & best.scores.keys()) if best and system is not best else []
        if best and len(seeds) > 1:
            effect = paired_effect([system.scores[seed] for seed in seeds], [best.scores[seed] for seed in seeds])
            tests[system.row.label] = Significance(against=best.row.label, seeds=tuple(seeds), effect=effect, p=None)
    corrected = holm([test.effect.p for test in tests.values()])
    return {label: replace(test, p=p) for (label, test), p in zip(tests.items(), corrected, strict=True)}


def _shared(runs: Sequence[Run]) -> tuple[Shared, ...]:
    holders: dict[tuple[int, str], list[str]] = defaultdict(list)
    for run in runs:
        for step in run.steps:
            holders[step.index, step.fingerprint].append(run.run)
    several = sorted((step, fingerprint, names) for (step, fingerprint), names in holders.items() if len(names) > 1)
    return tuple(Shared(step=step, fingerprint=name, runs=tuple(names)) for step, name, names in several)


def _title(run: Run) -> str:
    return f"{run.label}, joint" if run.joint else run.label


def system_settings(run: Run) -> dict[str, Any]:
    """By dotted name, the settings that make a row: all but the seed, the corpus, the compute and the store.

    Of the evaluation, only what changes the predictions counts. `optim.conlleval` is a setting of version 0.1. Settings
    that ledgers of earlier versions lack count where they mean something else than before.
    """
    apart = ("seed", "compute", "store", "eval", "scenario.corpus", "optim.conlleval")
    read_out = ("eval.decoding", "eval.threshold")
    return {
        name: value
        for name, value in flat(run.config).items()
        if not as_before(name, value) and (not is_of(name, apart) or (is_of(name, read_out) and value is not None))
    }


def is_of(name: str, sections: Collection[str]) -> bool:
    """Whether a setting, by its dotted name, is one of these or below one of them."""
    return any(f"{name}.".startswith(f"{section}.") for section in sections)


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _distinguishing(systems: Mapping[str, Run]) -> dict[str, dict[str, Any]]:
    """For each system, the settings that differ among the systems of its title."""
    settings: dict[str, dict[str, Any]] = {}
    by_title = sorted(systems, key=lambda key: _title(systems[key]))
    for _, namesakes in groupby(by_title, key=lambda key: _title(systems[key])):
        by_key = {key: system_settings(systems[key]) for key in namesakes}
        common = set.intersection(*({(name, _key(value)) for name, value in one.items()} for one in by_key.values()))
        for key, one in by_key.items():
            settings[key] = {name: value for name, value in one.items() if (name, _key(value)) not in common}
    return settings
