"""A comparison on the terminal: the ranking, micro-F1 after each step, and what was trained only once."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from raycner.analysis.comparison import Comparison
from raycner.analysis.findings import comparison_findings
from raycner.analysis.scores import Run
from raycner.reporting.tables.comparison import curves, ranking, remarks
from raycner.reporting.tables.labels import title
from raycner.reporting.terminal.renderer import render


def comparison_view(comparison: Comparison, runs: Sequence[Run], width: int) -> RenderableType:
    """A comparison of `runs`."""
    return Group(
        Text(title(comparison), style="bold"),
        render(ranking(comparison, runs), width),
        Text(),
        render(curves(comparison), width),
        *map(Text, remarks(comparison, runs)),
        *map(Text, comparison_findings(comparison)),
        Text(),
    )
