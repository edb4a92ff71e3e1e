"""A table as a value: columns, rows of cells and notes. The package `reporting` renders it for each medium.

A cell is plain text: type names, labels and file names are never read as markup, by no renderer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from raycner.analysis.formatting import DASH, figure

Align = Literal["left", "right"]


@dataclass(frozen=True)
class Cell:
    """One cell."""

    text: str
    score: float | None = None
    """The score in percent that the text states: a terminal colours it by its height."""
    bold: bool = False
    details: tuple[str, ...] = ()
    """Lines below the text: the settings of a row."""

    @property
    def lines(self) -> list[str]:
        return [self.text, *(f" {line}" for line in self.details)]

    @property
    def blank(self) -> bool:
        """Whether it states nothing."""
        return self.text.strip() in ("", DASH) and not self.details


@dataclass(frozen=True)
class Column:
    """The header of a column, of one line or two, and the alignment of its cells."""

    header: str
    align: Align = "right"


@dataclass(frozen=True)
class Table:
    """Columns, rows of as many cells, and the notes that explain them."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    """Paragraphs below the table."""
    lead: int = 1
    """The number of columns that name a row: a table that is split for want of width repeats them."""
    rules: frozenset[int] = frozenset()
    """The rows above which a line is drawn."""

    @property
    def headers(self) -> list[str]:
        """The headers on one line each."""
        return [column.header.replace("-\n", "").replace("\n", " ").strip() for column in self.columns]


Cells = Sequence[Cell] | Sequence[str]


def by_rows(
    title: str,
    headers: Iterable[str],
    rows: Iterable[Iterable[Cell | str]],
    *,
    notes: Iterable[str] = (),
    lead: int = 1,
    rules: Iterable[int] = (),
) -> Table:
    """A table given row by row; the first `lead` columns are aligned left, the others right."""
    columns = (Column(header, "left" if place < lead else "right") for place, header in enumerate(headers))
    cells = (tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows)
    return Table(title, tuple(columns), tuple(cells), tuple(notes), lead, frozenset(rules))


def by_columns(title: str, columns: Iterable[tuple[str, Cells]], *, notes: Iterable[str] = (), lead: int = 1) -> Table:
    """A table given column by column."""
    headers, cells = zip(*columns, strict=True)
    return by_rows(title, headers, zip(*cells, strict=True), notes=notes, lead=lead)


def score_cell(score: float | None, *, bold: bool = False) -> Cell:
    """A score in percent, or a dash."""
    return Cell(figure(score), score, bold)
