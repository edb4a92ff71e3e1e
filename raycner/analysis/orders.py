"""Scores averaged over the orders in which the same tasks were learned: SpanKL's permutations."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from raycner.analysis.comparison import Comparison, Row, Spread, setup, spread
from raycner.analysis.formatting import PLUS_MINUS, figure, many, spreads
from raycner.analysis.scores import Run, corpus_name

NOTE = (
    f"Micro-F1 on test in percent, mean over the tasks so far; mean{PLUS_MINUS}standard deviation over orders, each a "
    "mean over seeds; BI: micro of a task after the last step minus its best; gap: the joint run minus the row, after "
    "the last step."
)


class OrderRow(TypedDict):
    """A system in several orders."""

    label: str
    title: str
    settings: dict[str, Any]
    orders: list[str]
    """Those in which it is finished; the others do not count."""
    average: Spread
    """Of the mean over tasks after each step; here and below, `n` counts orders."""
    final: Spread
    interference: Spread
    gap: Spread | None
    """To the joint run of each order."""
    curve: list[Spread]


class Orders(TypedDict):
    """One setup in several orders."""

    corpus: str
    setup: str
    tasks: list[list[str]]
    """In the first order."""
    orders: list[str]
    rows: list[OrderRow]
    """Highest final score first."""


def over_orders(comparisons: Sequence[Comparison], runs: Sequence[Run]) -> list[Orders]:
    """The comparisons that differ only by the order of their tasks, taken together."""
    corpora = {run["run"]: str([corpus["fingerprint"] for corpus in run["corpora"]]) for run in runs}
    alike: dict[str, dict[str, Comparison]] = defaultdict(dict)
    for comparison in comparisons:
        if setup(comparison):
            tasks = sorted(sorted(task) for task in comparison["plan"])
            key = f"{setup(comparison)} {corpora[comparison['rows'][0]['runs'][0]]} {tasks}"
            alike[key].setdefault(comparison["scenario"]["permutation"], comparison)
    return [_orders(found) for found in alike.values() if len(found) > 1]


def _orders(found: Mapping[str, Comparison]) -> Orders:
    first = next(iter(found.values()))
    labels = dict.fromkeys(row["label"] for comparison in found.values() for row in comparison["rows"])
    rows: list[OrderRow] = []
    for label in labels:
        own = {
            order: row
            for order, comparison in found.items()
            for row in comparison["rows"]
            if row["label"] == label and row["finished"]
        }
        if own:
            rows.append(_row(own))
    return {
        "corpus": corpus_name(first["scenario"]),
        "setup": setup(first),
        "tasks": first["plan"],
        "orders": sorted(found),
        "rows": sorted(rows, key=lambda row: row["final"]["mean"], reverse=True),
    }


def _row(own: Mapping[str, Row]) -> OrderRow:
    rows = list(own.values())
    steps = min(len(row["curve"]) for row in rows)
    gaps = [row["gap_tasks"] for row in rows]
    return {
        "label": rows[0]["label"],
        "title": rows[0]["title"],
        "settings": rows[0]["settings"],
        "orders": sorted(own),
        "average": _mean([row["average_tasks"] for row in rows]),
        "final": _mean([row["final_tasks"] for row in rows]),
        "interference": _mean([row["interference"] for row in rows]),
        "gap": spread(gap for gap in gaps if gap is not None),
        "curve": [_mean([row["curve"][step]["tasks"] for row in rows]) for step in range(steps)],
    }


def _mean(scores: Sequence[Spread | None]) -> Spread:
    """Over orders, of what each order's mean over seeds is."""
    found = spread(score["mean"] for score in scores if score)
    assert found
    return found


def heading(found: Orders) -> str:
    """What was learned in which orders."""
    tasks = many(len(found["tasks"]), "task")
    return f"{found['corpus']}: {tasks}, {found['setup']}, over the orders {', '.join(found['orders'])}"


def columns(found: Orders) -> Iterator[tuple[str, list[str]]]:
    """The scores of all rows, column by column."""
    rows = found["rows"]
    yield "orders", [str(len(row["orders"])) for row in rows]
    for step in range(len(found["tasks"])):
        yield f"step {step + 1}", [figure(row["curve"][step]["mean"]) for row in rows]
    yield "average", spreads([row["average"] for row in rows])
    yield "final", spreads([row["final"] for row in rows])
    yield "BI", spreads([row["interference"] for row in rows])
    if any(row["gap"] for row in rows):
        yield "gap", spreads([row["gap"] for row in rows])
