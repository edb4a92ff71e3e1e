"""Drift as a section of the HTML page."""

from textwrap import wrap

from raycner.analysis.drift import DriftReport
from raycner.analysis.table import by_rows
from raycner.reporting.drift_tables import new_types_table, priors_table, windows_table
from raycner.reporting.html.page import Section

HEADING = "How text has changed"
OPENING = "Text over time against the text that a step was trained on, without annotation."
EXAMPLE_WIDTH = 64


def drift_section(report: DriftReport, anchor: str = "drift") -> Section:
    """The tables of a report."""
    tables = [windows_table(report), priors_table(report)]
    parts = []
    if any(window.new_types for window in report.windows):
        table = new_types_table(report)
        rows = [["\n".join(wrap(cell.text, EXAMPLE_WIDTH)) for cell in row] for row in table.rows]
        wrapped = by_rows("", table.headers, rows, notes=table.notes, lead=table.lead)
        parts.append(Section(title=table.title, anchor=f"{anchor}-new-types", tables=[wrapped]))
    return Section(
        title=report.model,
        anchor=anchor,
        paragraphs=[f"{note}." for note in report.notes],
        tables=tables,
        parts=parts,
    )
