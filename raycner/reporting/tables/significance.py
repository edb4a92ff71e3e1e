"""The table of paired differences: a system against another, and against its controls."""

from collections.abc import Mapping, Sequence

from raycner.analysis.formatting import many, p_value, signed
from raycner.analysis.provenance import provenance
from raycner.analysis.significance import PairedTest, PairedTests
from raycner.analysis.statistics import Effect, smallest_p
from raycner.analysis.summary import Summary
from raycner.analysis.table import Cell, Cells, Table, by_columns
from raycner.reporting.tables.labels import runs_of, title


def significance_table(paired: PairedTests, summary: Summary) -> Table:
    """One line a comparison, as the rows of the table ask for them."""
    tests, comparison = paired.tests, summary.comparisons[paired.comparison]
    read_outs = {row.label: row.read_out for row in comparison.rows}
    columns: list[tuple[str, Cells]] = [
        ("system - other", [_name(test, read_outs) for test in tests]),
        ("pairs", [str(test.macro.n) for test in tests]),
        ("average\nmicro", [_effect(test.micro) for test in tests]),
        ("average\nmacro", [_effect(test.macro) for test in tests]),
        ("p", [p_value(test.p) for test in tests]),
        ("final\nmacro", [_effect(test.final) for test in tests]),
    ]
    runs = runs_of([name for test in tests for name in test.runs], summary.runs)
    heading = f"{title(comparison)}: paired differences"
    return by_columns(heading, columns, notes=(_legend(tests), provenance(runs)))


def _name(test: PairedTest, read_outs: Mapping[str, Mapping[str, str]]) -> Cell:
    """The system, the row it is compared with, what the difference shows, and their read-outs where they differ."""
    other = f"- control: {test.against}" if test.isolates else f"- {test.against}"
    shows = (f"shows: {test.isolates}",) if test.isolates else ()
    ours, theirs = (read_outs.get(label, {}) for label in (test.row, test.against))
    names = [name for name in ours if name in theirs and ours[name] != theirs[name]]
    return Cell(test.row, details=(other, *shows, *(f"{name} {ours[name]} - {theirs[name]}" for name in names)))


def _effect(effect: Effect) -> Cell:
    if effect.low is None or effect.high is None:
        return Cell(signed(effect.mean))
    return Cell(signed(effect.mean), details=(f"[{signed(effect.low)}, {signed(effect.high)}]",))


def _legend(tests: Sequence[PairedTest]) -> str:
    """What the figures mean, and how small p can be."""
    least, most = min(test.macro.n for test in tests), max(test.macro.n for test in tests)
    parts = ["Points of F1 on test, mean over pairs of runs with the same seed and order"]
    if most > 1:
        number = sum(test.p is not None for test in tests)
        parts.append("in brackets the 95 % interval of the paired t distribution")
        parts.append(
            f"p: sign-flip test of average macro, corrected by Holm for {many(number, 'comparison')}; of "
            f"{_pairs(least, most)} none is below {smallest_p(most):.3g} before that correction"
        )
    else:
        parts.append("one pair has neither an interval nor a p")
    return "; ".join(parts) + "."


def _pairs(least: int, most: int) -> str:
    return many(most, "pair") if least == most else f"{least} to {most} pairs"
