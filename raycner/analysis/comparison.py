"""Runs of one scenario set side by side: means over seeds, the gap to the joint bound, what was trained only once.

Scores are those of `scores`: F1 on test, in percent. A row counts its finished runs only; None where it has none.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, stdev
from typing import Any, TypedDict

from scipy.stats import ttest_rel

from raycner.analysis.scores import Run, bounded, learns_tasks
from raycner.settings import spell


class Score(TypedDict):
    """A mean over runs, and what they vary by, if that is known."""

    mean: float
    std: float | None


class Spread(Score):
    """A score over seeds; `std` is the sample standard deviation (divisor n - 1; None for one seed)."""

    n: int


class Point(TypedDict):
    """A row's scores after one step, over those of its runs that have done the step, finished or not."""

    step: int
    micro: Spread
    macro: Spread
    tasks: Spread


class Significance(TypedDict):
    """A two-sided paired t-test of average macro-F1, over the seeds that two rows share."""

    against: str
    """The label of the other row."""
    seeds: list[int]
    p: float | None
    """None when the difference is the same for every seed: the test has nothing to say then."""


class Row(TypedDict):
    """Runs that differ only by seed; of two with the same seed, the one with more steps."""

    label: str
    """Unique in the comparison: `title` and `settings`."""
    title: str
    """The runs' label, and "joint" where that is their protocol."""
    settings: dict[str, Any]
    """By dotted name: what parts this row from others that would be called the same."""
    joint: bool
    runs: list[str]
    seeds: list[int]
    finished: list[int]
    """The seeds whose run is finished."""
    done: int
    """The fewest steps that any of its runs has."""
    average_micro: Spread | None
    average_macro: Spread | None
    average_tasks: Spread | None
    """SpanKL's Macro-F1: the mean over tasks, the types that one step brought, of micro-F1."""
    calibrated_micro: Spread | None
    """The average with new types' bias lowered, over those of its runs of which every step was calibrated."""
    calibrated_macro: Spread | None
    final_micro: Spread | None
    final_macro: Spread | None
    final_tasks: Spread | None
    forgetting: Spread | None
    """The mean over the types that are old in the last step."""
    interference: Spread | None
    """SpanKL's BI: the mean over tasks of micro-F1 after the last step minus the best after any."""
    gap_average: float | None
    """Average macro-F1 of the joint bound minus this row's; None without a bound."""
    gap_final: float | None
    gap_tasks: float | None
    """That of the mean over tasks, after the last step."""
    significance: Significance | None
    """Against the best row that is not joint; None for that row, and without two shared seeds."""
    curve: list[Point]


class Shared(TypedDict):
    """A step that several runs have under one fingerprint: it was trained once."""

    step: int
    fingerprint: str
    runs: list[str]


class Comparison(TypedDict):
    """Runs that learn the same in the same steps: best average macro-F1 first, rows without one last."""

    plan: list[list[str]]
    """The types that each step brings."""
    scenario: dict[str, Any]
    """As the first run states it; joint runs differ from it in the protocol."""
    rows: list[Row]
    shared: list[Shared]


def compare(runs: Sequence[Run]) -> list[Comparison]:
    """Runs that are tested alike, set side by side; comparisons come in the order of their first run.

    What makes them comparable is the content of the corpora, the types of each step, the protocol (a joint run bounds
    the others) and its test, whatever the sampling of slices, and wherever the files lay.
    """
    arenas: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        scenario, corpora = run["config"]["scenario"], [corpus["fingerprint"] for corpus in run["corpora"]]
        arenas[_key([run["plan"], corpora, bounded(scenario), scenario.get("test", "all")])].append(run)
    return [_comparison(rivals) for rivals in arenas.values()]


def setup(comparison: Comparison) -> str:
    """What SpanKL calls the setup of a comparison whose steps are tasks, as in "Split-All"; empty for any other."""
    scenario = comparison["scenario"]
    return f"{bounded(scenario).capitalize()}-{scenario['test'].capitalize()}" if learns_tasks(scenario) else ""


@dataclass(frozen=True)
class _Entry:
    """A row and the runs it stands for, by seed."""

    row: Row
    runs: dict[int, Run]

    @property
    def scores(self) -> dict[int, float]:
        """Average macro-F1 of the finished runs, by seed."""
        ended = {seed: run["average"] for seed, run in self.runs.items() if run["finished"]}
        return {seed: average["macro"] for seed, average in ended.items() if average}

    @property
    def first(self) -> Run:
        return next(iter(self.runs.values()))


def _comparison(runs: Sequence[Run]) -> Comparison:
    families: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run["seed"]):
        families[_family(run)].append(run)
    settings = _settings({family: members[0] for family, members in families.items()})
    entries = [_entry(members, settings[family]) for family, members in families.items()]
    entries.sort(key=lambda entry: fmean(entry.scores.values()) if entry.scores else -1.0, reverse=True)
    _measure_gaps(entries)
    _test_differences(entries)
    return {
        "plan": runs[0]["plan"],
        "scenario": dict(runs[0]["config"]["scenario"]),
        "rows": [entry.row for entry in entries],
        "shared": _shared(runs),
    }


def _entry(members: Sequence[Run], settings: dict[str, Any]) -> _Entry:
    runs = {run["seed"]: run for run in sorted(members, key=lambda run: (run["seed"], len(run["steps"])))}
    ended = [run for run in runs.values() if run["finished"] and run["steps"]]
    averages = [run["average"] for run in ended if run["average"]]
    calibrated = [average["calibrated"] for average in averages if average["calibrated"]]
    finals = [run["steps"][-1] for run in ended]
    row: Row = {
        "label": " ".join([_title(members[0]), *(f"{key}={spell(value)}" for key, value in settings.items())]),
        "title": _title(members[0]),
        "settings": settings,
        "joint": members[0]["joint"],
        "runs": [run["run"] for run in runs.values()],
        "seeds": list(runs),
        "finished": [run["seed"] for run in ended],
        "done": min(len(run["steps"]) for run in runs.values()),
        "average_micro": spread(average["micro"] for average in averages),
        "average_macro": spread(average["macro"] for average in averages),
        "average_tasks": spread(average["tasks"] for average in averages),
        "calibrated_micro": spread(read_out["micro"] for read_out in calibrated),
        "calibrated_macro": spread(read_out["macro"] for read_out in calibrated),
        "final_micro": spread(final["micro"] for final in finals),
        "final_macro": spread(final["macro"] for final in finals),
        "final_tasks": spread(final["tasks"] for final in finals),
        "forgetting": spread(run["mean_forgetting"] for run in ended if run["mean_forgetting"] is not None),
        "interference": spread(known for run in ended if (known := run["backward_transfer"]) is not None),
        "gap_average": None,
        "gap_final": None,
        "gap_tasks": None,
        "significance": None,
        "curve": list(_curve(list(runs.values()))),
    }
    return _Entry(row, runs)


def _curve(runs: Sequence[Run]) -> Iterator[Point]:
    for step in range(max(len(run["steps"]) for run in runs)):
        reached = [run["steps"][step] for run in runs if step < len(run["steps"])]
        micro, macro, tasks = (spread(one[score] for one in reached) for score in ("micro", "macro", "tasks"))
        assert micro
        assert macro
        assert tasks
        yield {"step": step, "micro": micro, "macro": macro, "tasks": tasks}


def _measure_gaps(entries: Sequence[_Entry]) -> None:
    """The bound of a row: the best joint row of the same model or, without one, the best joint row."""
    bounds = [entry for entry in entries if entry.row["joint"] and entry.row["finished"]]
    for entry in entries:
        if entry.row["joint"] or not bounds:
            continue
        alike = [bound for bound in bounds if bound.first["config"]["model"] == entry.first["config"]["model"]]
        bound = (alike or bounds)[0]
        entry.row["gap_average"] = _difference(bound.row["average_macro"], entry.row["average_macro"])
        entry.row["gap_final"] = _difference(bound.row["final_macro"], entry.row["final_macro"])
        entry.row["gap_tasks"] = _difference(bound.row["final_tasks"], entry.row["final_tasks"])


def _test_differences(entries: Sequence[_Entry]) -> None:
    rivals = [entry for entry in entries if entry.scores and not entry.row["joint"]]
    for entry in entries:
        if not rivals or entry is rivals[0]:
            continue
        best = rivals[0].scores
        seeds = sorted(entry.scores.keys() & best.keys())
        if len(seeds) < 2:
            continue
        p = paired_test([entry.scores[seed] for seed in seeds], [best[seed] for seed in seeds])
        entry.row["significance"] = {"against": rivals[0].row["label"], "seeds": seeds, "p": p}


def paired_test(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """p of a two-sided paired t-test; None when it has nothing to say: one pair, or the same difference in all."""
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    if len(differences) < 2 or max(differences) - min(differences) < 1e-9:
        return None
    return float(ttest_rel(ours, theirs).pvalue)


def _shared(runs: Sequence[Run]) -> list[Shared]:
    holders: dict[tuple[int, str], list[str]] = defaultdict(list)
    for run in runs:
        for step in run["steps"]:
            holders[step["index"], step["fingerprint"]].append(run["run"])
    held = sorted((step, fingerprint, names) for (step, fingerprint), names in holders.items() if len(names) > 1)
    return [{"step": step, "fingerprint": fingerprint, "runs": names} for step, fingerprint, names in held]


def spread(values: Iterable[float]) -> Spread | None:
    """The mean of values and their deviation; None where there are none."""
    values = list(values)
    if not values:
        return None
    return {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else None, "n": len(values)}


def _difference(bound: Spread | None, ours: Spread | None) -> float | None:
    return None if bound is None or ours is None else bound["mean"] - ours["mean"]


def _title(run: Run) -> str:
    return f"{run['label']}, joint" if run["joint"] else run["label"]


def _told(run: Run) -> dict[str, Any]:
    """The settings that make a row: not the seed, nor where the run was computed and stored.

    Of the evaluation, only what changes the predictions counts. `optim.conlleval` is a setting of version 0.1.
    """
    settings = {key: value for key, value in run["config"].items() if key not in ("seed", "compute", "store", "eval")}
    if "optim" in settings:
        settings["optim"] = {key: value for key, value in settings["optim"].items() if key != "conlleval"}
    evaluation = run["config"].get("eval", {})
    changed = {key: evaluation[key] for key in ("decoding", "threshold") if evaluation.get(key) is not None}
    return {**settings, "eval": changed} if changed else settings


def _family(run: Run) -> str:
    return _key([run["label"], _told(run)])


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _settings(families: Mapping[str, Run]) -> dict[str, dict[str, Any]]:
    """For each family, the settings that are not the same in all families of its title."""
    settings: dict[str, dict[str, Any]] = {}
    by_title = sorted(families, key=lambda family: _title(families[family]))
    for _, namesakes in groupby(by_title, key=lambda family: _title(families[family])):
        told = {family: dict(_dotted(_told(families[family]))) for family in namesakes}
        common = set.intersection(*({(key, _key(value)) for key, value in one.items()} for one in told.values()))
        for family, one in told.items():
            settings[family] = {key: value for key, value in one.items() if (key, _key(value)) not in common}
    return settings


def _dotted(config: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", value
