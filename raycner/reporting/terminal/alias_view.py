"""Aliases on the terminal: what each names, and the history of one."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from raycner.analysis.table import by_rows
from raycner.reporting.terminal.renderer import render
from raycner.storage.aliases import AliasRecord


def aliases_view(current: Sequence[AliasRecord], width: int) -> RenderableType:
    """What each alias names."""
    if not current:
        return Text("no aliases; `raycner promote RUN:STEP ALIAS` makes one")
    rows = [(r.alias, r.address, ", ".join(r.record.seen), r.when, r.who) for r in current]
    return render(by_rows("", ("alias", "step", "types", "since", "by"), rows, lead=5), width)


def history_view(records: Sequence[AliasRecord], width: int) -> RenderableType:
    """All promotions and rollbacks of an alias, newest first."""
    rows = [
        (str(r.number), r.action, r.address, r.when, r.who, _gate(r), r.why) for r in sorted(records, key=_newest_first)
    ]
    return render(by_rows("", ("", "action", "step", "when", "by", "gate", "why"), rows, lead=7), width)


def _newest_first(record: AliasRecord) -> int:
    return -record.number


def _gate(record: AliasRecord) -> str:
    return "none" if record.gate is None else f"passed against {record.gate['against']}"
