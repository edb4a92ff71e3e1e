"""What a person sees while a search goes on: a live table of trials in a terminal, a line a trial elsewhere."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from raycner.storage.searches import TrialRecord

SHOWN = 12
"""Trials in the table: the running ones, and the best of the others."""


@dataclass
class Row:
    """One trial as the table has it."""

    number: int
    settings: Mapping[str, Any]
    state: str = "running"
    scores: list[float] = field(default_factory=list)
    reason: str = ""

    @property
    def standing(self) -> float:
        return self.scores[-1] if self.scores else 0.0


class Scoreboard:
    """Shows a search's notices: call it with an event and its facts, a method of this class and its arguments."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: dict[int, Row] = {}
        self._name, self._trials, self._steps = "", 0, 0
        self._before, self._since = 0, time.monotonic()
        self._live = Live(console=console, transient=True, refresh_per_second=4, get_renderable=self._table)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def __call__(self, event: str, **facts: Any) -> None:
        getattr(self, event)(**facts)

    def say(self, line: str) -> None:
        """Something worth a line that stays."""
        self._console.print(line, highlight=False, soft_wrap=True)

    def round(self, name: str, trials: int, steps: int, done: Sequence[TrialRecord]) -> None:
        """A round of trials begins; some may be over since an earlier session."""
        self._name, self._trials, self._steps = name, trials, steps
        self._rows = {t.number: Row(t.number, t.settings, t.state, list(t.scores), t.reason) for t in done}
        self._before, self._since = len(done), time.monotonic()
        kept = f", {len(done)} of them done before" if done else ""
        self.say(f"{name}: {trials} trials of {steps} steps{kept}")

    def trial(self, number: int, settings: Mapping[str, Any]) -> None:
        """A trial begins."""
        self._rows[number] = Row(number, settings)

    def trial_reported(self, number: int, score: float) -> None:
        """A trial has done a step."""
        self._rows[number].scores.append(score)

    def trial_crashed(self, number: int) -> None:
        """A trial's process died, and the same is tried again."""
        del self._rows[number]

    def trial_finished(self, record: TrialRecord) -> None:
        """A trial is over."""
        row = self._rows[record.number]
        row.state, row.reason = record.state, record.reason
        if not self._console.is_terminal:
            how = record.reason or f"{record.trained} steps trained, {record.shared} shared, {record.seconds:.0f} s"
            said = f"trial {row.number:3d}  {row.state:8s}  {_points(row)}  {_spelt(row.settings)}  {how}"
            self.say(f"{said}  {self._left()}".rstrip())

    def _left(self) -> str:
        """Time left, if the trials still missing take as long as those of this session."""
        ended = sum(row.state != "running" for row in self._rows.values())
        if ended <= self._before or ended >= self._trials:
            return ""
        seconds = (time.monotonic() - self._since) / (ended - self._before) * (self._trials - ended)
        return f"about {int(seconds // 60)}:{int(seconds % 60):02d} left"

    def _table(self) -> RenderableType:
        rows = sorted(self._rows.values(), key=lambda row: (row.state != "running", -row.standing))
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column, least in (("trial", 5), ("step", 5), ("gain", 6), ("state", 8)):
            table.add_column(column, justify="left" if column == "state" else "right", min_width=least)
        table.add_column("settings", no_wrap=True, overflow="ellipsis")
        for row in rows[:SHOWN]:
            style = {"running": "bold", "failed": "red", "pruned": "dim"}.get(row.state, "")
            steps = f"{len(row.scores)}/{self._steps}"
            told = row.reason or _spelt(row.settings)
            table.add_row(str(row.number), steps, _points(row), row.state, told, style=style)
        ended = sum(row.state != "running" for row in self._rows.values())
        return Group(table, Text(f"{self._name}  {ended} of {self._trials} trials  {self._left()}", style="dim"))


def _points(row: Row) -> str:
    return f"{100 * row.standing:+6.1f}" if row.scores else "      "


def _spelt(settings: Mapping[str, Any]) -> str:
    return "  ".join(f"{key}={_short(value)}" for key, value in settings.items())


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
