"""A search on the terminal and as a picture: the best trials, what mattered, and what the winner scores on test."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raycner.analysis.formatting import figure, many
from raycner.analysis.scores import Run
from raycner.reporting.terminal.tables import table
from raycner.settings import spell
from raycner.storage.searches import RoundRecord, SearchRecord, TrialRecord

BEST = 8
"""Trials of a round that the table shows, trial 0 besides."""
TITLES = {"score": "against\ntrial 0", "old": "old types", "new": "new types"}


def search_view(search: SearchRecord, runs: Mapping[str, Run]) -> RenderableType:
    """A search; `runs` are the runs of its winner and of trial 0, by name."""
    parts: list[RenderableType] = [Text(heading(search), style="bold")]
    for found in search.rounds:
        parts += [*_round(search, found), Text()]
    return Group(*parts, *_winner(search, runs))


def pareto(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The finished trials that no other beats in one objective without losing in another, by the first objective."""
    finished = [trial for trial in trials if trial.state == "complete"]
    return sorted((t for t in finished if not any(_beats(o, t) for o in finished)), key=lambda t: -t.values[0])


def _beats(one: TrialRecord, other: TrialRecord) -> bool:
    pairs = list(zip(one.values, other.values, strict=True))
    return all(ours >= theirs for ours, theirs in pairs) and any(ours > theirs for ours, theirs in pairs)


def heading(search: SearchRecord) -> str:
    """What is searched, and by which score."""
    seeds = f", {search.seeds} seeds a trial" if search.seeds > 1 else ""
    return f"{search.name}: {search.metric} on dev over {many(search.steps, 'step')}{seeds}"


def counts(found: RoundRecord) -> str:
    """How many trials a round had, and what they trained."""
    ended = {state: sum(trial.state == state for trial in found.trials) for state in ("complete", "pruned", "failed")}
    said = ", ".join(f"{number} {state}" for state, number in ended.items() if number)
    trained, shared = sum(t.trained for t in found.trials), sum(t.shared for t in found.trials)
    return (
        f"{found.name}: {many(len(found.trials), 'trial')} ({said}); {many(trained, 'step')} trained, {shared} shared"
    )


def failures(found: RoundRecord) -> list[str]:
    """Why trials failed."""
    return [f"trial {trial.number} failed: {trial.reason}" for trial in found.trials if trial.state == "failed"]


def _round(search: SearchRecord, found: RoundRecord) -> Iterator[RenderableType]:
    yield Text(counts(found))
    yield _trials(search, found)
    yield from (Text(line, style="red") for line in failures(found))
    if found.importances:
        told = "  ".join(f"{key} {share:.2f}" for key, share in found.importances.items())
        yield Text(f"what mattered: {told}", style="dim")


def best(search: SearchRecord, found: RoundRecord) -> list[TrialRecord]:
    """The best finished trials and trial 0; of two objectives, those that no other beats in both."""
    if len(search.objectives) > 1:
        shown = pareto(found.trials)
    else:
        finished = [trial for trial in found.trials if trial.state == "complete"]
        shown = sorted(finished, key=lambda trial: -trial.values[0])[:BEST]
    return shown + [trial for trial in found.trials[:1] if trial not in shown and trial.state == "complete"]


def _trials(search: SearchRecord, found: RoundRecord) -> Table:
    drawn = table()
    drawn.add_column("\ntrial", justify="right")
    for name in search.objectives:
        drawn.add_column(TITLES[name], justify="right", no_wrap=True)
    drawn.add_column("\nsettings", overflow="fold")
    for trial in best(search, found):
        gains = [f"{100 * value:+.1f}" for value in trial.values]
        drawn.add_row(str(trial.number), *gains, "  ".join(spelt(trial.settings)))
    return drawn


def _winner(search: SearchRecord, runs: Mapping[str, Run]) -> Iterator[RenderableType]:
    if search.winner is None:
        yield Text("no trial finished", style="red")
        return
    drawn = table()
    drawn.add_column("test")
    for column in ("average micro", "average macro", "final micro", "final macro"):
        drawn.add_column(column, justify="right")
    for title, names in (("winner", search.winner.runs), ("trial 0", search.winner.baseline)):
        drawn.add_row(title, *map(figure, reached([runs[name] for name in names if name in runs])))
    yield drawn


def reached(runs: Sequence[Run]) -> list[float | None]:
    """Average and final scores on test, the mean over seeds."""
    finished = [run for run in runs if run["average"] is not None]
    if not finished:
        return [None] * 4
    said = []
    for run in finished:
        average, final = run["average"], run["steps"][-1]
        assert average is not None
        said.append((average["micro"], average["macro"], final["micro"], final["macro"]))
    return [sum(column) / len(said) for column in zip(*said, strict=True)]


def spelt(settings: Mapping[str, Any]) -> list[str]:
    """Settings as tables write them."""
    return [f"{key}={f'{value:.4g}' if isinstance(value, float) else spell(value)}" for key, value in settings.items()]


def course(trial: TrialRecord) -> list[float]:
    """A trial's first objective after each step it came to, in percent points."""
    return [100 * score for score in trial.scores]
