"""An evaluation as a section of the HTML page."""

from textwrap import wrap

from raycner.analysis.table import by_rows
from raycner.evaluation.entity_report import EntityEvaluation
from raycner.reporting.evaluation_tables import (
    flows_table,
    matrix_table,
    mistakes_table,
    outcomes_table,
    scores_table,
)
from raycner.reporting.html.evaluation_plots import confusion_plot, f1_plot, flows_plot
from raycner.reporting.html.page import Section
from raycner.reporting.terminal.evaluation_view import described

HEADING = "How well entities are predicted"
SENTENCE_WIDTH = 64
OPENING = "Named entity recognition on annotated sentences: scores are in percent."


def evaluation_section(evaluation: EntityEvaluation, anchor: str = "evaluation") -> Section:
    """The tables and figures of an evaluation."""
    report = evaluation.report
    tables = [scores_table(evaluation), outcomes_table(report)]
    plots = [f1_plot(f"{anchor}-f1", report)]
    if len(report.confusion.types) > 1:
        tables.append(matrix_table(report))
        plots.append(confusion_plot(f"{anchor}-confusion", report))
    if len(evaluation.steps) > 1:
        tables.append(flows_table(evaluation))
        plots.append(flows_plot(f"{anchor}-flows", evaluation))
    parts = []
    if report.mistakes:
        table = mistakes_table(report)
        rows = [["\n".join(wrap(cell.text, SENTENCE_WIDTH)) for cell in row] for row in table.rows]
        wrapped = by_rows("", table.headers, rows, notes=table.notes, lead=table.lead)
        parts.append(Section(title=table.title, anchor=f"{anchor}-mistakes", tables=[wrapped]))
    return Section(
        title=evaluation.model,
        anchor=anchor,
        paragraphs=[f"{described(evaluation)}.", *(f"{note}." for note in evaluation.notes)],
        tables=tables,
        plots=plots,
        parts=parts,
    )
