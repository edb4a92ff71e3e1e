"""What a person sees while a run goes on: a live bar in a terminal, a line an epoch elsewhere."""

import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from raycner.data.metrics import macro, micro
from raycner.storage.ledger import StepRecord


class ProgressDisplay:
    """Shows a run's notices: call it with an event and its facts, a method of this class and its arguments."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[now]}", table_column=Column(no_wrap=True)),
        )
        self._bar = _Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=1.0, now="", visible=False)
        self._index, self._of, self._epochs, self._epoch = 0, 1, 1, 0
        self._types, self._shared = "", False
        self._trained, self._since = 0, time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def __call__(self, event: str, **facts: Any) -> None:
        getattr(self, event)(**facts)

    def say(self, line: str) -> None:
        """Something worth a line that stays."""
        self._bar.console.print(line, highlight=False, soft_wrap=True)

    def wait(self, reason: str) -> None:
        """Something takes its time, and nobody can say how long."""
        if self._console.is_terminal:
            self._bar.update(self._task, description=reason, total=None, visible=True)
        else:
            self.say(reason)

    def step(self, index: int, of: int, types: Sequence[str], epochs: int, **_: str) -> None:
        """A step begins; its run and its fingerprint are for logs."""
        self._index, self._of, self._epochs, self._epoch, self._shared = index, of, epochs, 0, False
        self._types = ", ".join(types) if len(types) <= 3 else f"{types[0]} ... {types[-1]} ({len(types)} types)"
        self._bar.figures = ""
        self._show(0.0, "")

    def shared(self) -> None:
        """The step is in the store already."""
        self._shared = True

    def advance(self, share: float) -> None:
        """So much of the step's updates is done."""
        self._show(share, f"epoch {self._epoch + 1}/{self._epochs}  {self._left(share)}")

    def epoch(self, number: int, losses: Mapping[str, float], dev: float, seconds: float) -> None:
        """An epoch ended."""
        self._epoch = min(number, self._epochs - 1)
        terms = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self._bar.figures = f"epoch {number}/{self._epochs}  {terms}  dev F1 {100 * dev:.1f}  {seconds:.1f} s"
        if not self._console.is_terminal:
            self.say(f"{self._title()}  {self._bar.figures}")

    def score(self) -> None:
        """The kept state is being scored."""
        self._show(1.0, "scoring dev and test")

    def record(self, record: StepRecord) -> None:
        """The step is committed."""
        score = f"test micro {100 * micro(record.test):5.1f}  macro {100 * macro(record.test):5.1f}"
        how = "taken from the store" if self._shared else f"{record.seconds:.0f} s, {record.sentences} sentences"
        self._trained += not self._shared
        self.say(f"{self._title()}  {score}  {how}")

    def _left(self, share: float) -> str:
        """Time left, if the steps still missing take as long as those trained in this session."""
        done = self._trained + share
        if done < 0.05:
            return ""
        seconds = (time.monotonic() - self._since) / done * (self._of - self._index - share)
        return f"about {int(seconds // 60)}:{int(seconds % 60):02d} left"

    def _title(self) -> str:
        return f"step {self._index + 1} of {self._of}  {self._types}"

    def _show(self, share: float, now: str) -> None:
        self._bar.update(self._task, description=self._title(), total=1.0, completed=share, now=now, visible=True)


class _Bar(Progress):
    """A progress bar with a line of figures under it."""

    figures = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.figures:
            yield Text(f"  {self.figures}", style="dim", no_wrap=True, overflow="ellipsis")
