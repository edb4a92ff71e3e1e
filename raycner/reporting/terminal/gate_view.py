"""A gate on the terminal: one table, the entities that were lost, and the verdict."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from raycner.analysis.formatting import many, signed
from raycner.analysis.table import Cell, by_columns, score_cell
from raycner.console import printable
from raycner.evaluation.gate import GateReport, TypeVerdict
from raycner.reporting.gate_documents import needed, reason
from raycner.reporting.terminal.renderer import render

NOTE = (
    "before, after: F1 in percent. change: in points, and its 95 % interval over resampled sentences. "
    "lost: gold entities that only the older step finds."
)


def gate_view(report: GateReport, width: int) -> RenderableType:
    """All of a gate, at most `width` characters wide."""
    types = report.types
    columns = [
        ("type", [Cell(one.type) for one in types]),
        ("before", [score_cell(one.before) for one in types]),
        ("after", [score_cell(one.after) for one in types]),
        ("change", [Cell(signed(-one.loss)) for one in types]),
        ("interval", [Cell(_interval(one)) for one in types]),
        ("may lose", [Cell(f"{one.allowed:g}") for one in types]),
        ("mentions", [Cell(f"{one.mentions:,}") for one in types]),
        ("lost", [Cell(f"{one.lost:,}") for one in types]),
        ("verdict", [Cell(one.verdict) for one in types]),
    ]
    heading = f"{report.model} against {report.against} on {many(report.sentences, 'sentence')}"
    lines = [Text(printable(line)) for one in types for line in _lines(one)]
    return Group(Text(printable(heading)), render(by_columns("", columns, notes=(NOTE,)), width), *lines, _end(report))


def _interval(one: TypeVerdict) -> str:
    """The interval of the change, which is minus the loss."""
    return "" if one.interval is None else f"{signed(-one.interval.high)} to {signed(-one.interval.low)}"


def _lines(one: TypeVerdict) -> Iterator[str]:
    if one.verdict != "passed":
        yield f"{one.type}: {one.verdict}. {reason(one)}"
    for example in one.examples:
        yield f"  {one.type} lost: {example.text} | {' '.join(example.words)}"


def _end(report: GateReport) -> Text:
    hint = needed(report)
    if report.passes:
        return Text(f"passes{f'; unseen types are allowed ({hint})' if hint else ''}", style="green")
    more = f"; {hint}; --allow-unseen passes such types" if hint else ""
    return Text(f"does not pass{more}", style="red")
