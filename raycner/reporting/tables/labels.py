"""How runs, rows and comparisons are named in tables, on pages and on the terminal."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from raycner.analysis.comparison import Comparison, Row, setup
from raycner.analysis.formatting import listed, many, short
from raycner.analysis.scores import Run, corpus_name, types_of
from raycner.analysis.table import Cell
from raycner.settings import spell

MOST_SETTINGS = 6
LONGEST_NAME = 40


def title(comparison: Comparison) -> str:
    """The corpus, and how many types are learned in how many steps."""
    plan, scenario = comparison.plan, comparison.scenario
    types = f"{corpus_name(scenario)}: {many(len(types_of(plan)), 'type')} in {many(len(plan), 'step')}"
    return (
        f"{types}, {setup(comparison)} in order {scenario['protocol']['permutation']}" if setup(comparison) else types
    )


def progress(run: Run) -> str:
    """How many steps of a run are done, and the types that it has still to learn."""
    done = len(run.steps)
    missing = types_of(run.plan[done:])
    steps = f"{done} of {many(len(run.plan), 'step')} done"
    return f"{steps}, to come: {short(', '.join(missing), 60)}" if missing else steps


def setting_lines(settings: Mapping[str, Any]) -> list[str]:
    """Settings as the command line takes them, one a line, and how many were left out."""
    lines = [short(f"{key}={spell(value)}", LONGEST_NAME - 1) for key, value in settings.items()]
    more = len(lines) - MOST_SETTINGS
    return [*lines[:MOST_SETTINGS], f"and {many(more, 'more setting')}"] if more > 0 else lines


def name_cell(title: str, settings: Mapping[str, Any], read_out: Mapping[str, str] | None = None) -> Cell:
    """The title of a row; below it the settings that distinguish it from other rows of this title, and how its
    predictions were read where that differs in the table."""
    read = (f"{name} {value}" for name, value in (read_out or {}).items())
    return Cell(title, details=(*setting_lines(settings), *read))


def row_cell(row: Row, usual: Mapping[str, str] | None = None) -> Cell:
    """The name of a row of a comparison; a control is named as one, and what is `usual` in the table is left out."""
    name = f"control: {row.title}" if row.control_of else row.title
    return name_cell(name, row.settings, unusual(row.read_out, usual or {}))


def unusual(read_out: Mapping[str, str], usual: Mapping[str, str]) -> dict[str, str]:
    """How the predictions of a row were read, as far as that is not usual in its table."""
    return {name: value for name, value in read_out.items() if usual.get(name) != value}


def usual_read_out(read_outs: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The most frequent value of each fact in which the rows of a table differ."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for read_out in read_outs:
        for name, value in read_out.items():
            counts[name][value] += 1
    return {name: values.most_common(1)[0][0] for name, values in counts.items()}


def usual_note(usual: Mapping[str, str]) -> tuple[str, ...]:
    """What holds for the rows of a table that do not say otherwise."""
    facts = listed([f"{name} {value}" for name, value in usual.items()])
    return (f"Rows that do not say otherwise: {facts}.",) if facts else ()


def runs_of(names: Sequence[str], runs: Sequence[Run]) -> list[Run]:
    """The runs of these names, in the order of `runs`."""
    wanted = set(names)
    return [run for run in runs if run.run in wanted]
