"""The tables of a search: the best trials of a round, and the test scores of the winner."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from raycner.analysis.formatting import figure, many
from raycner.analysis.provenance import provenance
from raycner.analysis.scores import Run
from raycner.analysis.table import Cell, Table, by_columns
from raycner.settings import spell
from raycner.storage.searches import RoundRecord, SearchRecord, TrialRecord, WinnerRecord

MOST_TRIALS = 8
"""Trials of a round in the table, besides trial 0."""
OBJECTIVES = {"score": "against\ntrial 0", "old": "old types", "new": "new types"}


def heading(search: SearchRecord) -> str:
    """The name of a search and the score that it maximises."""
    seeds = f", {search.seeds} seeds a trial" if search.seeds > 1 else ""
    return f"{search.name}: {search.metric} on dev over {many(search.steps, 'step')}{seeds}"


def counts(round_: RoundRecord) -> str:
    """How many trials a round had, and how many steps they trained."""
    trials = round_.trials
    states = {state: sum(trial.state == state for trial in trials) for state in ("complete", "pruned", "failed")}
    by_state = ", ".join(f"{number} {state}" for state, number in states.items() if number)
    trained, shared = sum(trial.trained for trial in trials), sum(trial.shared for trial in trials)
    steps = f"{many(trained, 'step')} trained, {shared} shared"
    return f"{round_.name}: {many(len(trials), 'trial')} ({by_state}); {steps}"


def failures(round_: RoundRecord) -> list[str]:
    """Why trials failed."""
    return [f"trial {trial.number} failed: {trial.reason}" for trial in round_.trials if trial.state == "failed"]


def trials_table(search: SearchRecord, round_: RoundRecord) -> Table:
    """The best trials of a round."""
    trials = best(search, round_)
    columns = [
        ("\ntrial", [Cell(str(trial.number)) for trial in trials]),
        ("\nsettings", [_settings(trial) for trial in trials]),
        *(
            (OBJECTIVES[name], [Cell(f"{100 * trial.values[place]:+.1f}") for trial in trials])
            for place, name in enumerate(search.objectives)
        ),
        ("steps\ntrained", [Cell(str(trial.trained)) for trial in trials]),
        ("steps\nshared", [Cell(str(trial.shared)) for trial in trials]),
    ]
    note = "Scores on dev against trial 0, in points of F1."
    return by_columns("", columns, notes=(note,), lead=2)


def winner_table(winner: WinnerRecord, runs: Mapping[str, Run]) -> Table:
    """The test scores of the winner and of trial 0; `runs` are theirs, by name."""
    sides = {"winner": winner.runs, "trial 0": winner.baseline}
    finished = [[runs[name] for name in names if name in runs] for names in sides.values()]
    scores = [test_scores(of_side) for of_side in finished]
    headers = ("average\nmicro", "average\nmacro", "final\nmicro", "final\nmacro", "final\nmicro P", "final\nmicro R")
    columns = [
        ("on test", list(map(Cell, sides))),
        *((header, [Cell(figure(of_side[place])) for of_side in scores]) for place, header in enumerate(headers)),
    ]
    note = "F1, precision (P) and recall (R) on test in percent, mean over seeds; the search used dev only."
    return by_columns("", columns, notes=(note, provenance([run for of_side in finished for run in of_side])))


def test_scores(runs: Sequence[Run]) -> list[float | None]:
    """Average micro- and macro-F1, then final micro- and macro-F1, micro precision and recall: means over seeds."""
    rows = [
        (
            run.average.micro,
            run.average.macro,
            *(run.steps[-1].micro, run.steps[-1].macro),
            *(run.steps[-1].micro_precision, run.steps[-1].micro_recall),
        )
        for run in runs
        if run.average is not None
    ]
    return [fmean(column) for column in zip(*rows, strict=True)] if rows else [None] * 6


def best(search: SearchRecord, round_: RoundRecord) -> list[TrialRecord]:
    """The best finished trials and trial 0; of two objectives, those that no other beats in both."""
    if len(search.objectives) > 1:
        trials = pareto(round_.trials)
    else:
        finished = [trial for trial in round_.trials if trial.state == "complete"]
        trials = sorted(finished, key=lambda trial: -trial.values[0])[:MOST_TRIALS]
    return trials + [trial for trial in round_.trials[:1] if trial not in trials and trial.state == "complete"]


def pareto(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The finished trials that no other dominates, by the first objective."""
    finished = [trial for trial in trials if trial.state == "complete"]
    front = [trial for trial in finished if not any(_dominates(other, trial) for other in finished)]
    return sorted(front, key=lambda trial: -trial.values[0])


def _dominates(one: TrialRecord, other: TrialRecord) -> bool:
    pairs = list(zip(one.values, other.values, strict=True))
    return all(ours >= theirs for ours, theirs in pairs) and any(ours > theirs for ours, theirs in pairs)


def scores_by_step(trial: TrialRecord) -> list[float]:
    """The first objective of a trial after each of its steps, in points."""
    return [100 * score for score in trial.scores]


def _settings(trial: TrialRecord) -> Cell:
    lines = [f"{key}={_brief(value)}" for key, value in trial.settings.items()]
    return Cell(lines[0] if lines else "", details=tuple(lines[1:]))


def _brief(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else spell(value)
