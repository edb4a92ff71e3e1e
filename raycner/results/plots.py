"""Figures of runs: curves, bars and heat-maps of F1, the terms of the loss over time, a teacher's entities."""

from collections.abc import Sequence
from functools import partial
from itertools import count, starmap
from statistics import fmean
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from raycner.results.comparison import Comparison, Row, Spread, spell, spread
from raycner.results.drawing import (
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
    legend,
)
from raycner.results.published import MEASURES, Measure, Published
from raycner.results.scores import Run, Step
from raycner.results.tables import figure, short, types_of

COLOURS, MARKERS = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY), "os^Dv<>P"
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)))
LONGEST_LABEL, LONGEST_TYPE = 54, 20


def curve(name: str, comparison: Comparison, measure: Measure, found: Published | None = None) -> Plot:
    """F1 after each step, a line a row with its deviation over seeds; published figures dotted."""
    seeds = max(len(row["seeds"]) for row in comparison["rows"])
    caption = f"{measure.capitalize()}-F1 on test after each step"
    caption += f"; mean over up to {seeds} seeds, shaded: standard deviation" if seeds > 1 else ""
    caption += (
        "; hollow and dotted: as published" if found and any(p["theirs"]["curve"] for p in found["pairs"]) else ""
    )
    return Plot(name, f"{caption}.", partial(_curve, comparison, measure, found))


def _curve(comparison: Comparison, measure: Measure, found: Published | None) -> Figure:
    rows = comparison["rows"]
    names = labels(rows)
    drawn, axes = canvas(2.3, len(rows))
    handles: list[Artist] = []
    for row, name, look in zip(rows, names, _looks(rows), strict=False):
        steps, points = [point["step"] + 1 for point in row["curve"]], [point[measure] for point in row["curve"]]
        means, off = [point["mean"] for point in points], [point["std"] or 0.0 for point in points]
        handles += axes.plot(steps, means, label=name, **look)
        if any(off):
            low, high = (
                [m - o for m, o in zip(means, off, strict=True)],
                [m + o for m, o in zip(means, off, strict=True)],
            )
            axes.fill_between(steps, low, high, color=look["color"], alpha=0.15, linewidth=0)
        for pair in found["pairs"] if found else ():
            if pair["row"] == row["label"] and (theirs := pair["theirs"]["curve"]):
                hollow = {**look, "linestyle": ":", "markerfacecolor": PAPER, "linewidth": 1.0}
                axes.plot(range(1, len(theirs[measure]) + 1), theirs[measure], **hollow)
    axes.set(xlabel="after step", ylabel=f"{measure}-F1 (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    legend(drawn, handles, names)
    return drawn


def retention(name: str, comparison: Comparison, runs: Sequence[Run]) -> Plot:
    """Macro-F1 over old and over new types, averaged over steps from the second on."""
    by_name = {run["run"]: run for run in runs}

    def over(row: Row, which: str) -> Spread | None:
        ended = [by_name[one] for one, seed in zip(row["runs"], row["seeds"], strict=True) if seed in row["finished"]]
        averages: list[Any] = [run["average"] for run in ended if run["average"]]
        return spread(average[which] for average in averages if average[which] is not None)

    rows = [row for row in comparison["rows"] if row["finished"]]
    values = {f"{which} types": [over(row, which) for row in rows] for which in ("old", "new")}
    caption = (
        "Macro-F1 over the types of earlier steps and of the step itself, averaged from step 2; finished runs only."
    )
    return Plot(name, caption, partial(bars, labels(rows), values, "macro-F1 (%)"))


def forgetting(name: str, comparison: Comparison) -> Plot:
    """What is lost of old types."""
    rows = [row for row in comparison["rows"] if row["finished"]]
    caption = "Forgetting: best F1 after an earlier step minus the final one, mean over old types; the less the better."
    return Plot(
        name, caption, partial(bars, labels(rows), {"": [row["forgetting"] for row in rows]}, "F1 lost (points)")
    )


def beside(name: str, found: Published) -> Plot:
    """Averages over steps, ours and theirs."""
    caption = "F1 averaged over steps: ours, filled, beside what is published, hollow."
    return Plot(name, caption, partial(_beside, found))


def _beside(found: Published) -> Figure:
    pairs = found["pairs"]
    drawn = Figure(figsize=(COLUMN, 0.8 + 0.24 * len(pairs)), layout="constrained")
    both = drawn.subplots(1, 2, sharey=True)
    for axes, measure, colour in zip(both, MEASURES, (BLUE, ORANGE), strict=True):
        for place, pair in enumerate(pairs):
            theirs, ours = pair["theirs"][measure], pair["ours"][measure] if pair["ours"] else None
            hollow = {"markerfacecolor": PAPER, "capsize": 0, "elinewidth": 0.8}
            axes.errorbar(theirs["mean"], place, xerr=theirs["std"], fmt="o", color=FAINT, **hollow)
            if ours:
                axes.plot([theirs["mean"], ours["mean"]], [place, place], color=RULE, zorder=0)
                axes.errorbar(ours["mean"], place, xerr=ours["std"], fmt="o", color=colour, elinewidth=0.8)
        axes.set(xlabel=f"{measure}-F1 (%)", ylim=(len(pairs) - 0.5, -0.5))
        axes.grid(axis="x")
    names = [f"{pair['theirs']['system']}, {pair['theirs']['by']}" for pair in pairs]
    both[0].set_yticks(range(len(pairs)), [short(name, 26) for name in names])
    return drawn


def heatmap(name: str, runs: Sequence[Run]) -> Plot:
    """F1 of every type after every step, means over the runs of one row."""
    seeds = f", mean over {len(runs)} seeds" if len(runs) > 1 else ""
    caption = f"F1 of each type after each step{seeds}, on test, in percent; bold: as the type is learned. "
    caption += "Lost: the best earlier F1 minus the last."
    return Plot(name, caption, partial(_heatmap, runs))


def _heatmap(runs: Sequence[Run]) -> Figure:
    plan, steps = runs[0]["plan"], max(len(run["steps"]) for run in runs)
    types = types_of(plan[:steps])
    cells = [[_mean([s["f1"].get(name) for s in _reached(runs, step)]) for step in range(steps)] for name in types]
    sums = [[_mean([s[kind] for s in _reached(runs, step)]) for step in range(steps)] for kind in ("macro", "micro")]
    lost = [_mean([run["forgetting"].get(name) for run in runs]) for name in types]
    names = [short(name, LONGEST_TYPE) for name in types]
    wide = 0.45 + 0.07 * max(map(len, [*names, "macro"])) + 0.36 * (steps + 1)
    drawn = Figure(figsize=(max(wide, COLUMN), 0.55 + 0.21 * (len(types) + 2.4)), layout="constrained")
    axes = drawn.add_subplot()
    height = len(types)
    places = [*range(height), height + 0.4, height + 1.4]
    shades = mpl.colormaps["Blues"]
    for place, row, name in zip(places, [*cells, *sums], [*types, "", ""], strict=True):
        for step, value in enumerate(row):
            if value is None:
                continue
            shade, bold = shades(0.04 + 0.88 * value / 100), name in plan[step]
            axes.add_patch(Rectangle((step + 0.02, place + 0.03), 0.96, 0.94, color=shade, linewidth=0))
            colour, weight = "#ffffff" if value > 58 else "#1f2328", "bold" if bold else "normal"
            axes.text(
                step + 0.5, place + 0.5, figure(value), ha="center", va="center", color=colour, weight=weight, size=7
            )
    for place, value in enumerate(lost):
        if steps > 1:
            axes.text(steps + 0.6, place + 0.5, figure(value), ha="center", va="center", color=FAINT, size=7)
    axes.set(xlim=(0, steps + (1.1 if steps > 1 else 0)), ylim=(height + 2.5, 0), xlabel="after step")
    axes.set_yticks([place + 0.5 for place in places], [*names, "macro", "micro"])
    ends = [(step + 0.5, str(step + 1)) for step in range(steps)] + ([(steps + 0.6, "lost")] if steps > 1 else [])
    axes.set_xticks([place for place, _ in ends], [said for _, said in ends])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return drawn


def terms(name: str, runs: Sequence[Run]) -> Plot:
    """Every term of the loss over time, and what it came to on dev; one small plot a term."""
    caption = "Loss terms and micro-F1 on dev over the epochs of all steps; each term is its own mean, unweighted"
    caption += f"; mean of {len(runs)} seeds, thin: each seed." if len(runs) > 1 else "."
    return Plot(name, caption, partial(_terms, runs))


def _terms(runs: Sequence[Run]) -> Figure:
    steps = max(len(run["steps"]) for run in runs)
    lengths = [max(len(step["epochs"]) for step in _reached(runs, number)) for number in range(steps)]
    starts = [sum(lengths[:number]) for number in range(steps)]
    kinds = list(
        dict.fromkeys(term for run in runs for step in run["steps"] for e in step["epochs"] for term in e["losses"])
    )
    drawn = Figure(figsize=(COLUMN, 0.5 + 0.72 * (len(kinds) + 1)), layout="constrained")
    panels = drawn.subplots(len(kinds) + 1, 1, sharex=True, squeeze=False)[:, 0]
    for axes, kind in zip(panels, [*kinds, None], strict=True):
        colour = GREEN if kind is None else BLUE
        for number, start in enumerate(starts):
            seeds = [_epochs(step, kind) for step in _reached(runs, number)]
            for seed in seeds if len(seeds) > 1 else ():
                axes.plot(range(start + 1, start + 1 + len(seed)), seed, color=colour, alpha=0.3, linewidth=0.6)
            mean = [_mean([seed[e] for seed in seeds if e < len(seed)]) for e in range(lengths[number])]
            spots: Sequence[Any] = [float("nan") if value is None else value for value in mean]
            marker = "." if len(spots) <= 12 else ""
            axes.plot(range(start + 1, start + 1 + len(spots)), spots, color=colour, marker=marker)
            if number:
                axes.axvline(start + 0.5, color=RULE, linewidth=0.8, zorder=0)
        axes.set_title("dev micro-F1 (%)" if kind is None else short(kind, 40), loc="left", pad=2, color=INK)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.margins(x=0.02, y=0.15)
    for start, length, number in zip(starts, lengths, range(steps), strict=True):
        middle = {"ha": "center", "va": "bottom", "color": FAINT, "size": 6.5}
        if length and steps > 1:
            transform = panels[0].get_xaxis_transform()
            panels[0].text(
                start + (length + 1) / 2,
                1.3,
                f"step {number + 1}" if steps < 7 else str(number + 1),
                transform=transform,
                **middle,
            )
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return drawn


def pseudo(name: str, runs: Sequence[Run]) -> Plot:
    """What became of a teacher's entities, step by step."""
    caption = (
        "Entities that the teacher found and those kept as labels; right: how many of the kept ones the corpus has"
    )
    caption += f", in percent; mean of {len(runs)} seeds." if len(runs) > 1 else ", in percent."
    return Plot(name, caption, partial(_pseudo, runs))


def _pseudo(runs: Sequence[Run]) -> Figure:
    asked = [
        (number, told) for number in range(max(len(run["steps"]) for run in runs)) if (told := _told(runs, number))
    ]
    places = [number + 1 for number, _ in asked]
    drawn, axes = canvas(1.9, 1)
    proposed, kept = ([_mean([seed[which] for seed in told]) or 0.0 for _, told in asked] for which in (0, 1))
    axes.bar(places, proposed, width=0.62, color=RULE)
    axes.bar(places, kept, width=0.62, color=BLUE)
    axes.set(xlabel="step", ylabel="entities", xlim=(places[0] - 0.6, places[-1] + 0.6))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    handles: list[Artist] = [Patch(color=RULE), Patch(color=BLUE)]
    names = ["found", "kept"]
    right = [_mean([seed[2] for seed in told]) for _, told in asked]
    if any(value is not None for value in right):
        other = axes.twinx()
        other.spines["right"].set_visible(True)
        known = [(place, value) for place, value in zip(places, right, strict=True) if value is not None]
        handles += other.plot(*zip(*known, strict=True), color=ORANGE, marker="o")
        other.set(ylim=(0, 104), ylabel="right (%)")
        names.append("right")
    legend(drawn, handles, names)
    return drawn


def labels(rows: Sequence[Row]) -> list[str]:
    """What figures call rows: the title and what parts it from its namesakes; a number where that is not enough."""
    names: list[str] = []
    for row in rows:
        name = short(f"{row['title']} {', '.join(starmap(_brief, row['settings'].items()))}".strip(), LONGEST_LABEL)
        alike = sum(known == name or known.startswith(f"{name} (") for known in names)
        names.append(f"{name} ({alike + 1})" if alike else name)
    return names


def _brief(key: str, value: Any) -> str:
    """A setting in a figure: a word speaks for itself."""
    return value if isinstance(value, str) else f"{key.rpartition('.')[2]}={spell(value)}"


def _looks(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A colour, a marker and a dash for each row; upper bounds in grey."""
    fresh = (
        {"color": COLOURS[n % len(COLOURS)], "marker": MARKERS[n % len(MARKERS)], "linestyle": DASHES[n // 6 % 3]}
        for n in count()
    )
    bound = {"color": FAINT, "marker": "", "linestyle": (0, (4, 2))}
    return [bound if row["joint"] else next(fresh) for row in rows]


def _reached(runs: Sequence[Run], number: int) -> list[Step]:
    """Step `number` of the runs that have done it."""
    return [run["steps"][number] for run in runs if number < len(run["steps"])]


def _epochs(step: Step, kind: str | None) -> list[float | None]:
    """A term of the loss, epoch by epoch; None: F1 on dev."""
    return [epoch["dev"] if kind is None else epoch["losses"].get(kind) for epoch in step["epochs"]]


def _told(runs: Sequence[Run], number: int) -> list[tuple[float, float, float | None]]:
    """Of each run whose teacher was asked in a step: entities found, kept, and the share that is right, in percent."""
    told: list[tuple[float, float, float | None]] = []
    for types in (step["pseudo"].values() for step in _reached(runs, number) if step["pseudo"]):
        judged = [(one["kept"], one["precision"]) for one in types if one["precision"] is not None]
        kept = sum(number for number, _ in judged)
        right = sum(number * share for number, share in judged) / kept if kept else None
        told.append((sum(one["proposed"] for one in types), sum(one["kept"] for one in types), right))
    return told


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
