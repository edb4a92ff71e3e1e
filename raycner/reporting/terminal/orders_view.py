"""Scores averaged over orders, on the terminal."""

from rich.console import Group, RenderableType
from rich.text import Text

from raycner.analysis.orders import NOTE, Orders, columns, heading
from raycner.reporting.terminal.tables import named, stretches, table


def orders_view(found: Orders, width: int) -> RenderableType:
    """On the terminal."""
    cells, names = list(columns(found)), [named(row["title"], row["settings"]) for row in found["rows"]]
    lead = max(len(line) for name in names for line in str(name).splitlines()) + 4
    drawn = []
    for stretch in stretches([max(map(len, [header, *column])) + 2 for header, column in cells], width - lead):
        one = table()
        one.add_column("run", overflow="fold")
        for place in stretch:
            one.add_column(cells[place][0], justify="right", no_wrap=True)
        for number, name in enumerate(names):
            one.add_row(name, *(cells[place][1][number] for place in stretch))
        drawn.append(one)
    return Group(Text(heading(found), style="bold"), *drawn, Text(NOTE, style="dim"), Text())
