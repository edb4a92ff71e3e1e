"""Figures of searches: the scores of trials, by each setting and by all, and the trials between two objectives."""

import math
from collections.abc import Sequence
from functools import partial
from statistics import median

from matplotlib.artist import Artist
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from raycner.analysis.formatting import short
from raycner.analysis.statistics import Spread
from raycner.reporting.html.figures import BLUE, COLUMN, FAINT, INK, ORANGE, RULE, Plot, bars, canvas, legend, tip
from raycner.reporting.tables.search import pareto, scores_by_step
from raycner.settings import spell
from raycner.storage.searches import RoundRecord, SearchRecord, TrialRecord

MOST_SETTINGS = 8
"""Settings that have a panel or an axis."""
STATES = {"complete": BLUE, "pruned": FAINT, "failed": ORANGE}


def trials(name: str, search: SearchRecord, round_: RoundRecord) -> Plot:
    """Score against step for each trial of a round."""
    caption = "Score on dev against trial 0 after each step, in points of F1, a line a trial; bold: the best of them."
    return Plot(name, caption, partial(_trials, search, round_))


def _trials(search: SearchRecord, round_: RoundRecord) -> Figure:
    picture, axes = canvas(2.3, 1)
    axes.axhline(0, color=INK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    best = max(finished(round_), key=lambda trial: trial.values[0], default=None)
    for trial in round_.trials:
        scores = scores_by_step(trial)
        steps = range(1, len(scores) + 1)
        colour, bold = STATES[trial.state], trial is best
        axes.plot(steps, scores, color=colour, linewidth=2.0 if bold else 0.9, zorder=4 if bold else 2)
        end = "x" if trial.state == "failed" else "o"
        axes.plot(steps[-1:], scores[-1:], color=colour, marker=end, markersize=3, zorder=4)
    axes.set(xlabel="after step", ylabel=f"{search.objectives[0]} (points)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.04)
    axes.grid(axis="y")
    states = [state for state in STATES if any(trial.state == state for trial in round_.trials)]
    handles: list[Artist] = [Line2D([], [], color=STATES[state]) for state in states]
    handles.append(Line2D([], [], color=INK, linestyle=(0, (4, 2)), linewidth=0.8))
    legend(picture, handles, [*states, "trial 0"])
    return picture


def importances(name: str, round_: RoundRecord) -> Plot:
    """The importance of each setting."""
    shares = sorted(round_.importances.items(), key=lambda item: -item[1])
    values: dict[str, list[Spread | None]] = {"": [Spread(mean=share, std=None, n=1) for _, share in shares]}
    draw = partial(bars, [short(key, 34) for key, _ in shares], values, "share of importance", form=".2f")
    return Plot(name, "The share of the variance between trials that each setting explains.", draw)


def slices(name: str, round_: RoundRecord) -> Plot:
    """The score of each finished trial against each setting; one small plot a setting."""
    caption = "Score of the finished trials against each setting that was searched, the most important ones first."
    return Plot(name, caption, partial(_slices, round_))


def _slices(round_: RoundRecord) -> Figure:
    trials, names = finished(round_), searched(round_)
    across = min(2, len(names))
    down = -(-len(names) // across)
    picture = Figure(figsize=(COLUMN * across / 2 if across > 1 else COLUMN, 0.35 + 1.25 * down), layout="constrained")
    panels = picture.subplots(down, across, squeeze=False, sharey=True)
    for axes, name in zip(panels.flat, names, strict=False):
        places = positions(trials, name)
        for trial, place in zip(trials, places, strict=True):
            score, setting = 100 * trial.values[0], spell(trial.settings.get(name))
            axes.plot([place], [score], color=BLUE, marker="o", linestyle="", alpha=0.7)
            tip(axes, place, score, f"trial {trial.number}: {name}={setting}, {score:+.1f} points")
        axes.axhline(0, color=RULE, linewidth=0.8, zorder=0)
        label_positions(axes.xaxis, trials, name)
        axes.set_title(short(name, 28), loc="left", size=7, pad=2, color=INK)
        axes.margins(0.1)
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("points", size=7)
    return picture


def parallel(name: str, round_: RoundRecord) -> Plot:
    """Every finished trial as a line through its settings to its score."""
    caption = (
        "Each finished trial as a line through its settings to its score; the better half in colour, the best bold."
    )
    return Plot(name, caption, partial(_parallel, round_))


def _parallel(round_: RoundRecord) -> Figure:
    trials, names = finished(round_), searched(round_)
    scores = [100 * trial.values[0] for trial in trials]
    middle, top = median(scores), max(scores)
    columns = [*(positions(trials, name) for name in names), scores]
    heights = [_unit(column) for column in columns]
    picture = Figure(figsize=(max(COLUMN, 0.9 * len(columns)), 2.6), layout="constrained")
    axes = picture.add_subplot()
    for trial, score, *line in zip(trials, scores, *heights, strict=True):
        colour, alpha = (BLUE, 0.9) if score >= middle else (FAINT, 0.35)
        axes.plot(range(len(columns)), line, linewidth=2.2 if score == top else 0.9, color=colour, alpha=alpha)
        tip(axes, len(columns) - 1, line[-1], f"trial {trial.number}: {score:+.1f} points")
    for place, (name, column) in enumerate(zip([*names, "score"], columns, strict=True)):
        axes.axvline(place, color=RULE, linewidth=0.8, zorder=0)
        ends = ends_of(trials, name) if name in names else [f"{bound:+.1f}" for bound in (min(column), max(column))]
        for height, text in zip((-0.03, 1.03), ends, strict=True):
            axes.text(place, height, short(text, 12), ha="center", va="top" if height < 0 else "bottom", size=6.5)
    axes.set(ylim=(-0.12, 1.12), yticks=[])
    axes.set_xticks(
        range(len(columns)), [*(short(name.rpartition(".")[2], 16) for name in names), "score"], rotation=20
    )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return picture


def finished(round_: RoundRecord) -> list[TrialRecord]:
    return [trial for trial in round_.trials if trial.state == "complete"]


def searched(round_: RoundRecord) -> list[str]:
    """The settings that differ among the finished trials, the most important ones first."""
    trials = finished(round_)
    names = dict.fromkeys(name for trial in trials for name in trial.settings)
    differing = [name for name in names if len({spell(trial.settings.get(name)) for trial in trials}) > 1]
    return sorted(differing, key=lambda name: -round_.importances.get(name, 0.0))[:MOST_SETTINGS]


def positions(trials: Sequence[TrialRecord], name: str) -> list[float]:
    """Where the values of a setting stand on its axis: numbers by themselves or their logarithm, words one by one."""
    values = [trial.settings.get(name) for trial in trials]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values):
        return [math.log10(number) for number in numbers] if _logarithmic(numbers) else list(map(float, numbers))
    words = _words(trials, name)
    return [float(words.index(spell(value))) for value in values]


def label_positions(axis: Axis, trials: Sequence[TrialRecord], name: str) -> None:
    """The ends of a setting as ticks; every word of one that is not a number."""
    places = positions(trials, name)
    ends = {min(places): ends_of(trials, name)[0], max(places): ends_of(trials, name)[1]}
    words = _words(trials, name)
    numeric = all(isinstance(trial.settings.get(name), int | float) for trial in trials)
    ticks = ends if numeric else {float(place): word for place, word in enumerate(words)}
    axis.set_ticks(list(ticks), [short(text, 10) for text in ticks.values()], size=6.5)


def ends_of(trials: Sequence[TrialRecord], name: str) -> list[str]:
    """The values of a setting at the low and the high end of its axis."""
    places = positions(trials, name)
    both = (trials[places.index(min(places))], trials[places.index(max(places))])
    values = [trial.settings.get(name) for trial in both]
    return [f"{value:.3g}" if isinstance(value, float) else spell(value) for value in values]


def _words(trials: Sequence[TrialRecord], name: str) -> list[str]:
    return sorted({spell(trial.settings.get(name)) for trial in trials})


def _logarithmic(numbers: Sequence[float]) -> bool:
    return min(numbers) > 0 and max(numbers) / min(numbers) >= 20


def _unit(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 0.5 for value in values]


def front(name: str, search: SearchRecord, round_: RoundRecord) -> Plot:
    """Two objectives against each other, and the trials that no other beats in both."""
    one, other = search.objectives
    caption = f"Finished trials by their {one} and {other} scores against trial 0; joined: those none beats in both."
    return Plot(name, caption, partial(_front, search, round_))


def _front(search: SearchRecord, round_: RoundRecord) -> Figure:
    picture, axes = canvas(2.5, 0)
    best = pareto(round_.trials)
    for trial in round_.trials:
        if trial.state == "complete" and trial not in best:
            axes.plot(*([100 * value] for value in trial.values), color=FAINT, marker="o", alpha=0.6, linestyle="")
    spots = [[100 * value for value in trial.values] for trial in best]
    axes.plot(*zip(*spots, strict=True), color=BLUE, marker="o", linewidth=1.0)
    for trial, spot in zip(best, spots, strict=True):
        axes.annotate(str(trial.number), (spot[0], spot[1]), (3, 3), textcoords="offset points", size=6.5, color=FAINT)
    axes.axhline(0, color=RULE, linewidth=0.8, zorder=0)
    axes.axvline(0, color=RULE, linewidth=0.8, zorder=0)
    axes.margins(0.1)
    one, other = search.objectives
    axes.set(xlabel=f"{one} types (points)", ylabel=f"{other} types (points)")
    return picture
