"""The log for machines (`--log json`): one JSON object per event, on one line."""

from dataclasses import fields
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TextIO

from pydantic_core import to_json

from raycner.data.metrics import macro, micro
from raycner.events import Event, EventOf, Failed, StepAdvanced, StepStarted, event_name
from raycner.storage.ledger import StepRecord


class JsonLog:
    """Writes the events of a run or a search as JSON lines.

    A line is {"time": ISO 8601 in UTC, "event": the name of the event, "run", "step" (from 1) and "fingerprint" of the
    current step, and the fields of the event}. A step's record is shortened to its scores; the ledger has all of it.
    `StepAdvanced` is left out. An event of one of several runs that go in parallel is a line like any other, with the
    run's "title". An exception that leaves the block is reported as `Failed`.
    """

    def __init__(self, lines: TextIO) -> None:
        self._lines = lines
        self._current_steps: dict[str, dict[str, Any]] = {}
        """By title; that of the only run is empty."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self(Failed(f"{type(error).__name__}: {error}"))

    def __call__(self, event: Event, /) -> None:
        title, event = (event.title, event.event) if isinstance(event, EventOf) else ("", event)
        match event:
            case StepAdvanced():
                return
            case StepStarted(run=run, index=index, fingerprint=fingerprint):
                self._current_steps[title] = {"run": run, "step": index + 1, "fingerprint": fingerprint}
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        place = ({"title": title} if title else {}) | self._current_steps.get(title, {})
        header = {"time": time, "event": event_name(type(event))} | place
        line = to_json(header | _fields(event), inf_nan_mode="strings")
        print(line.decode(), file=self._lines, flush=True)


def _fields(event: Event) -> dict[str, Any]:
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    return {name: _summary(value) if isinstance(value, StepRecord) else value for name, value in values.items()}


def _summary(record: StepRecord) -> dict[str, Any]:
    """F1 on test, from 0 to 1, and what training took."""
    scores = {"micro": micro(record.test), "macro": macro(record.test)}
    return scores | {"seconds": record.seconds, "sentences": record.sentences, "workers": record.workers}
