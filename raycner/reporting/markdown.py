"""Results as GitHub markdown, for a README or a pull request: what `--markdown` prints."""

import re
from collections.abc import Iterable, Iterator

from raycner.analysis.summary import Summary
from raycner.analysis.table import Cell, Table
from raycner.reporting.tables.comparison import ranking
from raycner.reporting.tables.gaps import gaps_tables
from raycner.reporting.tables.labels import title
from raycner.reporting.tables.orders import orders_table
from raycner.reporting.tables.progressions import progressions_tables
from raycner.reporting.tables.published import UNKNOWN, published_tables
from raycner.reporting.tables.significance import significance_table


def as_markdown(summary: Summary, *, details: bool = False) -> str:
    """The comparisons of a summary, and everything that was added to them; `details` adds the gaps by type."""
    return "\n\n".join(_parts(summary, details))


def render(table: Table) -> str:
    """A table under its title, and its notes."""
    rules = ["---" if column.align == "left" else "---:" for column in table.columns]
    rows = [map(escape, table.headers), rules, *(map(_cell, row) for row in table.rows)]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    heading = [f"**{escape(table.title)}.**"] if table.title else []
    return "\n\n".join([*heading, lines, *map(escape, table.notes)])


def escape(text: str) -> str:
    """Text of which nothing is read as markdown, as HTML or as the end of a cell."""
    return re.sub(r"([\\|*`<\[~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", " ".join(text.split()))


def _parts(summary: Summary, details: bool) -> Iterator[str]:
    for number, comparison in enumerate(summary.comparisons):
        yield f"**{escape(title(comparison))}.**"
        yield render(ranking(comparison, summary.runs))
        if summary.published is not None:
            yield _tables(published_tables(summary.published[number], comparison)) or UNKNOWN
    for orders in summary.orders:
        yield render(orders_table(orders, summary.runs))
    if summary.progressions:
        yield _tables(progressions_tables(summary.progressions, summary.runs))
    for gaps in summary.gaps:
        yield _tables(gaps_tables(gaps, summary, details=details))
    for paired in summary.significance or ():
        yield render(significance_table(paired, summary))


def _tables(tables: Iterable[Table]) -> str:
    return "\n\n".join(map(render, tables))


def _cell(cell: Cell) -> str:
    text = escape(" ".join([cell.text, *cell.details]))
    return f"**{text}**" if cell.bold and text else text
