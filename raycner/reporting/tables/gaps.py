"""The gap to the joint bound: what a system never learned, and what it forgot; over types, and by type."""

from collections.abc import Iterator

from raycner.analysis.formatting import figure, listed, short
from raycner.analysis.gaps import Gap, Gaps
from raycner.analysis.provenance import provenance
from raycner.analysis.summary import Summary
from raycner.analysis.table import Cell, Cells, Table, by_columns, by_rows, score_cell
from raycner.reporting.tables.labels import row_cell, runs_of, title, usual_note, usual_read_out

LEGEND = (
    "F1 on test in percent, mean over types. joint: the joint run after the last step; learned: the system right after "
    "the step that brought the type; final: after the last step. gap = joint - final = never learned (joint - learned) "
    "+ forgotten (learned - final)."
)
BY_TYPE = (
    "In points of F1. never learned: joint minus right after the type's own step; forgotten: that minus the final."
)
LONGEST_TYPE = 14


def gaps_tables(gaps: Gaps, summary: Summary, *, details: bool = False) -> Iterator[Table]:
    """The gap of every system, smallest first; with `details`, also by type."""
    yield _overall(gaps, summary)
    if details:
        yield by_type(gaps)


def _overall(gaps: Gaps, summary: Summary) -> Table:
    rows, comparison = gaps.rows, summary.comparisons[gaps.comparison]
    by_label = {row.label: row for row in comparison.rows}
    usual = usual_read_out(row.read_out for row in comparison.rows)
    columns: list[tuple[str, Cells]] = [
        (
            "system",
            [row_cell(by_label[row.label], usual) if row.label in by_label else Cell(row.label) for row in rows],
        ),
        ("runs", [str(row.runs) for row in rows]),
        ("joint", [score_cell(row.overall.joint) for row in rows]),
        ("learned", [score_cell(row.overall.learned) for row in rows]),
        ("final", [score_cell(row.overall.final) for row in rows]),
        ("never\nlearned", [figure(row.overall.never_learned) for row in rows]),
        ("\nforgotten", [figure(row.overall.forgotten) for row in rows]),
        ("\ngap", [figure(row.overall.total) for row in rows]),
    ]
    labels = {label for row in rows for label in (row.label, row.bound)}
    names = [name for one in summary.comparisons for row in one.rows if row.label in labels for name in row.runs]
    notes = (LEGEND, *usual_note(usual), f"{_bounds(gaps)} {provenance(runs_of(names, summary.runs))}")
    return by_columns(f"{title(comparison)}: gap to the joint bound", columns, notes=notes)


def by_type(gaps: Gaps) -> Table:
    """Two lines a system, a column a type."""
    types = list(dict.fromkeys(name for row in gaps.rows for name in row.types))

    def points(gap: Gap | None, part: str) -> str:
        return figure(getattr(gap, part) if gap else None)

    parts = {"never learned": "never_learned", "forgotten": "forgotten"}
    rows = [
        [row.label if place == 0 else "", part, *(points(row.types.get(name), field) for name in types)]
        for row in gaps.rows
        for place, (part, field) in enumerate(parts.items())
    ]
    headers = ["system", "", *(short(name, LONGEST_TYPE) for name in types)]
    starts = range(2, len(rows), 2)
    return by_rows("Gap to the joint bound by type", headers, rows, notes=(BY_TYPE,), lead=2, rules=starts)


def _bounds(gaps: Gaps) -> str:
    """Which joint row bounds which system, where there are several."""
    bounds = list(dict.fromkeys(row.bound for row in gaps.rows))
    if len(bounds) == 1:
        return f"Bound: {bounds[0]}."
    of_each = (f"{bound} of {listed([row.label for row in gaps.rows if row.bound == bound])}" for bound in bounds)
    return f"Bounds: {'; '.join(of_each)}."
