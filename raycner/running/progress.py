"""What a person sees while a run goes on: one live line in a terminal, one line per epoch elsewhere."""

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from raycner.data.scoring import macro, micro
from raycner.storage.ledger import StepRecord


class ProgressDisplay:
    """Listens to a run's notices and shows them. Use as a context; call with the facts.

    Facts: line (something to say), step, steps, types, epochs (a step begins), shared, done (part of the step's
    updates), epoch, losses, dev, seconds (an epoch ended), evaluating, record (the step is committed).
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[now]}", table_column=Column(no_wrap=True)),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=1.0, now="", visible=False)
        self._step, self._steps, self._epochs, self._epoch = 0, 1, 1, 0
        self._types = ""
        self._trained, self._since = 0, time.monotonic()
        self._scored = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def __call__(self, **facts: Any) -> None:
        if "line" in facts:
            self._say(facts["line"])
        if "step" in facts:
            self._begin(**facts)
        if facts.get("shared"):
            self._show(1.0, "in the store already")
        if "done" in facts:
            self._show(facts["done"], f"{self._scored}  {self._left(facts['done'])}")
        if "epoch" in facts:
            self._epoch_ended(**facts)
        if "evaluating" in facts:
            self._show(1.0, "scoring dev and test")
        if "record" in facts:
            self._ended(facts["record"])

    def _begin(self, step: int, steps: int, types: tuple[str, ...], epochs: int) -> None:
        self._step, self._steps, self._epochs, self._epoch = step, steps, epochs, 0
        self._types = ", ".join(types) if len(types) <= 3 else f"{types[0]} ... {types[-1]} ({len(types)} types)"
        self._scored = ""
        self._show(0.0, "")

    def _epoch_ended(self, epoch: int, losses: dict[str, float], dev: float, seconds: float) -> None:
        terms = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self._epoch = epoch
        self._scored = f"epoch {epoch}/{self._epochs}  {terms}  dev F1 {100 * dev:.1f}"
        if not self._console.is_terminal:
            self._say(f"{self._title()}  {self._scored}  {seconds:.1f} s")

    def _ended(self, record: StepRecord) -> None:
        score = f"test micro {100 * micro(record.test):5.1f}  macro {100 * macro(record.test):5.1f}"
        how = "taken from the store" if self._bar.tasks[0].fields["now"] == "in the store already" else ""
        self._trained += not how
        self._say(f"{self._title()}  {score}  {how or f'{record.seconds:.0f} s, {record.sentences} sentences'}")

    def _left(self, done: float) -> str:
        """Time left, if the steps still missing take as long as those trained in this session."""
        finished = self._trained + done
        if finished < 0.05:
            return ""
        seconds = (time.monotonic() - self._since) / finished * (self._steps - self._step - done)
        return f"about {int(seconds // 60)}:{int(seconds % 60):02d} left"

    def _title(self) -> str:
        return f"step {self._step + 1} of {self._steps}  {self._types}"

    def _show(self, done: float, now: str) -> None:
        self._bar.update(self._task, description=self._title(), completed=done, now=now, visible=True)

    def _say(self, line: str) -> None:
        self._bar.console.print(line, highlight=False, soft_wrap=True)
