"""Figures of an evaluation: F1 of each type with its interval, and the confusion of types."""

from collections.abc import Sequence
from functools import partial

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from raycner.analysis.formatting import short
from raycner.data.entities import OUTSIDE
from raycner.evaluation.bootstrap import Interval
from raycner.evaluation.confusion import flows
from raycner.evaluation.entity_report import EntityEvaluation, EntityReport
from raycner.reporting.html.figures import AMBER, BLUE, COLUMN, INK, Plot

LONGEST_TYPE = 20


def f1_plot(name: str, report: EntityReport) -> Plot:
    """F1 of each type, and micro and macro F1."""
    interval = "; bars: 95 % bootstrap intervals over sentences" if report.intervals else ""
    return Plot(name, f"F1 by type, in percent{interval}.", partial(_f1, report))


def _f1(report: EntityReport) -> Figure:
    scores, intervals = report.scores, report.intervals
    rows: list[tuple[str, float, Interval | None]] = [
        (short(name, LONGEST_TYPE), score.f1, intervals.types.get(name) if intervals else None)
        for name, score in scores.types.items()
    ]
    rows.append(("micro", scores.micro.f1, intervals.micro if intervals else None))
    rows.append(("macro", scores.macro.f1, intervals.macro if intervals else None))
    figure = Figure(figsize=(COLUMN, 0.6 + 0.2 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, (_, f1, interval) in enumerate(rows):
        axes.barh(place, 100 * f1, height=0.62, color=BLUE if place < len(scores.types) else AMBER)
        if interval:
            axes.plot([100 * interval.low, 100 * interval.high], [place, place], color=INK, linewidth=0.9)
        end = 100 * max(f1, interval.high if interval else 0.0)
        axes.annotate(f"{100 * f1:.1f}", (end, place), (3, 0), "data", "offset points", va="center", size=6.5)
    axes.set(xlabel="F1 (%)", xlim=(0, 112), ylim=(len(rows) - 0.5, -0.5))
    axes.set_xticks(range(0, 101, 20))
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    return figure


def confusion_plot(name: str, report: EntityReport) -> Plot:
    """Gold types down, predicted types across."""
    caption = "Entities by gold type (down) and predicted type (across); shade: share of the row. "
    caption += f"{OUTSIDE}: missed or spurious; the diagonal includes wrong boundaries."
    names = [short(kind, LONGEST_TYPE) for kind in (*report.confusion.types, OUTSIDE)]
    return Plot(name, caption, partial(_matrix, names, report.confusion.matrix()))


def flows_plot(name: str, evaluation: EntityEvaluation) -> Plot:
    """The step of the gold type down, the step of the predicted type across."""
    caption = (
        "Entities by the step of their gold type (down) and of the predicted type (across); shade: share of the row. "
    )
    caption += f"Right of the diagonal: old types taken for newer ones. {OUTSIDE}: missed or spurious."
    names = [*(f"step {number}" for number in range(1, len(evaluation.steps) + 1)), OUTSIDE]
    return Plot(name, caption, partial(_matrix, names, flows(evaluation.report.confusion, evaluation.steps)))


def _matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Figure:
    margin = 0.35 + 0.06 * max(map(len, names))
    size = margin + 0.33 * len(names)
    figure = Figure(figsize=(max(size, COLUMN), margin + 0.24 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    for top, row in enumerate(counts):
        total = max(1, sum(row))
        for left, number in enumerate(row):
            if not number:
                continue
            share = number / total
            axes.add_patch(
                Rectangle((left + 0.02, top + 0.03), 0.96, 0.94, color=mpl.colormaps["Blues"](0.04 + 0.88 * share))
            )
            ink = "#ffffff" if share > 0.58 else "#1f2328"
            axes.text(left + 0.5, top + 0.5, str(number), ha="center", va="center", color=ink, size=6.5)
    axes.set(xlim=(0, len(names)), ylim=(len(names), 0), xlabel="predicted", ylabel="gold")
    axes.set_xticks([left + 0.5 for left in range(len(names))], names, rotation=90)
    axes.set_yticks([top + 0.5 for top in range(len(names))], names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
