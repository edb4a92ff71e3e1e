"""Drift on the terminal."""

from rich.console import Group, RenderableType
from rich.text import Text

from raycner.analysis.drift import DriftReport
from raycner.reporting.drift_tables import new_types_table, priors_table, windows_table
from raycner.reporting.terminal.renderer import render


def drift_view(report: DriftReport, width: int) -> RenderableType:
    """All tables of a report, at most `width` characters wide."""
    tables = [windows_table(report), priors_table(report)]
    if any(window.new_types for window in report.windows):
        tables.append(new_types_table(report))
    notes = [Text(note, style="yellow") for note in report.notes]
    return Group(
        Text(report.model, style="bold"), *notes, *(part for table in tables for part in (Text(), render(table, width)))
    )
