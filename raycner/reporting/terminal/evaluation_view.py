"""An evaluation on the terminal: scores, outcomes, confusion, and the most frequent mistakes."""

from rich.console import Group, RenderableType
from rich.text import Text

from raycner.analysis.formatting import many
from raycner.evaluation.entity_report import EntityEvaluation
from raycner.reporting.evaluation_tables import (
    flows_table,
    matrix_table,
    mistakes_table,
    outcomes_table,
    scores_table,
)
from raycner.reporting.terminal.renderer import render


def evaluation_view(evaluation: EntityEvaluation, width: int) -> RenderableType:
    """All tables of an evaluation, at most `width` characters wide."""
    report = evaluation.report
    heading = Text.assemble((evaluation.model, "bold"), (f"  {described(evaluation)}", "dim"))
    notes = [Text(note, style="yellow") for note in evaluation.notes]
    tables = [scores_table(evaluation), outcomes_table(report)]
    if len(report.confusion.types) > 1:
        tables.append(matrix_table(report))
    if len(evaluation.steps) > 1:
        tables.append(flows_table(evaluation))
    if report.mistakes:
        tables.append(mistakes_table(report))
    return Group(heading, *notes, *(part for table in tables for part in (Text(), render(table, width))))


def described(evaluation: EntityEvaluation) -> str:
    """What was evaluated on, in a few words."""
    first, *rest = evaluation.sources
    where = f"{first} and {many(len(rest), 'more file')}" if rest else first
    return f"{many(evaluation.report.sentences, 'sentence')} of {where}"
