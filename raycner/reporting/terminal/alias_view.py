"""Aliases on the terminal: what each names, and the history of one."""

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.text import Text

from raycner.analysis.table import Cell, Column, Table
from raycner.reporting.terminal.renderer import render
from raycner.storage.aliases import AliasRecord


def aliases_view(current: Sequence[AliasRecord], width: int) -> RenderableType:
    """What each alias names."""
    if not current:
        return Text("no aliases; `raycner promote RUN:STEP ALIAS` makes one")
    rows = [(r.alias, r.address, r.when, r.who) for r in current]
    return render(_table(("alias", "step", "since", "by"), rows), width)


def history_view(records: Sequence[AliasRecord], width: int) -> RenderableType:
    """All promotions and rollbacks of an alias, newest first."""
    newest_first = sorted(records, key=lambda record: -record.number)
    rows = [(str(r.number), r.action, r.address, r.when, r.who, _verdict(r), r.why) for r in newest_first]
    return render(_table(("number", "action", "step", "when", "by", "gate", "why"), rows), width)


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of texts."""
    return Table("", tuple(Column(header, "left") for header in headers), tuple(tuple(map(Cell, row)) for row in rows))


def _verdict(record: AliasRecord) -> str:
    return "none" if record.gate is None else f"passed against {record.gate.get('against', '?')}"
