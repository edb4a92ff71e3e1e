"""A run on the terminal: its tables, the scores over all steps, and its corpora."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from raycner.analysis.findings import findings
from raycner.analysis.formatting import duration, figure, listed, many
from raycner.analysis.scores import Run, corpus_name, learns_tasks, protocol_name, step_notes, types_of
from raycner.reporting.tables.labels import progress, setting_lines
from raycner.reporting.tables.run import run_tables
from raycner.reporting.terminal.renderer import render


def run_view(run: Run, width: int, settings: Mapping[str, Any], *, details: bool = False) -> RenderableType:
    """A run; `settings` distinguish it from others of its label. `details` adds precision and recall of every step."""
    tables = [part for table in run_tables(run, width, details=details) for part in (render(table, width), Text())]
    return Group(_heading(run, settings), *tables, _facts(run), Text(), *_in_words(run), Text())


def _heading(run: Run, settings: Mapping[str, Any]) -> Text:
    scenario = run.config["scenario"]
    types, steps = many(len(types_of(run.plan)), "type"), many(len(run.plan), "step")
    protocol = f"{protocol_name(scenario)}, joint" if run.joint else protocol_name(scenario)
    plan = f"{corpus_name(scenario)}, {protocol}: {types} in {steps}"
    plan += f", order {scenario['protocol']['permutation']}" if learns_tasks(scenario) else ""
    heading = Text.assemble((run.label, "bold"), f", seed {run.seed}", (f"  {plan}", "dim"))
    for line in setting_lines(settings):
        heading.append(f"\n{line}", style="dim")
    if not run.finished:
        heading.append(f"\nunfinished: {progress(run)}", style="yellow")
    return heading


def _in_words(run: Run) -> list[Text]:
    """What the run shows, and where its figures mean little."""
    words = findings(run)
    return [*map(Text, words.sentences), *(Text(f"Warning: {line}", style="yellow") for line in words.warnings)]


def _facts(run: Run) -> RenderableType:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    if run.steps:
        final = run.steps[-1]
        when = "final" if run.finished else f"after step {final.index + 1}"
        facts.add_row(when, f"{figure(final.micro)} micro, {figure(final.macro)} macro")
        if final.conlleval is not None:
            facts.add_row("conlleval", f"{figure(final.conlleval)} micro (adjacent entities of one type count as one)")
        old = len(run.forgetting)
        meaning = f"best earlier F1 minus the last, mean over {many(old, 'old type')}" if old else "no type is old yet"
        facts.add_row("forgetting", f"{figure(run.mean_forgetting)} ({meaning})")
        meaning = "last F1 minus that when learned, of each step's types together, mean without the last step"
        facts.add_row("backward transfer", f"{figure(run.backward_transfer)} ({meaning})")
        meaning = "SpanKL's BI: last F1 minus the best, of each step's types together, mean"
        facts.add_row("backward interference", f"{figure(run.backward_interference)} ({meaning})")
        workers = listed([str(number) for number in run.workers])
        facts.add_row("trained", f"{duration(run.seconds)}, {workers} {'worker' if workers == '1' else 'workers'}")
    for steps, note in step_notes(run):
        facts.add_row(steps, Text(note))
    for corpus in run.corpora:
        facts.add_row("corpus", Text(f"{corpus.fingerprint}  {corpus.source}".rstrip()))
        for note in corpus.notes:
            facts.add_row("", Text(note))
    return Padding(facts, (0, 0, 0, 1))
