"""Figures of searches: the scores of trials, which settings mattered, the trials between two objectives."""

from functools import partial

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from raycner.analysis.formatting import short
from raycner.analysis.statistics import Spread
from raycner.reporting.html.figures import BLUE, FAINT, INK, ORANGE, RULE, Plot, bars, canvas, legend
from raycner.reporting.tables.search import pareto, scores_by_step
from raycner.storage.searches import RoundRecord, SearchRecord

STATES = {"complete": BLUE, "pruned": FAINT, "failed": ORANGE}


def trials(name: str, search: SearchRecord, round_: RoundRecord) -> Plot:
    """Score against step for each trial of a round."""
    caption = "Score on dev against trial 0 after each step, in points of F1, a line a trial; bold: the best of them."
    return Plot(name, caption, partial(_trials, search, round_))


def _trials(search: SearchRecord, round_: RoundRecord) -> Figure:
    picture, axes = canvas(2.3, 1)
    axes.axhline(0, color=INK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    finished = [trial for trial in round_.trials if trial.state == "complete"]
    best = max(finished, key=lambda trial: trial.values[0], default=None)
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
