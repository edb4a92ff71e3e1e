"""Progressive NER, on the terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from raycner.analysis.progressions import Progression, tables
from raycner.reporting.terminal.tables import stretches, table


def progressions_view(found: Sequence[Progression], width: int) -> RenderableType:
    """On the terminal."""
    parts: list[RenderableType] = []
    for said in tables(found):
        columns = zip(said.headers, *said.rows, strict=True)
        widths = [max(len(line) for cell in column for line in cell.split("\n")) + 2 for column in columns]
        parts.append(Text(said.title, style="bold"))
        for stretch in stretches(widths[said.names :], width - sum(widths[: said.names]) - 2):
            one = table()
            places = [*range(said.names), *(said.names + place for place in stretch)]
            for place in places:
                one.add_column(said.headers[place], justify="left" if place < said.names else "right", no_wrap=True)
            for row in said.rows:
                one.add_row(*(Text(row[place]) for place in places))
            parts.append(one)
        parts += [Text(said.note, style="dim"), Text()]
    return Group(*parts)
