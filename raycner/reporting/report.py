"""Reports on a terminal: the scores of ledgers, and the outcome of a search."""

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.text import Text

from raycner.analysis.scores import scores
from raycner.analysis.summary import Summary, summary
from raycner.analysis.table import Table
from raycner.reporting.tables.gaps import gaps_tables
from raycner.reporting.tables.labels import runs_of
from raycner.reporting.tables.orders import orders_table
from raycner.reporting.tables.progressions import progressions_tables
from raycner.reporting.tables.published import UNKNOWN, published_tables
from raycner.reporting.tables.significance import significance_table
from raycner.reporting.terminal import renderer
from raycner.reporting.terminal.comparison_view import comparison_view
from raycner.reporting.terminal.run_view import run_view
from raycner.reporting.terminal.search_view import search_view
from raycner.storage.ledger import RunLedger
from raycner.storage.searches import SearchRecord
from raycner.storage.store import ObjectStore


def render(ledgers: Sequence[RunLedger], console: Console, *, details: bool = False) -> None:
    """Print the scores of ledgers."""
    show(summary(ledgers), console, details=details)


def show(summary: Summary, console: Console, *, details: bool = False) -> None:
    """Print a summary: the step matrix of a lone run, a comparison of several.

    With `details`, the step matrix of every run follows its comparison, with precision and recall after every step.
    """
    width = console.width
    for number, comparison in enumerate(summary.comparisons):
        rows = {run: row for row in comparison.rows for run in row.runs}
        runs = runs_of(list(rows), summary.runs)
        alone = len(runs) == 1
        if not alone:
            _print(comparison_view(comparison, runs, width), console)
        for run in runs if alone or details else ():
            _print(run_view(run, width, rows[run.run].settings, details=details), console)
        if summary.published is not None:
            tables = list(published_tables(summary.published[number], comparison))
            _print_tables(tables, console) if tables else _print(Text(f"{UNKNOWN}\n", style="dim"), console)
    _print_tables([orders_table(orders, summary.runs) for orders in summary.orders], console)
    if summary.progressions:
        _print_tables(list(progressions_tables(summary.progressions, summary.runs)), console)
    for gaps in summary.gaps:
        _print_tables(list(gaps_tables(gaps, summary, details=details)), console)
    _print_tables([significance_table(paired, summary) for paired in summary.significance or ()], console)


def render_search(search: SearchRecord, store: ObjectStore, console: Console) -> None:
    """Print the outcome of a search and the command that runs its winner."""
    winner = search.winner
    ledgers = [RunLedger.open(store, name) for name in {*winner.runs, *winner.baseline}] if winner else []
    _print(search_view(search, {ledger.run: scores(ledger) for ledger in ledgers}, console.width), console)
    if winner:
        console.print(winner.command, style="bold", markup=False, highlight=False, soft_wrap=True)


def _print_tables(tables: Sequence[Table], console: Console) -> None:
    for table in tables:
        _print(renderer.render(table, console.width), console)
        console.print()


def _print(view: RenderableType, console: Console) -> None:
    console.print(view, highlight=False)
