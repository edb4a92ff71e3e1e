"""Scores averaged over the orders in which the same types were learned: SpanKL's permutations, and those of FG-PG.

Draws of few-shot steps are averaged in the same way.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raycner.analysis.comparison import Comparison, Row, setup
from raycner.analysis.scores import Run, corpus_name, protocol_name
from raycner.analysis.statistics import Spread, spread


@dataclass(frozen=True, kw_only=True)
class OrderRow:
    """A system in several orders. Of every spread, `n` counts orders."""

    label: str
    title: str
    settings: Mapping[str, Any]
    read_out: Mapping[str, str]
    """As in `comparison`."""
    orders: tuple[str, ...]
    """Those in which it is finished; the others do not count."""
    seeds: tuple[int, ...]
    """Those that are finished in any order."""
    average: Spread
    """Of the mean over tasks after each step."""
    final: Spread
    average_micro: Spread
    average_macro: Spread
    final_micro: Spread
    final_macro: Spread
    final_micro_precision: Spread
    final_micro_recall: Spread
    final_macro_precision: Spread
    final_macro_recall: Spread
    forgetting: Spread | None
    backward_transfer: Spread | None
    """BWT, as in `comparison`; None when every order has one task."""
    backward_interference: Spread
    """SpanKL's BI, as in `comparison`."""
    gap: Spread | None
    """To the joint run of each order, of the mean over tasks after the last step."""
    gap_average: Spread | None
    """To the joint run of each order, of average macro-F1."""
    curve: tuple[Spread, ...]
    """The mean over tasks after each step."""


@dataclass(frozen=True, kw_only=True)
class Orders:
    """One setup in several orders."""

    corpus: str
    setup: str
    """SpanKL's name of it, as in "Split-All"; empty for FG-PG."""
    tasks: tuple[tuple[str, ...], ...]
    """In the first order."""
    orders: tuple[str, ...]
    rows: tuple[OrderRow, ...]
    """Highest first: of tasks by their final score, of FG-PG by average macro-F1."""
    runs: tuple[str, ...]
    """The names of the runs that were averaged."""

    @property
    def are_draws(self) -> bool:
        """Whether they are draws of few-shot steps, with one order of types."""
        return all(order.startswith("draw ") for order in self.orders)


def by_setting(comparisons: Sequence[Comparison], runs: Sequence[Run]) -> list[list[Comparison]]:
    """The comparisons in groups that differ only by the order in which the types are learned."""
    by_name = {run.run: run for run in runs}
    groups: dict[str, list[Comparison]] = defaultdict(list)
    for number, comparison in enumerate(comparisons):
        corpora = [corpus.fingerprint for corpus in by_name[comparison.rows[0].runs[0]].corpora]
        groups[f"{corpora} {_without_order(comparison) or number}"].append(comparison)
    return list(groups.values())


def _without_order(comparison: Comparison) -> str:
    """What the orders of one setting have in common; empty for a protocol in which the order makes the setting."""
    if setup(comparison):
        return f"{setup(comparison)} {sorted(sorted(task) for task in comparison.plan)}"
    if protocol_name(comparison.scenario) == "fg_pg":
        sizes = [len(names) for names in comparison.plan]
        return f"{sizes} {sorted(name for names in comparison.plan for name in names)}"
    if protocol_name(comparison.scenario) == "few_shot":
        settings = {name: value for name, value in comparison.scenario["protocol"].items() if name != "draw"}
        return f"{settings} {comparison.plan}"
    return ""


def over_orders(comparisons: Sequence[Comparison], runs: Sequence[Run]) -> tuple[Orders, ...]:
    """The comparisons that differ only by the order of their types, averaged over it."""
    by_name = {run.run: run for run in runs}
    groups = (
        {by_name[comparison.rows[0].runs[0]].order: comparison for comparison in reversed(group)}
        for group in by_setting(comparisons, runs)
    )
    return tuple(_orders(dict(sorted(by_order.items()))) for by_order in groups if len(by_order) > 1)


def _orders(by_order: Mapping[str, Comparison]) -> Orders:
    first = next(iter(by_order.values()))
    labels = dict.fromkeys(row.label for comparison in by_order.values() for row in comparison.rows)
    finished = {label: _finished(by_order, label) for label in labels}
    rows = [_row(rows) for rows in finished.values() if rows]
    return Orders(
        corpus=corpus_name(first.scenario),
        setup=setup(first),
        tasks=first.plan,
        orders=tuple(by_order),
        rows=tuple(sorted(rows, key=lambda row: (row.final if setup(first) else row.average_macro).mean, reverse=True)),
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
        read_out=rows[0].read_out,
        orders=tuple(sorted(by_order)),
        seeds=tuple(sorted({seed for row in rows for seed in row.finished})),
        average=_mean(row.average_tasks for row in rows),
        final=_mean(row.final_tasks for row in rows),
        average_micro=_mean(row.average_micro for row in rows),
        average_macro=_mean(row.average_macro for row in rows),
        final_micro=_mean(row.final_micro for row in rows),
        final_macro=_mean(row.final_macro for row in rows),
        final_micro_precision=_mean(row.final_micro_precision for row in rows),
        final_micro_recall=_mean(row.final_micro_recall for row in rows),
        final_macro_precision=_mean(row.final_macro_precision for row in rows),
        final_macro_recall=_mean(row.final_macro_recall for row in rows),
        forgetting=spread(row.forgetting.mean for row in rows if row.forgetting),
        backward_transfer=spread(row.backward_transfer.mean for row in rows if row.backward_transfer),
        backward_interference=_mean(row.backward_interference for row in rows),
        gap=spread(row.gap_tasks for row in rows),
        gap_average=spread(row.gap_average for row in rows),
        curve=tuple(_mean(row.curve[step].tasks for row in rows) for step in range(steps)),
    )


def _mean(scores: Iterable[Spread | None]) -> Spread:
    """Over orders, of the mean over seeds in each order."""
    mean = spread(score.mean for score in scores if score)
    assert mean
    return mean
