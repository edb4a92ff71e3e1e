"""An evaluation on the terminal: scores, outcomes, confusion, and the most frequent mistakes."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from raycner.analysis.formatting import many
from raycner.analysis.progressions import Table
from raycner.evaluation.entity_report import EntityEvaluation
from raycner.reporting.evaluation_tables import (
    matrix_table,
    mistakes_table,
    outcomes_table,
    scores_table,
)
from raycner.reporting.terminal.tables import stretches, table

AVERAGES = 3


def evaluation_view(evaluation: EntityEvaluation, width: int) -> RenderableType:
    """All tables of an evaluation, at most `width` characters wide."""
    report = evaluation.report
    heading = Text.assemble((evaluation.model, "bold"), (f"  {described(evaluation)}", "dim"))
    notes = [Text(note, style="yellow") for note in evaluation.notes]
    views = [heading, *notes, *_drawn(scores_table(report), width, sections=(len(report.scores.types),))]
    views += _drawn(outcomes_table(report), width)
    if len(report.confusion.types) > 1:
        views += _drawn(matrix_table(report), width)
    if report.mistakes:
        views += _drawn(mistakes_table(report), width)
    return Group(*views)


def described(evaluation: EntityEvaluation) -> str:
    """What was evaluated on, in a few words."""
    first, *rest = evaluation.sources
    where = f"{first} and {many(len(rest), 'more file')}" if rest else first
    return f"{many(evaluation.report.sentences, 'sentence')} of {where}"


def _drawn(shown: Table, width: int, sections: tuple[int, ...] = ()) -> Iterator[RenderableType]:
    """A table under its title, in as many parts as its columns need."""
    yield Text(f"\n{shown.title}", style="bold")
    lengths = [max(len(cell) for cell in column) + 2 for column in zip(shown.headers, *shown.rows, strict=True)]
    room = width - sum(lengths[: shown.names]) - 4
    figures = stretches(lengths[shown.names :], room) if lengths[shown.names :] else [range(0)]
    for stretch in figures:
        columns = [*range(shown.names), *(shown.names + place for place in stretch)]
        drawn = table()
        for column in columns:
            words = column < shown.names
            drawn.add_column(
                shown.headers[column], justify="left" if words else "right", no_wrap=not words, overflow="fold"
            )
        for number, row in enumerate(shown.rows, start=1):
            drawn.add_row(*(Text(row[column]) for column in columns), end_section=number in sections)
        yield drawn
    yield Text(shown.note, style="dim")
