"""The progress of a search on the console: a live table of trials in a terminal, one line per trial elsewhere."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from raycner.events import (
    Event,
    Message,
    RoundStarted,
    TrialCrashed,
    TrialFinished,
    TrialReported,
    TrialStarted,
    Waiting,
)
from raycner.settings import spell
from raycner.storage.searches import TrialRecord

MAX_ROWS = 12
"""Rows of the live table: the running trials first, then the best of the others."""
STYLES = {"running": "bold", "failed": "red", "pruned": "dim"}


@dataclass
class TrialRow:
    """What the table shows of one trial."""

    number: int
    settings: Mapping[str, Any]
    state: str = "running"
    scores: list[float] = field(default_factory=list)
    """After each step, as in `TrialReported`."""
    reason: str = ""
    """Why it failed."""

    @classmethod
    def of(cls, record: TrialRecord) -> "TrialRow":
        return cls(record.number, record.settings, record.state, list(record.scores), record.reason)

    @property
    def latest_score(self) -> float:
        return self.scores[-1] if self.scores else 0.0

    @property
    def gain(self) -> str:
        """F1 points over trial 0."""
        return f"{100 * self.latest_score:+6.1f}" if self.scores else "      "


class SearchProgressDisplay:
    """Shows the events of a search. Use it as a context manager: the table is live inside the block."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: dict[int, TrialRow] = {}
        self._round = RoundStarted(name="", trials=0, steps=0, finished=())
        self._round_start = time.monotonic()
        self._live = Live(console=console, transient=True, refresh_per_second=4, get_renderable=self._table)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def __call__(self, event: Event, /) -> None:
        match event:
            case Message(text) | Waiting(text):
                self._print(text)
            case RoundStarted():
                self._start_round(event)
            case TrialStarted(number=number, settings=settings):
                self._rows[number] = TrialRow(number, settings)
            case TrialReported(number=number, score=score):
                self._rows[number].scores.append(score)
            case TrialCrashed(number=number):
                del self._rows[number]
            case TrialFinished(record):
                self._finish_trial(record)

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)

    def _start_round(self, started: RoundStarted) -> None:
        self._round, self._round_start = started, time.monotonic()
        self._rows = {record.number: TrialRow.of(record) for record in started.finished}
        earlier = f", {len(started.finished)} of them finished before" if started.finished else ""
        self._print(f"{started.name}: {started.trials} trials of {started.steps} steps{earlier}")

    def _finish_trial(self, record: TrialRecord) -> None:
        row = self._rows[record.number]
        row.state, row.reason = record.state, record.reason
        if self._console.is_terminal:
            return
        outcome = record.reason or f"{record.trained} steps trained, {record.shared} shared, {record.seconds:.0f} s"
        line = f"trial {row.number:3d}  {row.state:8s}  {row.gain}  {_short(row.settings)}  {outcome}"
        self._print(f"{line}  {self._time_left()}".rstrip())

    def _finished_trials(self) -> int:
        return sum(row.state != "running" for row in self._rows.values())

    def _time_left(self) -> str:
        """An estimate: the missing trials take as long as those of this session did."""
        finished = self._finished_trials()
        in_session = finished - len(self._round.finished)
        if in_session <= 0 or finished >= self._round.trials:
            return ""
        seconds = (time.monotonic() - self._round_start) / in_session * (self._round.trials - finished)
        return f"about {int(seconds // 60)}:{int(seconds % 60):02d} left"

    def _table(self) -> RenderableType:
        rows = sorted(self._rows.values(), key=lambda row: (row.state != "running", -row.latest_score))
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column, width in (("trial", 5), ("step", 5), ("gain", 6), ("state", 8)):
            table.add_column(column, justify="left" if column == "state" else "right", min_width=width)
        table.add_column("settings", no_wrap=True, overflow="ellipsis")
        for row in rows[:MAX_ROWS]:
            steps = f"{len(row.scores)}/{self._round.steps}"
            details = row.reason or _short(row.settings)
            table.add_row(str(row.number), steps, row.gain, row.state, details, style=STYLES.get(row.state, ""))
        summary = f"{self._round.name}  {self._finished_trials()} of {self._round.trials} trials  {self._time_left()}"
        return Group(table, Text(summary, style="dim"))


def _short(settings: Mapping[str, Any]) -> str:
    """Settings for reading only: numbers are rounded."""
    values = {key: f"{value:.3g}" if isinstance(value, float) else spell(value) for key, value in settings.items()}
    return "  ".join(f"{key}={value}" for key, value in values.items())
