"""The gap to the joint bound in two parts: what a system never learned, and what it forgot.

    gap(t) = joint(t) - final(t) = [joint(t) - learned(t)] + [learned(t) - final(t)]
                                      never learned             forgotten

For each type t: F1 of the joint run after the last step, of the system right after the step that brought t, and of the
system after the last step. F1 on test in percent. Types of the last step have nothing forgotten.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from raycner.analysis.comparison import Comparison
from raycner.analysis.orders import by_setting
from raycner.analysis.scores import Run


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The gap of one type, or the mean over types."""

    joint: float
    """F1 of the joint run after the last step."""
    learned: float
    """F1 right after the step that brought the type."""
    final: float
    """F1 after the last step."""

    @property
    def never_learned(self) -> float:
        return self.joint - self.learned

    @property
    def forgotten(self) -> float:
        return self.learned - self.final

    @property
    def total(self) -> float:
        return self.joint - self.final


@dataclass(frozen=True, kw_only=True)
class RowGap:
    """The gap of a system: means over the runs that have a joint run of the same order."""

    label: str
    bound: str
    """The label of the joint row."""
    runs: int
    overall: Gap
    """The mean over types."""
    types: Mapping[str, Gap]


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """The gaps of one comparison, or of several that differ by the order of their types."""

    comparison: int
    """The place of the first of these comparisons in the summary."""
    rows: tuple[RowGap, ...]
    """Smallest gap first."""


def gaps(comparisons: Sequence[Comparison], runs: Sequence[Run]) -> tuple[Gaps, ...]:
    """The gaps to the joint rows; a comparison without a finished one has none."""
    by_name = {run.run: run for run in runs}
    tables = (
        Gaps(comparison=comparisons.index(group[0]), rows=tuple(_rows(group, by_name)))
        for group in by_setting(comparisons, runs)
    )
    return tuple(table for table in tables if table.rows)


def _rows(group: Sequence[Comparison], by_name: Mapping[str, Run]) -> list[RowGap]:
    measured: dict[tuple[str, str], list[dict[str, Gap]]] = defaultdict(list)
    for comparison in group:
        runs = {row.label: map(by_name.__getitem__, row.runs) for row in comparison.rows}
        finished = {label: [run for run in of_row if run.finished] for label, of_row in runs.items()}
        for row in comparison.rows:
            if row.bound is not None:
                bounds = finished[row.bound]
                measured[row.label, row.bound] += [_by_type(run, bounds) for run in finished[row.label]]
    rows = [_row(label, bound, of_row) for (label, bound), of_row in measured.items() if of_row]
    return sorted(rows, key=lambda row: row.overall.total)


def _by_type(run: Run, bounds: Sequence[Run]) -> dict[str, Gap]:
    """The gaps of one run: to the joint run of its seed, or to the mean of the joint runs."""
    same = [bound for bound in bounds if bound.seed == run.seed] or bounds
    types: dict[str, Gap] = {}
    for step in run.steps:
        for name in step.learns:
            joint = [score for bound in same if (score := bound.steps[-1].f1.get(name)) is not None]
            learned, final = step.f1[name], run.steps[-1].f1[name]
            if joint and learned is not None and final is not None:
                types[name] = Gap(joint=fmean(joint), learned=learned, final=final)
    return types


def _row(label: str, bound: str, runs: Sequence[Mapping[str, Gap]]) -> RowGap:
    names = dict.fromkeys(name for run in runs for name in run)
    types = {name: _mean([run[name] for run in runs if name in run]) for name in names}
    return RowGap(label=label, bound=bound, runs=len(runs), overall=_mean(list(types.values())), types=types)


def _mean(values: Sequence[Gap]) -> Gap:
    return Gap(
        joint=fmean(gap.joint for gap in values),
        learned=fmean(gap.learned for gap in values),
        final=fmean(gap.final for gap in values),
    )
