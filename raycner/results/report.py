"""What a person takes away from ledgers: one document for programs, tables for the terminal.

The document (schema 1) is what `raycner report --json` prints:

    {"schema": 1, "runs": [Run, ...], "comparisons": [Comparison, ...]}

Every key of a Run and its Steps is named in `scores`, of a Comparison and its Rows in `comparison`. Scores are F1 on
test, in percent and unrounded; null where there is nothing to say. A key may be added under the same schema number; a
key that changes or goes raises it.
"""

from collections.abc import Sequence
from typing import TypedDict

from rich.console import Console, RenderableType

from raycner.results.comparison import Comparison, compare
from raycner.results.matrix import run_view
from raycner.results.ranking import comparison_view
from raycner.results.scores import Run, scores
from raycner.storage.ledger import RunLedger

SCHEMA = 1


class Summary(TypedDict):
    """Every run by itself, in the order given, and the runs of each scenario side by side."""

    schema: int
    runs: list[Run]
    comparisons: list[Comparison]


def summary(ledgers: Sequence[RunLedger]) -> Summary:
    """What the ledgers say, as plain data that JSON can hold."""
    runs = [scores(ledger) for ledger in ledgers]
    return {"schema": SCHEMA, "runs": runs, "comparisons": compare(runs)}


def render(ledgers: Sequence[RunLedger], console: Console, *, details: bool = False) -> None:
    """Show ledgers on a terminal: the step matrix of a lone run, a comparison of several.

    With `details`, the step matrix of every run follows its comparison.
    """
    found = summary(ledgers)
    for comparison in found["comparisons"]:
        rows = {run: row for row in comparison["rows"] for run in row["runs"]}
        runs = [run for run in found["runs"] if run["run"] in rows]
        alone = len(runs) == 1
        if not alone:
            _show(comparison_view(comparison, runs, console.width), console)
        for run in runs if alone or details else ():
            _show(run_view(run, console.width, rows[run["run"]]["settings"]), console)


def _show(view: RenderableType, console: Console) -> None:
    console.print(view, highlight=False)
