"""Inspected corpora on the terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raycner.data.inspection import CorpusContents, Reach
from raycner.reporting.corpus_tables import contents_table, facts
from raycner.reporting.terminal.renderer import render


def corpora_view(corpora: Sequence[tuple[CorpusContents, Reach | None]], width: int) -> RenderableType:
    """Each corpus: its name, its table, and how it was read."""
    return Group(*(part for contents, reach in corpora for part in _corpus(contents, reach, width)))


def _corpus(contents: CorpusContents, reach: Reach | None, width: int) -> list[RenderableType]:
    heading = Text.assemble((contents.source, "bold"), (f"  {contents.fingerprint or ''}", "dim"))
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    before = ""
    for name, value in facts(contents, reach):
        lines.add_row("" if name == before else name, Text(value, style="yellow" if name == "note" else ""))
        before = name
    return [heading, render(contents_table(contents, reach), width), lines, Text()]
