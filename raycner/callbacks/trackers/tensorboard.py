"""TensorBoard, by tensorboardX: it needs no TensorFlow."""

import shutil
from collections.abc import Mapping
from typing import Any

from raycner.callbacks.trackers.tracker import TRACKERS, Axis, TrackedRun, Tracker, missing_package, safe_name
from raycner.hashing import Plain


class TensorBoardRun(TrackedRun):
    """The event files of one run, behind a `tensorboardX.SummaryWriter`."""

    def __init__(self, writer: Any, settings: Mapping[str, Plain]) -> None:
        self._writer = writer
        writer.add_text("settings", "\n".join(f"    {name}: {value}" for name, value in settings.items()))

    def log(self, axis: Axis, at: int, scores: Mapping[str, float]) -> None:
        for name, score in scores.items():
            self._writer.add_scalar(f"{axis}/{safe_name(name)}", score, at)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


@TRACKERS.register("tensorboard")
class TensorBoard(Tracker):
    """Event files in PATH/RUN, which `tensorboard --logdir PATH` shows."""

    def open(self, run: str, settings: Mapping[str, Plain]) -> TrackedRun:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise missing_package("tensorboardX", "tensorboard") from None
        folder = self.folder() / run
        shutil.rmtree(folder, ignore_errors=True)
        return TensorBoardRun(SummaryWriter(str(folder)), settings)
