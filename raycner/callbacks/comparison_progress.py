"""The progress of runs that go in parallel: a live table in a terminal, one line per finished step elsewhere."""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from raycner.callbacks.progress import ProgressDisplay
from raycner.data.metrics import macro, micro
from raycner.events import (
    Event,
    EventOf,
    Message,
    RunEnded,
    RunEvent,
    RunsPlanned,
    StepAdvanced,
    StepFinished,
    StepReused,
    StepStarted,
    Waiting,
)
from raycner.storage.ledger import StepRecord

MAX_ROWS = 16
"""Rows of the live table: the runs that go now first, then those to come."""
ORDER = ("running", "waiting", "to come", "complete")


@dataclass
class RunRow:
    """What the table shows of one run."""

    title: str
    state: str = "to come"
    step: int = 0
    """Finished steps."""
    of: int = 0
    share: float = 0.0
    """Of the updates of the step in training."""
    scores: str = ""
    """On test, after the last finished step."""

    def handle(self, event: RunEvent) -> None:
        """Take in an event of the run."""
        match event:
            case StepStarted(index=index, of=of):
                self.state, self.step, self.of, self.share = "running", index, of, 0.0
            case StepAdvanced(share):
                self.state, self.share = "running", share
            case Waiting():
                self.state = "waiting"
            case StepFinished(record) | StepReused(record):
                self.step, self.share, self.scores = record.index + 1, 0.0, _scores(record)


class ComparisonProgressDisplay:
    """Shows the events of a comparison. Use it as a context manager: the table is live inside the block.

    Runs that go one after another are shown as `ProgressDisplay` shows them.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: dict[str, RunRow] = {}
        self._start = time.monotonic()
        self._one_run = ProgressDisplay(console)
        self._live = Live(console=console, transient=True, refresh_per_second=4, get_renderable=self._table)

    def __enter__(self) -> Self:
        self._one_run.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._one_run.__exit__(kind, error, at)
        self._live.stop()

    def __call__(self, event: Event, /) -> None:
        match event:
            case RunsPlanned(titles, parallel):
                self._rows = {title: RunRow(title) for title in titles}
                self._print(f"{len(titles)} runs, {parallel} at a time; the same command resumes")
                self._one_run.__exit__(None, None, None)
                if self._console.is_terminal:
                    self._live.start()
            case EventOf(title, Message(text)):
                self._print(f"{title}: {text}")
            case EventOf(title, inner):
                self._rows[title].handle(inner)
                if isinstance(inner, StepFinished | StepReused) and not self._console.is_terminal:
                    row = self._rows[title]
                    self._print(f"{title}: step {row.step} of {row.of}  test {row.scores}")
            case RunEnded(title):
                self._rows[title].state = "complete"
            case _:
                self._one_run(event)

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)

    def _table(self) -> RenderableType:
        rows = sorted(self._rows.values(), key=lambda row: ORDER.index(row.state))
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("run", no_wrap=True, overflow="ellipsis")
        for column in ("step", "state", "on test"):
            table.add_column(column, no_wrap=True)
        for row in rows[:MAX_ROWS]:
            steps = f"{row.step}/{row.of}" if row.of else ""
            state = f"{100 * row.share:.0f} %" if row.state == "running" else row.state
            table.add_row(Text(row.title), steps, state, row.scores, style="dim" if row.state == "complete" else "")
        complete = sum(row.state == "complete" for row in rows)
        minutes = (time.monotonic() - self._start) / 60
        return Group(table, Text(f"{complete} of {len(rows)} runs complete, {minutes:.0f} min", style="dim"))


def _scores(record: StepRecord) -> str:
    return f"micro {100 * micro(record.test):.1f}  macro {100 * macro(record.test):.1f}"
