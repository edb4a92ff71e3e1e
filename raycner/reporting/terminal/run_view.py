"""A run on the terminal: its step matrix, what is said over all steps, and what its corpora are."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from raycner.analysis.formatting import duration, figure, listed, many, short
from raycner.analysis.scores import Average, Run, Step, corpus_name, learns_tasks
from raycner.reporting.terminal.pseudo_view import pseudo_view
from raycner.reporting.terminal.tables import FIGURE, heat, progress, setting_lines, stretches, table, types_of

MOST_TYPES_ACROSS = 8
LONGEST_HEADER, LONGEST_TYPE, LONGEST_STEP = 12, 28, 16
SUMS, AVERAGE, FORGETTING = 54, 9, 12
"""The widths of what stands beside the types of a step, and of the last columns when steps stand across."""


def run_view(run: Run, width: int, settings: Mapping[str, Any] | None = None) -> RenderableType:
    """A run; `settings` are those that part it from its namesakes."""
    parts: list[RenderableType] = [_heading(run, settings or {})]
    if average := run["average"]:
        if learns_tasks(run["config"]["scenario"]) and _has_tasks(run):
            parts += _by_task(run, width)
        headers = [short(name, LONGEST_HEADER) for name in types_of(run["plan"])]
        fits = sum(max(FIGURE, len(header) + 2) for header in headers) <= width - SUMS
        if fits and len(headers) <= MOST_TYPES_ACROSS:
            parts.append(_by_step(run, average))
        else:
            parts += _by_type(run, average, width)
        parts.append(_key(run))
        parts += pseudo_view(run)
    return Group(*parts, _facts(run), Text())


def _by_step(run: Run, average: Average) -> Table:
    """Rows are steps, columns are types."""
    names, shown = types_of(run["plan"]), _shown(run)
    drawn = table()
    drawn.add_column("step", justify="right")
    drawn.add_column("learns", no_wrap=True)
    for header in (*(short(name, LONGEST_HEADER) for name in names), *_sums(average, shown)):
        drawn.add_column(Text(header), justify="right", no_wrap=True)
    for step in run["steps"]:
        learns = Text(short(", ".join(step["learns"]), LONGEST_STEP))
        cells = [_cell(step, name) for name in names]
        drawn.add_row(str(step["index"] + 1), learns, *cells, *map(heat, _sums(step, shown).values()))
    drawn.add_section()
    drawn.add_row("", "average", *[""] * len(names), *map(heat, _sums(average, shown).values()), style="bold")
    drawn.add_row("", "forgetting", *(figure(run["forgetting"].get(name)) for name in names))
    return drawn


def _by_type(run: Run, average: Average, width: int) -> list[Table]:
    """Rows are types in the order they are learned, columns are steps; as many tables as the width needs."""
    lead = min(LONGEST_TYPE, max(map(len, types_of(run["plan"])))) + 4
    steps, shown = run["steps"], _shown(run)
    tables = []
    for stretch in stretches([FIGURE] * len(steps), width - lead - AVERAGE - FORGETTING):
        last = stretch[-1] == len(steps) - 1
        drawn = table()
        drawn.add_column("type", no_wrap=True)
        for number in stretch:
            header = f"step {number + 1}" if number == stretch[0] else str(number + 1)
            drawn.add_column(header, justify="right", min_width=FIGURE - 2, no_wrap=True)
        for header in ("average", "forgetting") if last else ():
            drawn.add_column(header, justify="right", no_wrap=True)
        for name in types_of(run["plan"][: stretch[-1] + 1]):
            fallen = ["", figure(run["forgetting"].get(name))] if last else []
            drawn.add_row(Text(short(name, LONGEST_TYPE)), *(_cell(steps[number], name) for number in stretch), *fallen)
        drawn.add_section()
        for header, mean in _sums(average, shown).items():
            cells = [heat(_sums(steps[number], shown)[header]) for number in stretch]
            drawn.add_row(header, *cells, *([heat(mean, "bold")] if last else []))
        tables.append(drawn)
    return tables


def _by_task(run: Run, width: int) -> list[Table]:
    """Rows are tasks in the order they are learned, columns are steps; BI is the last score minus the best."""
    steps = run["steps"]
    names = [short(", ".join(types), LONGEST_TYPE) for types in run["plan"][: len(steps)]]
    tables = []
    for stretch in stretches([FIGURE] * len(steps), width - max(map(len, names)) - 4 - FIGURE):
        last = stretch[-1] == len(steps) - 1
        drawn = table()
        drawn.add_column("task", no_wrap=True)
        for number in stretch:
            header = f"step {number + 1}" if number == stretch[0] else str(number + 1)
            drawn.add_column(header, justify="right", min_width=FIGURE - 2, no_wrap=True)
        if last:
            drawn.add_column("BI", justify="right", min_width=FIGURE - 2, no_wrap=True)
        for task, name in enumerate(names[: stretch[-1] + 1]):
            cells = [heat(steps[number]["by_task"][task] if task <= number else None) for number in stretch]
            course = [score for step in steps[task:] if (score := step["by_task"][task]) is not None]
            interference = course[-1] - max(course) if course else None
            drawn.add_row(Text(name), *cells, *([figure(interference)] if last else []))
        tables.append(drawn)
    return tables


def _key(run: Run) -> Text:
    """What the rows and columns of a matrix mean."""
    said = ["F1 on test in percent"]
    if _has_tasks(run):
        said.append("tasks: mean over steps of micro over the types each brought")
    if deltas := [step["calibrated"]["delta"] for step in run["steps"] if step["calibrated"]]:
        said.append(f"*: the step's new types read out with bias lowered by {', '.join(f'{d:g}' for d in deltas)}")
    said.append("old, new: macro over the types of earlier steps and of this one, averaged from step 2")
    return Text("; ".join(said) + ".", style="dim")


def _heading(run: Run, settings: Mapping[str, Any]) -> Text:
    scenario = run["config"]["scenario"]
    types = len(types_of(run["plan"]))
    said = f"{corpus_name(scenario)}, {scenario['protocol']}: {many(types, 'type')} in {many(len(run['plan']), 'step')}"
    said += f", order {scenario['permutation']}" if learns_tasks(scenario) else ""
    heading = Text.assemble((run["label"], "bold"), f", seed {run['seed']}", (f"  {said}", "dim"))
    for line in setting_lines(settings):
        heading.append(f"\n{line}", style="dim")
    if not run["finished"]:
        heading.append(f"\nunfinished: {progress(run)}", style="yellow")
    return heading


def _facts(run: Run) -> RenderableType:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    if run["steps"]:
        final = run["steps"][-1]
        when = "final" if run["finished"] else f"after step {final['index'] + 1}"
        facts.add_row(when, f"{figure(final['micro'])} micro, {figure(final['macro'])} macro")
        if final["conlleval"] is not None:
            facts.add_row("conlleval", f"{figure(final['conlleval'])} micro (neighbours of one type count as one)")
        old = len(run["forgetting"])
        fallen = f"best earlier F1 minus the last, mean over {many(old, 'old type')}" if old else "no type is old yet"
        facts.add_row("forgetting", f"{figure(run['mean_forgetting'])} ({fallen})")
        interference = "(last F1 minus the best, of each step's types together, mean)"
        facts.add_row("backward interference", f"{figure(run['backward_transfer'])} {interference}")
        workers = listed([str(number) for number in run["workers"]])
        facts.add_row("trained", f"{duration(run['seconds'])}, {workers} {'worker' if workers == '1' else 'workers'}")
    for corpus in run["corpora"]:
        facts.add_row("corpus", Text(f"{corpus['fingerprint']}  {corpus['source']}".rstrip()))
        for note in corpus["notes"]:
            facts.add_row("", Text(note))
    return Padding(facts, (0, 0, 0, 1))


def _has_tasks(run: Run) -> bool:
    """Whether the mean over tasks says something that macro does not."""
    return any(len(names) > 1 for names in run["plan"])


def _shown(run: Run) -> list[str]:
    """The headers of the scores over several types that this run has."""
    tasks = ["tasks"] if _has_tasks(run) else []
    calibrated = ["micro*", "macro*"] if any(step["calibrated"] for step in run["steps"]) else []
    return ["micro", "macro", *calibrated, *tasks, "old", "new"]


def _sums(scored: Step | Average, shown: Sequence[str]) -> dict[str, float | None]:
    """The scores over several types, by header."""
    scores: dict[str, float | None] = {name: scored[name] for name in ("micro", "macro", "tasks", "old", "new")}
    read_out = scored["calibrated"]
    scores |= {"micro*": read_out and read_out["micro"], "macro*": read_out and read_out["macro"]}
    return {name: scores[name] for name in shown}


def _cell(step: Step, name: str) -> Text:
    """A type's F1; bold where it is learned."""
    return heat(step["f1"].get(name), "bold" if name in step["learns"] else "")
