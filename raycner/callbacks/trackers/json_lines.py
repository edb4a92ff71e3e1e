"""JSON lines: a run's scores in a text file that needs no library."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from raycner.callbacks.trackers.tracker import TRACKERS, Axis, TrackedRun, Tracker
from raycner.hashing import Plain


class JsonLinesRun(TrackedRun):
    """The file of one run."""

    def __init__(self, file: Path, run: str, settings: Mapping[str, Plain]) -> None:
        self._lines = file.open("w", encoding="utf-8", buffering=1)
        self._write({"run": run, "settings": dict(settings)})

    def log(self, axis: Axis, at: int, scores: Mapping[str, float]) -> None:
        finite = {name: score if math.isfinite(score) else str(score) for name, score in scores.items()}
        self._write({axis: at} | finite)

    def close(self) -> None:
        self._lines.close()

    def _write(self, line: dict[str, Plain]) -> None:
        self._lines.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


@TRACKERS.register("jsonl")
class JsonLines(Tracker):
    """One JSON object per line in PATH/RUN.jsonl: the settings first, then {"epoch" or "step": number, NAME: score}."""

    def open(self, run: str, settings: Mapping[str, Plain]) -> TrackedRun:
        file = self.folder() / f"{run}.jsonl"
        file.parent.mkdir(exist_ok=True)
        return JsonLinesRun(file, run, settings)
