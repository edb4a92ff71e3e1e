"""Scores averaged over the orders in which the same tasks were learned: SpanKL's permutations."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raycner.analysis.comparison import Comparison, Row, setup
from raycner.analysis.scores import Run, corpus_name
from raycner.analysis.statistics import Spread, spread


@dataclass(frozen=True, kw_only=True)
class OrderRow:
    """A system in several orders. Of every spread, `n` counts orders."""

    label: str
    title: str
    settings: Mapping[str, Any]
    orders: tuple[str, ...]
    """Those in which it is finished; the others do not count."""
    average: Spread
    """Of the mean over tasks after each step."""
    final: Spread
    backward_transfer: Spread | None
    """BWT, as in `comparison`; None when every order has one task."""
    backward_interference: Spread
    """SpanKL's BI, as in `comparison`."""
    gap: Spread | None
    """To the joint run of each order."""
    curve: tuple[Spread, ...]


@dataclass(frozen=True, kw_only=True)
class Orders:
    """One setup in several orders."""

    corpus: str
    setup: str
    tasks: tuple[tuple[str, ...], ...]
    """In the first order."""
    orders: tuple[str, ...]
    rows: tuple[OrderRow, ...]
    """Highest final score first."""
    runs: tuple[str, ...]
    """The names of the runs that were averaged."""


def over_orders(comparisons: Sequence[Comparison], runs: Sequence[Run]) -> tuple[Orders, ...]:
    """The comparisons that differ only by the order of their tasks, averaged over it."""
    corpora = {run.run: str([corpus.fingerprint for corpus in run.corpora]) for run in runs}
    groups: dict[str, dict[str, Comparison]] = defaultdict(dict)
    for comparison in comparisons:
        if setup(comparison):
            tasks = sorted(sorted(task) for task in comparison.plan)
            key = f"{setup(comparison)} {corpora[comparison.rows[0].runs[0]]} {tasks}"
            groups[key].setdefault(comparison.scenario["protocol"]["permutation"], comparison)
    return tuple(_orders(by_order) for by_order in groups.values() if len(by_order) > 1)


def _orders(by_order: Mapping[str, Comparison]) -> Orders:
    first = next(iter(by_order.values()))
    labels = dict.fromkeys(row.label for comparison in by_order.values() for row in comparison.rows)
    finished = {label: _finished(by_order, label) for label in labels}
    rows = [_row(rows) for rows in finished.values() if rows]
    return Orders(
        corpus=corpus_name(first.scenario),
        setup=setup(first),
        tasks=first.plan,
        orders=tuple(sorted(by_order)),
        rows=tuple(sorted(rows, key=lambda row: row.final.mean, reverse=True)),
        runs=tuple(run for rows in finished.values() for row in rows.values() for run in row.runs),
    )


def _finished(by_order: Mapping[str, Comparison], label: str) -> dict[str, Row]:
    """The finished rows of this label, by order."""
    return {
        order: row
        for order, comparison in by_order.items()
        for row in comparison.rows
        if row.label == label and row.finished
    }


def _row(by_order: Mapping[str, Row]) -> OrderRow:
    rows = list(by_order.values())
    steps = min(len(row.curve) for row in rows)
    return OrderRow(
        label=rows[0].label,
        title=rows[0].title,
        settings=rows[0].settings,
        orders=tuple(sorted(by_order)),
        average=_mean(row.average_tasks for row in rows),
        final=_mean(row.final_tasks for row in rows),
        backward_transfer=spread(row.backward_transfer.mean for row in rows if row.backward_transfer),
        backward_interference=_mean(row.backward_interference for row in rows),
        gap=spread(row.gap_tasks for row in rows),
        curve=tuple(_mean(row.curve[step].tasks for row in rows) for step in range(steps)),
    )


def _mean(scores: Iterable[Spread | None]) -> Spread:
    """Over orders, of the mean over seeds in each order."""
    mean = spread(score.mean for score in scores if score)
    assert mean
    return mean
