"""What a person takes away from ledgers: one document for programs, tables for the terminal.

The document (schema 1) is what `raycner report --json` prints:

    {"schema": 1, "runs": [Run, ...], "comparisons": [Comparison, ...]}

and, where it was asked for, "published": [Published, ...], one for each comparison, and "duels": [Duel, ...]; where
tasks were learned in several orders, "orders": [Orders, ...]; of progressive runs, "progressions": [Progression, ...].
Every key of a Run and its Steps is named in `scores`, of a Comparison and its Rows in `comparison`. Scores are F1 on
test, in percent and unrounded; null where there is nothing to say. A key may be added under the same schema number; a
key that changes or goes raises it.
"""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

from rich.console import Console, RenderableType
from rich.text import Text

from raycner.results import markdown
from raycner.results.beside import published_view
from raycner.results.comparison import Comparison, compare
from raycner.results.duels import Duel, duels, sentence
from raycner.results.matrix import run_view
from raycner.results.orders import Orders, orders_view, over_orders
from raycner.results.progressions import Progression, progressions, progressions_view
from raycner.results.published import Published, published
from raycner.results.ranking import comparison_view
from raycner.results.scores import Run, scores
from raycner.results.searches import search_view
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
    duels: NotRequired[list[Duel]]
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


def add_duels(found: Summary, rivals: Mapping[str, str]) -> None:
    """Test rows against the rows that `rivals` names for them, both by label."""
    found["duels"] = [duel for comparison in found["comparisons"] for duel in duels(comparison, found["runs"], rivals)]


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
    for duel in found.get("duels", ()):
        _show(Text(sentence(duel)), console)


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
    if found.get("duels"):
        parts.append(markdown.fights(found["duels"]))
    return "\n\n".join(parts)


def _show(view: RenderableType, console: Console) -> None:
    console.print(view, highlight=False)
