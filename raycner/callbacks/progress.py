"""The progress of a run on the console: a live bar in a terminal, one line per epoch elsewhere."""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from raycner.data.metrics import macro, micro
from raycner.events import (
    EpochFinished,
    Event,
    Message,
    ScoringStarted,
    StepAdvanced,
    StepFinished,
    StepReused,
    StepStarted,
    Waiting,
)
from raycner.storage.ledger import StepRecord

UNKNOWN_STEP = StepStarted(run="", index=0, of=1, fingerprint="", types=(), epochs=1)
"""The current step before the first one starts."""


class ProgressDisplay:
    """Shows the events of a run. Use it as a context manager: the bar is live inside the block."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[activity]}", markup=False, table_column=Column(no_wrap=True)),
        )
        self._bar = _Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=1.0, activity="", visible=False)
        self._step = UNKNOWN_STEP
        self._epochs_finished = 0
        self._steps_trained, self._session_start = 0, time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def __call__(self, event: Event, /) -> None:
        match event:
            case Message(text):
                self._print(text)
            case Waiting(reason):
                self._wait(reason)
            case StepStarted():
                self._start(event)
            case StepAdvanced(share):
                epoch = min(self._epochs_finished + 1, self._step.epochs)
                self._update(share, f"epoch {epoch}/{self._step.epochs}  {self._time_left(share)}")
            case EpochFinished():
                self._finish_epoch(event)
            case ScoringStarted():
                self._update(1.0, "scoring dev and test")
            case StepReused(record):
                self._finish_step(record, "taken from the store")
            case StepFinished(record):
                self._steps_trained += 1
                self._finish_step(record, f"{record.seconds:.0f} s, {record.sentences} sentences")

    def _print(self, line: str) -> None:
        self._bar.console.print(line, highlight=False, soft_wrap=True)

    def _wait(self, reason: str) -> None:
        if self._console.is_terminal:
            self._bar.update(self._task, description=reason, total=None, visible=True)
        else:
            self._print(reason)

    def _start(self, step: StepStarted) -> None:
        self._step, self._epochs_finished = step, 0
        self._bar.figures = ""
        self._update(0.0, "")

    def _finish_epoch(self, epoch: EpochFinished) -> None:
        self._epochs_finished = epoch.number
        losses = "  ".join(f"{name} {value:.3f}" for name, value in epoch.losses.items())
        score = f"dev F1 {100 * epoch.dev_score:.1f}"
        self._bar.figures = f"epoch {epoch.number}/{self._step.epochs}  {losses}  {score}  {epoch.seconds:.1f} s"
        if not self._console.is_terminal:
            self._print(f"{self._title()}  {self._bar.figures}")

    def _finish_step(self, record: StepRecord, origin: str) -> None:
        scores = f"test micro {100 * micro(record.test):5.1f}  macro {100 * macro(record.test):5.1f}"
        self._print(f"{self._title()}  {scores}  {origin}")

    def _time_left(self, share: float) -> str:
        """An estimate: the missing steps take as long as those trained in this session did."""
        trained = self._steps_trained + share
        if trained < 0.05:
            return ""
        missing = self._step.of - self._step.index - share
        seconds = (time.monotonic() - self._session_start) / trained * missing
        return f"about {int(seconds // 60)}:{int(seconds % 60):02d} left"

    def _title(self) -> str:
        types = self._step.types
        names = ", ".join(types) if len(types) <= 3 else f"{types[0]} ... {types[-1]} ({len(types)} types)"
        return f"step {self._step.index + 1} of {self._step.of}  {names}"

    def _update(self, share: float, activity: str) -> None:
        title = self._title()
        self._bar.update(self._task, description=title, total=1.0, completed=share, activity=activity, visible=True)


class _Bar(Progress):
    """A progress bar with a line of figures below it."""

    figures = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.figures:
            yield Text(f"  {self.figures}", style="dim", no_wrap=True, overflow="ellipsis")
