"""What a log collector reads while something goes on: a line of JSON an event, with its run, step and fingerprint."""

from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TextIO

from pydantic_core import to_json

from raycner.data.metrics import macro, micro
from raycner.storage.ledger import StepRecord


class EventLog:
    """Writes a run's or a search's notices: call it with an event and its facts. `advance` is no event: it never ends.

    A line is {"time": ISO 8601, UTC; "event": its name; "run", "step" (from 1) and "fingerprint", once there is a step;
    and the facts}.
    """

    def __init__(self, lines: TextIO) -> None:
        self._lines = lines
        self._place: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self("failed", reason=f"{type(error).__name__}: {error}")

    def __call__(self, event: str, **facts: Any) -> None:
        if event == "advance":
            return
        if event == "step":
            self._place = {"run": facts.pop("run"), "step": facts.pop("index") + 1, "fingerprint": facts["fingerprint"]}
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        said = {name: _scores(fact) if isinstance(fact, StepRecord) else fact for name, fact in facts.items()}
        line = to_json({"time": now, "event": event} | self._place | said, inf_nan_mode="strings")
        print(line.decode(), file=self._lines, flush=True)


def _scores(record: StepRecord) -> dict[str, Any]:
    """What a step came to; all of it stands in the ledger."""
    scores = {"micro": micro(record.test), "macro": macro(record.test)}
    return scores | {"seconds": record.seconds, "sentences": record.sentences, "workers": record.workers}
