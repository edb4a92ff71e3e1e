"""Tables on a terminal. Everything fits the width: a table with too many columns continues in another below.

Colour only repeats what the figures state.
"""

from collections.abc import Sequence
from itertools import pairwise

from rich import box
from rich import table as rich_table
from rich.console import Group, RenderableType
from rich.text import Text

from raycner.analysis.table import Cell, Table
from raycner.reporting.tables.labels import LONGEST_NAME

COLOURS = ((80.0, "green"), (50.0, ""), (20.0, "yellow"), (0.0, "red"))
"""From this score on, this colour; scores that are good enough not to stand out are left plain."""
GAP = 2
"""Spaces between columns."""


def render(table: Table, width: int) -> RenderableType:
    """A table under its title, split as the width demands, and its notes."""
    parts: list[RenderableType] = [Text(table.title, style="bold")] if table.title else []
    chunks = split([_width(table, place) + GAP for place in range(table.lead, len(table.columns))], _room(table, width))
    parts += [_part(table, [table.lead + place for place in chunk], whole=len(chunks) == 1) for chunk in chunks]
    return Group(*parts, *(Text(note, style="dim") for note in table.notes))


def split(widths: Sequence[int], width: int) -> list[range]:
    """As few ranges of columns as fit the width, about equally wide; a column that never fits stands alone."""
    if not widths:
        return [range(0)]
    for number in range(1, len(widths)):
        ends = [round(len(widths) * end / number) for end in range(number + 1)]
        chunks = [range(start, end) for start, end in pairwise(ends)]
        if all(sum(widths[place] for place in chunk) <= width for chunk in chunks):
            return chunks
    return [range(place, place + 1) for place in range(len(widths))]


def _part(table: Table, places: Sequence[int], *, whole: bool) -> rich_table.Table:
    """Some columns of a table; unless it is `whole`, without the rows that state nothing in these columns."""
    part = rich_table.Table(box=box.HORIZONTALS, padding=(0, 1), collapse_padding=True, pad_edge=False)
    part.header_style, part.border_style = "bold", "dim"
    shown = [*range(table.lead), *places]
    two_lines = any("\n" in table.columns[place].header for place in shown)
    for place in shown:
        column = table.columns[place]
        header = column.header if "\n" in column.header or not two_lines else f"\n{column.header}"
        fold = place < table.lead
        part.add_column(Text(header), justify=column.align, overflow="fold", no_wrap=not fold)
    for number, row in enumerate(table.rows):
        if number in table.rules:
            part.add_section()
        if whole or not all(row[place].blank for place in places):
            part.add_row(*(_text(row[place]) for place in shown))
    return part


def _text(cell: Cell) -> Text:
    colour = "" if cell.score is None else next((style for least, style in COLOURS if cell.score >= least), "")
    text = Text(cell.text, style=f"{'bold ' * cell.bold}{colour}".strip())
    for line in cell.details:
        text.append(f"\n {line}", style="not bold dim")
    return text


def _width(table: Table, place: int) -> int:
    """The widest line of a column."""
    lines = [*table.columns[place].header.split("\n"), *(line for row in table.rows for line in row[place].lines)]
    return max(map(len, lines))


def _room(table: Table, width: int) -> int:
    """What the columns that name the rows leave of the width."""
    return width - sum(min(LONGEST_NAME, _width(table, place)) + GAP for place in range(table.lead)) - GAP
