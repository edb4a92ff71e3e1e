"""What a person takes away from ledgers: one document for programs, tables for the terminal.

The document (schema 1) is what `raycner report --json` prints:

    {"schema": 1, "runs": [Run, ...], "comparisons": [Comparison, ...]}

and, where it was asked for, "published": [Published, ...], one for each comparison, and "significance":
[PairedTest, ...]; where tasks were learned in several orders, "orders": [Orders, ...]; of progressive runs,
"progressions": [Progression, ...].
Every key of a Run and its Steps is named in `scores`, of a Comparison and its Rows in `comparison`. Scores are F1 on
test, in percent and unrounded; null where there is nothing to say. A key may be added under the same schema number; a
key that changes or goes raises it.
"""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

from rich.console import Console, RenderableType
from rich.text import Text

from raycner.analysis.comparison import Comparison, compare
from raycner.analysis.orders import Orders, over_orders
from raycner.analysis.progressions import Progression, progressions
from raycner.analysis.published import Published, published
from raycner.analysis.scores import Run, scores
from raycner.analysis.significance import PairedTest, sentence, significance
from raycner.reporting import markdown
from raycner.reporting.terminal.comparison_view import comparison_view
from raycner.reporting.terminal.orders_view import orders_view
from raycner.reporting.terminal.progressions_view import progressions_view
from raycner.reporting.terminal.published_view import published_view
from raycner.reporting.terminal.run_view import run_view
from raycner.reporting.terminal.search_view import search_view
from raycner.storage.ledger import RunLedger
from raycner.storage.searches import SearchRecord
from raycner.storage.store import ObjectStore

SCHEMA = 1


class Summary(TypedDict):
    """Every run by itself, in the order given, and the runs of each scenario side by side."""

    schema: int
    runs: list[Run]
    comparisons: list[Comparison]
    published: NotRequired[list[Published]]
    significance: NotRequired[list[PairedTest]]
    orders: NotRequired[list[Orders]]
    progressions: NotRequired[list[Progression]]


def summary(ledgers: Sequence[RunLedger], names: Mapping[str, str] | None = None) -> Summary:
    """What the ledgers say, as plain data that JSON can hold; `names` calls runs otherwise than by their method."""
    runs = [scores(ledger) for ledger in ledgers]
    for run in runs:
        run["label"] = (names or {}).get(run["run"], run["label"])
    found: Summary = {"schema": SCHEMA, "runs": runs, "comparisons": compare(runs)}
    if orders := over_orders(found["comparisons"], runs):
        found["orders"] = orders
    if progressed := progressions(found["comparisons"], runs):
        found["progressions"] = progressed
    return found


def add_published(found: Summary) -> None:
    """Set what is published of their settings beside the comparisons."""
    found["published"] = [published(comparison, found["runs"]) for comparison in found["comparisons"]]


def add_significance(found: Summary, rivals: Mapping[str, str]) -> None:
    """Test rows against the rows that `rivals` names for them, both by label."""
    found["significance"] = [
        paired_test
        for comparison in found["comparisons"]
        for paired_test in significance(comparison, found["runs"], rivals)
    ]


def render(ledgers: Sequence[RunLedger], console: Console, *, details: bool = False) -> None:
    """Show what ledgers say, and nothing beside it."""
    show(summary(ledgers), console, details=details)


def show(found: Summary, console: Console, *, details: bool = False) -> None:
    """Show results on a terminal: the step matrix of a lone run, a comparison of several.

    With `details`, the step matrix of every run follows its comparison.
    """
    for number, comparison in enumerate(found["comparisons"]):
        rows = {run: row for row in comparison["rows"] for run in row["runs"]}
        runs = [run for run in found["runs"] if run["run"] in rows]
        alone = len(runs) == 1
        if not alone:
            _show(comparison_view(comparison, runs, console.width), console)
        for run in runs if alone or details else ():
            _show(run_view(run, console.width, rows[run["run"]]["settings"]), console)
        if "published" in found:
            _show(published_view(found["published"][number], comparison, console.width), console)
    for orders in found.get("orders", ()):
        _show(orders_view(orders, console.width), console)
    if "progressions" in found:
        _show(progressions_view(found["progressions"], console.width), console)
    for paired_test in found.get("significance", ()):
        _show(Text(sentence(paired_test)), console)


def render_search(search: SearchRecord, store: ObjectStore, console: Console) -> None:
    """Show what a search has found."""
    winner = search.winner
    ledgers = [RunLedger.open(store, name) for name in {*winner.runs, *winner.baseline}] if winner else []
    _show(search_view(search, {ledger.run: scores(ledger) for ledger in ledgers}), console)
    if winner:
        console.print(winner.command, style="bold", markup=False, highlight=False, soft_wrap=True)


def as_markdown(found: Summary) -> str:
    """Comparisons, and whatever was added to them, as GitHub markdown."""
    parts: list[str] = []
    for number, comparison in enumerate(found["comparisons"]):
        parts.append(markdown.ranking(comparison, found["runs"]))
        if "published" in found:
            parts.append(markdown.published(found["published"][number]))
    parts += map(markdown.over_orders, found.get("orders", ()))
    if "progressions" in found:
        parts.append(markdown.progressive(found["progressions"]))
    if found.get("significance"):
        parts.append(markdown.fights(found["significance"]))
    return "\n\n".join(parts)


def _show(view: RenderableType, console: Console) -> None:
    console.print(view, highlight=False)
