"""Figures of runs: curves, bars and heat maps of F1, the terms of the loss over time, pseudo-entities."""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate, chain, count, starmap
from statistics import fmean
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from raycner.analysis.comparison import Comparison, Point, Row
from raycner.analysis.formatting import PLUS_MINUS, figure, short
from raycner.analysis.published import MEASURES, Measure, Published
from raycner.analysis.scores import Run, Step, types_of
from raycner.analysis.statistics import Spread, spread
from raycner.reporting.html.figures import (
    AMBER,
    BLUE,
    COLUMN,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PAPER,
    PINK,
    RULE,
    SKY,
    Plot,
    bars,
    canvas,
    folded,
    legend,
    tip,
)
from raycner.settings import spell

COLOURS, MARKERS = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY), "os^Dv<>P"
DASHES = ("-", (0, (3, 1.2)), (0, (1.2, 1)))
LONGEST_LABEL, LONGEST_TYPE = 54, 20
MOST_THIN = 5
"""Seeds that have a line each, below that of their mean; of more, the mean alone is drawn."""


def curve(name: str, comparison: Comparison, measure: Measure, published: Published | None = None) -> Plot:
    """F1 after each step, a line a row with its deviation over seeds; published figures dotted."""
    seeds = max(len(row.seeds) for row in comparison.rows)
    caption = f"{measure.capitalize()}-F1 on test after each step"
    caption += f"; mean over up to {seeds} seeds, shaded: standard deviation" if seeds > 1 else ""
    if published and any(pair.row and pair.theirs.curve for pair in published.pairs):
        caption += "; hollow and dotted: as published"
    return Plot(name, f"{caption}.", partial(_curve, comparison, measure, published))


def _curve(comparison: Comparison, measure: Measure, published: Published | None) -> Figure:
    rows = comparison.rows
    picture, axes = canvas(2.3, len(rows))
    handles: list[Artist] = []
    for row, look in zip(rows, _looks(rows), strict=False):
        points = [_score(point, measure) for point in row.curve]
        steps = [point.step + 1 for point in row.curve]
        handles += axes.plot(steps, [point.mean for point in points], **look)
        for step, point in zip(steps, points, strict=True):
            tip(axes, step, point.mean, f"{row.label}, step {step}: {_spelled(point)}")
        low, high = ([point.mean + side * (point.std or 0.0) for point in points] for side in (-1, 1))
        axes.fill_between(steps, low, high, color=look["color"], alpha=0.15, linewidth=0)
        for pair in published.pairs if published else ():
            if pair.row == row.label and (theirs := pair.theirs.curve):
                hollow = {**look, "linestyle": ":", "markerfacecolor": PAPER, "linewidth": 1.0}
                axes.plot(range(1, len(theirs[measure]) + 1), theirs[measure], **hollow)
    axes.set(xlabel="after step", ylabel=f"{measure}-F1 (%)")
    axes.set_ylim(0, max(1.0, 1.06 * axes.dataLim.y1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    legend(picture, handles, labels(rows))
    return picture


def retention(name: str, comparison: Comparison, runs: Sequence[Run]) -> Plot:
    """Macro-F1 over old and over new types, averaged over steps from the second on."""
    by_name = {run.run: run for run in runs}

    def over(row: Row, which: str) -> Spread | None:
        finished = [by_name[one] for one, seed in zip(row.runs, row.seeds, strict=True) if seed in row.finished]
        return spread(getattr(run.average, which) for run in finished if run.average)

    rows = [row for row in comparison.rows if row.finished]
    values = {f"{which} types": [over(row, which) for row in rows] for which in ("old", "new")}
    caption = "Macro-F1 over the types of earlier steps and of the step itself, averaged from step 2; finished runs."
    return Plot(name, caption, partial(bars, labels(rows), values, "macro-F1 (%)"))


def forgetting(name: str, comparison: Comparison) -> Plot:
    """The F1 that old types lost."""
    rows = [row for row in comparison.rows if row.finished]
    caption = "Forgetting: best F1 after an earlier step minus the final one, mean over old types; lower is better."
    lost = {"": [row.forgetting for row in rows]}
    return Plot(name, caption, partial(bars, labels(rows), lost, "F1 lost (points)"))


def forgetting_by_type(name: str, comparison: Comparison, runs: Sequence[Run]) -> Plot:
    """What each system lost of each old type."""
    caption = "Points of F1 that each old type lost: its best score after an earlier step minus the final one. "
    return Plot(name, f"{caption}Mean over seeds; finished runs.", partial(_forgetting_by_type, comparison, runs))


def _forgetting_by_type(comparison: Comparison, runs: Sequence[Run]) -> Figure:
    by_name = {run.run: run for run in runs}
    rows = [row for row in comparison.rows if row.finished]
    finished = [
        [by_name[one] for one, seed in zip(row.runs, row.seeds, strict=True) if seed in row.finished] for row in rows
    ]
    types = types_of(comparison.plan[:-1])
    names = [folded(name) for name in labels(rows)]
    margin = 0.07 * max(len(line) for name in names for line in name.split("\n"))
    tall = 0.24 * sum(max(1.0, 0.75 * (name.count("\n") + 1)) for name in names)
    head = 0.25 + 0.065 * max(len(short(name, LONGEST_TYPE)) for name in types)
    picture = Figure(figsize=(max(COLUMN, margin + 0.42 * len(types)), head + tall), layout="constrained")
    axes = picture.add_subplot()
    for top, of_row in enumerate(finished):
        for left, name in enumerate(types):
            lost = _mean([run.forgetting.get(name) for run in of_row])
            if lost is not None:
                _shaded(axes, left, top, max(lost, 0.0), figure(lost), "Oranges")
    axes.set(xlim=(0, len(types)), ylim=(len(rows), 0))
    axes.set_yticks([top + 0.5 for top in range(len(rows))], names)
    axes.xaxis.tick_top()
    axes.set_xticks([left + 0.5 for left in range(len(types))], [short(n, LONGEST_TYPE) for n in types], rotation=90)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return picture


def cost(name: str, comparison: Comparison, runs: Sequence[Run]) -> Plot:
    """Minutes of training per run, and what they bought."""
    caption = (
        "Average macro-F1 against minutes of training, a point a row; steps that another run trained count here too."
    )
    return Plot(name, caption, partial(_cost, comparison, runs))


def _cost(comparison: Comparison, runs: Sequence[Run]) -> Figure:
    by_name = {run.run: run for run in runs}
    rows = [row for row in comparison.rows if row.average_macro]
    picture, axes = canvas(2.3, len(rows))
    handles: list[Artist] = []
    for row, look in zip(rows, _looks(rows), strict=False):
        assert row.average_macro
        minutes = (
            fmean(by_name[one].seconds for one, s in zip(row.runs, row.seeds, strict=True) if s in row.finished) / 60
        )
        marker = look["marker"] or "s"
        handles += axes.plot([minutes], [row.average_macro.mean], color=look["color"], marker=marker, linestyle="")
        tip(axes, minutes, row.average_macro.mean, f"{row.label}: {_spelled(row.average_macro)} in {minutes:.1f} min")
    axes.set(xlabel="minutes of training per run", ylabel="average macro-F1 (%)")
    axes.set(xlim=(0, 1.1 * axes.dataLim.x1), ylim=(0, 1.1 * axes.dataLim.y1 or 1))
    axes.grid()
    legend(picture, handles, labels(rows))
    return picture


def precision_recall(name: str, runs: Sequence[Run]) -> Plot:
    """Precision against recall of every type after the last step."""
    caption = "Precision against recall of each type after the last step, on test; the curves join points of equal F1. "
    caption += "Right of the diagonal a type is predicted too often, left of it too rarely"
    return Plot(
        name,
        f"{caption}; mean of {len(runs)} seeds." if len(runs) > 1 else f"{caption}.",
        partial(_precision_recall, runs),
    )


def _precision_recall(runs: Sequence[Run]) -> Figure:
    last = [run.steps[-1] for run in runs]
    types = types_of(runs[0].plan[: len(runs[0].steps)])
    picture = Figure(figsize=(COLUMN, COLUMN), layout="constrained")
    axes = picture.add_subplot()
    for f1 in (20, 40, 60, 80):
        curve = _points_of_equal_f1(f1)
        axes.plot(*zip(*curve, strict=True), color=RULE, linewidth=0.8, zorder=0)
        axes.annotate(f"F1 {f1}", curve[-1], (-2, 2), textcoords="offset points", size=6, color=FAINT, ha="right")
    axes.plot([0, 100], [0, 100], color=RULE, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    new = set(runs[0].plan[len(runs[0].steps) - 1])
    for kind in types:
        precision, recall = (
            _mean([getattr(step, which).get(kind) for step in last]) for which in ("precision", "recall")
        )
        if precision is None or recall is None:
            continue
        axes.plot([recall], [precision], marker="o", color=ORANGE if kind in new else BLUE, linestyle="")
        axes.annotate(short(kind, 14), (recall, precision), (4, 3), textcoords="offset points", size=6.5)
        tip(axes, recall, precision, f"{kind}: precision {figure(precision)}, recall {figure(recall)}")
    axes.set(xlabel="recall (%)", ylabel="precision (%)", xlim=(0, 104), ylim=(0, 104), aspect="equal")
    handles: list[Artist] = [Line2D([], [], color=c, marker="o", linestyle="") for c in (BLUE, ORANGE)]
    legend(picture, handles, ["old type", "type of the last step"])
    return picture


def _points_of_equal_f1(f1: float) -> list[tuple[float, float]]:
    """Recall R and precision P = F1 R / (2 R - F1), in percent, from P = 100 to R = 100."""
    lowest = 100 * f1 / (200 - f1)
    recall = [lowest + (100 - lowest) * place / 60 for place in range(61)]
    return [(r, f1 * r / (2 * r - f1)) for r in recall]


def published(name: str, published: Published) -> Plot:
    """Averages over steps, ours and theirs."""
    caption = "F1 averaged over steps: ours, filled; published, hollow."
    return Plot(name, caption, partial(_published, published))


def _published(published: Published) -> Figure:
    pairs = published.pairs
    picture = Figure(figsize=(COLUMN, 0.8 + 0.24 * len(pairs)), layout="constrained")
    both = picture.subplots(1, 2, sharey=True)
    for axes, measure, colour in zip(both, MEASURES, (BLUE, ORANGE), strict=True):
        for place, pair in enumerate(pairs):
            theirs, ours = pair.theirs.score(measure), pair.ours[measure] if pair.ours else None
            hollow = {"markerfacecolor": PAPER, "capsize": 0, "elinewidth": 0.8}
            axes.errorbar(theirs.mean, place, xerr=theirs.std, fmt="o", color=FAINT, **hollow)
            if ours:
                axes.plot([theirs.mean, ours.mean], [place, place], color=RULE, zorder=0)
                axes.errorbar(ours.mean, place, xerr=ours.std, fmt="o", color=colour, elinewidth=0.8)
        axes.set(xlabel=f"{measure}-F1 (%)", ylim=(len(pairs) - 0.5, -0.5))
        axes.set_xlim(0, 100)
        axes.grid(axis="x")
    names = [f"{pair.theirs.system}, {pair.theirs.by}" for pair in pairs]
    both[0].set_yticks(range(len(pairs)), [short(name, 26) for name in names])
    return picture


def heatmap(name: str, runs: Sequence[Run]) -> Plot:
    """F1 of every type after every step, means over the runs of one row."""
    seeds = f", mean over {len(runs)} seeds" if len(runs) > 1 else ""
    caption = f"F1 of each type after each step{seeds}, on test, in percent; bold: as the type is learned. "
    caption += "Lost: the best earlier F1 minus the last."
    return Plot(name, caption, partial(_heatmap, runs))


def _heatmap(runs: Sequence[Run]) -> Figure:
    plan, steps = runs[0].plan, max(len(run.steps) for run in runs)
    types = types_of(plan[:steps])
    names = [*(short(name, LONGEST_TYPE) for name in types), "macro", "micro"]
    tops = [*range(len(types)), len(types) + 0.4, len(types) + 1.4]
    wide = 0.45 + 0.07 * max(map(len, names)) + 0.36 * (steps + 1)
    picture = Figure(figsize=(max(wide, COLUMN), 0.55 + 0.21 * (len(types) + 2.4)), layout="constrained")
    axes = picture.add_subplot()
    for left in range(steps):
        reached = _reached(runs, left)
        for name, top in zip(types, tops, strict=False):
            _cell(axes, left, top, _mean([step.f1.get(name) for step in reached]), bold=name in plan[left])
        _cell(axes, left, tops[-2], _mean([step.macro for step in reached]))
        _cell(axes, left, tops[-1], _mean([step.micro for step in reached]))
    columns = {left + 0.5: str(left + 1) for left in range(steps)}
    if steps > 1:
        columns[steps + 0.6] = "lost"
        for name, top in zip(types, tops, strict=False):
            lost = figure(_mean([run.forgetting.get(name) for run in runs]))
            axes.text(steps + 0.6, top + 0.5, lost, ha="center", va="center", color=FAINT, size=7)
    axes.set(xlim=(0, max(columns) + 0.5), ylim=(tops[-1] + 1.1, 0), xlabel="after step")
    axes.set_yticks([top + 0.5 for top in tops], names)
    axes.set_xticks(list(columns), list(columns.values()))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return picture


def _cell(axes: Axes, left: float, top: float, score: float | None, *, bold: bool = False) -> None:
    """A score on a shade of its height; nothing where there is none."""
    if score is None:
        return
    _shaded(axes, left, top, score, figure(score), "Blues", bold=bold)


def _shaded(
    axes: Axes, left: float, top: float, percent: float, text: str, colours: str, *, bold: bool = False
) -> None:
    """A cell of a heat map: a text on a shade of this height."""
    shade, ink = mpl.colormaps[colours](0.04 + 0.88 * percent / 100), "#ffffff" if percent > 58 else "#1f2328"
    axes.add_patch(Rectangle((left + 0.02, top + 0.03), 0.96, 0.94, color=shade, linewidth=0))
    weight = "bold" if bold else "normal"
    axes.text(left + 0.5, top + 0.5, text, ha="center", va="center", color=ink, weight=weight, size=7)


def terms(name: str, runs: Sequence[Run]) -> Plot:
    """Every term of the loss over time, and F1 on dev; one small plot a term."""
    caption = "Loss terms and micro-F1 on dev over the epochs of all steps; each term is its own mean, unweighted"
    if len(runs) > 1:
        caption += f"; mean of {len(runs)} seeds{', thin: each seed' if len(runs) <= MOST_THIN else ''}"
    return Plot(name, f"{caption}.", partial(_terms, runs))


def _terms(runs: Sequence[Run]) -> Figure:
    steps = [_reached(runs, number) for number in range(max(len(run.steps) for run in runs))]
    lengths = [max(len(step.epochs) for step in reached) for reached in steps]
    starts = list(accumulate(lengths, initial=0))
    epochs = chain.from_iterable(step.epochs for reached in steps for step in reached)
    kinds = list(dict.fromkeys(term for epoch in epochs for term in epoch.losses))
    picture = Figure(figsize=(COLUMN, 0.5 + 0.72 * (len(kinds) + 1)), layout="constrained")
    panels = picture.subplots(len(kinds) + 1, 1, sharex=True, squeeze=False)[:, 0]
    for axes, kind in zip(panels, [*kinds, None], strict=True):
        for start, reached in zip(starts, steps, strict=False):
            _draw_epochs(axes, start + 1, [_epochs(step, kind) for step in reached], BLUE if kind else GREEN)
        for start in starts[1:-1]:
            axes.axvline(start + 0.5, color=RULE, linewidth=0.8, zorder=0)
        axes.set_title(short(kind, 40) if kind else "dev micro-F1 (%)", loc="left", pad=2, color=INK)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.margins(x=0.02, y=0.15)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]) if kind and axes.dataLim.y0 < 0 else 0)
    look: dict[str, Any] = {"ha": "center", "va": "bottom", "color": FAINT, "size": 6.5}
    for number, (start, length) in enumerate(zip(starts, lengths, strict=False), start=1):
        label = f"step {number}" if len(steps) < 7 else str(number)
        panels[0].text(start + (length + 1) / 2, 1.3, label, transform=panels[0].get_xaxis_transform(), **look)
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return picture


def _draw_epochs(axes: Axes, start: int, seeds: Sequence[Sequence[float | None]], colour: str) -> None:
    """The values of the epochs of one step: the mean of seeds, and each of a few seeds thinly."""
    if 1 < len(seeds) <= MOST_THIN:
        for seed in seeds:
            axes.plot(range(start, start + len(seed)), _gaps(seed), color=colour, alpha=0.3, linewidth=0.6)
    longest = max(map(len, seeds))
    mean = [_mean([seed[epoch] for seed in seeds if epoch < len(seed)]) for epoch in range(longest)]
    axes.plot(range(start, start + longest), _gaps(mean), color=colour, marker="." if longest <= 12 else "")


def _gaps(values: Sequence[float | None]) -> list[float]:
    """NaN, where matplotlib leaves a gap."""
    return [float("nan") if value is None else value for value in values]


def pseudo(name: str, runs: Sequence[Run]) -> Plot:
    """The entities that a teacher proposed, those kept and their precision, step by step."""
    caption = "Entities that the teacher proposed and those kept as labels, with the precision of these"
    caption += f"; mean of {len(runs)} seeds." if len(runs) > 1 else "."
    return Plot(name, caption, partial(_pseudo, runs))


def _pseudo(runs: Sequence[Run]) -> Figure:
    numbers = range(max(len(run.steps) for run in runs))
    asked = [(number, totals) for number in numbers if (totals := _teacher_totals(runs, number))]
    places = [number + 1 for number, _ in asked]
    picture, axes = canvas(1.9, 1)
    proposed, accepted = ([_mean([seed[which] for seed in totals]) or 0.0 for _, totals in asked] for which in (0, 1))
    axes.bar(places, proposed, width=0.62, color=RULE)
    axes.bar(places, accepted, width=0.62, color=BLUE)
    axes.set(xlabel="step", ylabel="entities", xlim=(places[0] - 0.6, places[-1] + 0.6))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    handles: list[Artist] = [Patch(color=RULE), Patch(color=BLUE)]
    names = ["proposed", "kept"]
    precision = [_mean([seed[2] for seed in totals]) for _, totals in asked]
    if any(value is not None for value in precision):
        other = axes.twinx()
        other.spines["right"].set_visible(True)
        points = [(place, value) for place, value in zip(places, precision, strict=True) if value is not None]
        handles += other.plot(*zip(*points, strict=True), color=ORANGE, marker="o")
        other.set(ylim=(0, 104), ylabel="precision (%)")
        names.append("precision")
    legend(picture, handles, names)
    return picture


def labels(rows: Sequence[Row]) -> list[str]:
    """The names of rows in figures: title and distinguishing settings, with a number where names would repeat."""
    names: list[str] = []
    for row in rows:
        name = short(f"{row.title} {', '.join(starmap(_brief, row.settings.items()))}".strip(), LONGEST_LABEL)
        alike = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({alike + 1})" if alike else name)
    return names


def _brief(key: str, value: Any) -> str:
    """A setting in a figure: a word goes without its key."""
    return value if isinstance(value, str) else f"{key.rpartition('.')[2]}={spell(value)}"


def _spelled(score: Spread) -> str:
    return figure(score.mean) + (f"{PLUS_MINUS}{score.std:.1f}" if score.std is not None else "")


def _score(point: Point, measure: Measure) -> Spread:
    return point.micro if measure == "micro" else point.macro


def _looks(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A colour, a marker and a dash for each row; upper bounds in grey."""
    fresh = (
        {"color": COLOURS[n % len(COLOURS)], "marker": MARKERS[n % len(MARKERS)], "linestyle": DASHES[n // 6 % 3]}
        for n in count()
    )
    bound = {"color": FAINT, "marker": "", "linestyle": (0, (4, 2))}
    return [bound if row.joint else next(fresh) for row in rows]


def _reached(runs: Sequence[Run], number: int) -> list[Step]:
    """Step `number` of the runs that have done it."""
    return [run.steps[number] for run in runs if number < len(run.steps)]


def _epochs(step: Step, kind: str | None) -> list[float | None]:
    """A term of the loss, epoch by epoch; None: F1 on dev."""
    return [epoch.dev if kind is None else epoch.losses.get(kind) for epoch in step.epochs]


def _teacher_totals(runs: Sequence[Run], number: int) -> list[tuple[float, float, float | None]]:
    """Of each run with a teacher in a step: entities proposed, entities kept, and the precision of these in percent."""
    totals: list[tuple[float, float, float | None]] = []
    for types in (step.pseudo.values() for step in _reached(runs, number) if step.pseudo):
        judged = [(one.kept, one.precision) for one in types if one.precision is not None]
        accepted = sum(number for number, _ in judged)
        precision = sum(number * share for number, share in judged) / accepted if accepted else None
        totals.append((sum(one.proposed for one in types), sum(one.kept for one in types), precision))
    return totals


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return fmean(numbers) if numbers else None
