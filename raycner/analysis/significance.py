"""Paired tests that a table asks for: a system against another, or against its control, run by run.

A pair is two runs of the same seed and the same order of types. The difference has the interval of the paired t
distribution; p is that of the sign-flip test, corrected by Holm for the number of comparisons in the table.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from raycner.analysis.comparison import Comparison, Row, is_of, system_settings
from raycner.analysis.orders import by_setting
from raycner.analysis.scores import Average, Run
from raycner.analysis.statistics import Effect, holm, paired_effect

Pair: TypeAlias = tuple[int, str]
"""The seed and the order of a run."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Two systems that a table compares, by the labels of their runs."""

    row: str
    against: str
    isolates: str = ""
    """What the difference shows the effect of, where `against` is a control."""
    differ_by: frozenset[str] | None = None
    """The settings and sections by which the two may differ, by dotted name; None: by any."""

    def compares(self, one: Run, other: Run) -> bool:
        """Whether two runs of these systems are alike in everything else."""
        if self.differ_by is None:
            return True
        ours, theirs = system_settings(one), system_settings(other)
        return all(
            is_of(name, self.differ_by) or (name in ours and name in theirs and ours[name] == theirs[name])
            for name in ours.keys() | theirs.keys()
        )


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """A row minus another, over the runs that both have finished."""

    row: str
    against: str
    isolates: str
    seeds: tuple[int, ...]
    orders: tuple[str, ...]
    micro: Effect
    """Of average micro-F1."""
    macro: Effect
    """Of average macro-F1."""
    final: Effect
    """Of macro-F1 after the last step."""
    p: float | None
    """Holm's correction of `macro.p`."""
    runs: tuple[str, ...]
    """The names of the runs of both."""


@dataclass(frozen=True, kw_only=True)
class PairedTests:
    """The tests of one table: of one comparison, or of several that differ by the order of their types."""

    comparison: int
    """The place of the first of these comparisons in the summary."""
    tests: tuple[PairedTest, ...]


def significance(
    comparisons: Sequence[Comparison], runs: Sequence[Run], contrasts: Sequence[Contrast]
) -> tuple[PairedTests, ...]:
    """The contrasts of which both rows are there, by table."""
    tables = (
        PairedTests(comparison=comparisons.index(group[0]), tests=tuple(_tests(group, runs, contrasts)))
        for group in by_setting(comparisons, runs)
    )
    return tuple(table for table in tables if table.tests)


def _tests(group: Sequence[Comparison], runs: Sequence[Run], contrasts: Sequence[Contrast]) -> list[PairedTest]:
    by_name = {run.run: run for run in runs}
    rows: dict[str, Row] = {}
    finished: dict[str, dict[Pair, Run]] = defaultdict(dict)
    for row in (row for comparison in group for row in comparison.rows if not row.joint):
        rows.setdefault(row.label, row)
        done = (run for run in map(by_name.__getitem__, row.runs) if run.finished and run.average)
        finished[row.label] |= {(run.seed, run.order): run for run in done}
    tests = [
        _test(contrast, one, other, pairs)
        for contrast in contrasts
        for one in rows.values()
        for other in rows.values()
        if (one.system, other.system) == (contrast.row, contrast.against)
        if one.read_out.get("numerics") == other.read_out.get("numerics")
        if (pairs := _pairs(contrast, finished[one.label], finished[other.label]))
    ]
    corrected = holm([test.macro.p for test in tests])
    return [replace(test, p=p) for test, p in zip(tests, corrected, strict=True)]


def _pairs(contrast: Contrast, ours: Mapping[Pair, Run], theirs: Mapping[Pair, Run]) -> dict[Pair, tuple[Run, Run]]:
    """The runs of the same seed and order, of which the contrast compares the one with the other."""
    shared = {pair: (ours[pair], theirs[pair]) for pair in sorted(ours.keys() & theirs.keys())}
    return {pair: runs for pair, runs in shared.items() if contrast.compares(*runs)}


def _test(contrast: Contrast, one: Row, other: Row, pairs: Mapping[Pair, tuple[Run, Run]]) -> PairedTest:
    ours, theirs = zip(*pairs.values(), strict=True)

    def effect(score: Callable[[Run], float]) -> Effect:
        return paired_effect([*map(score, ours)], [*map(score, theirs)])

    return PairedTest(
        row=one.label,
        against=other.label,
        isolates=contrast.isolates,
        seeds=tuple(sorted({seed for seed, _ in pairs})),
        orders=tuple(sorted({order for _, order in pairs})),
        micro=effect(lambda run: _average(run).micro),
        macro=effect(lambda run: _average(run).macro),
        final=effect(lambda run: run.steps[-1].macro),
        p=None,
        runs=tuple(run.run for run in (*ours, *theirs)),
    )


def _average(run: Run) -> Average:
    assert run.average is not None
    return run.average


def placed(comparison: Comparison, contrasts: Sequence[Contrast]) -> Comparison:
    """The comparison with each control below its system, and named as one."""
    controls = {contrast.against: contrast for contrast in contrasts if contrast.isolates}
    systems = {row.system for row in comparison.rows}
    below: dict[str, list[Row]] = defaultdict(list)
    for row in comparison.rows:
        contrast = controls.get(row.system)
        if contrast and contrast.row in systems:
            below[contrast.row].append(replace(row, control_of=contrast.row, isolates=contrast.isolates))
    own = [row for row in comparison.rows if not any(row.label == one.label for rows in below.values() for one in rows)]
    ordered: list[Row] = []
    for row in own:
        ordered += [row, *below.pop(row.system, [])]
    rest = [row for rows in below.values() for row in rows]
    return replace(comparison, rows=(*ordered, *rest))
