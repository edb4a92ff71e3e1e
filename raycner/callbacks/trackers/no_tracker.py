"""No tracker: the default."""

from collections.abc import Mapping

from raycner.callbacks.trackers.tracker import TRACKERS, Axis, TrackedRun, Tracker
from raycner.hashing import Plain


class _NotTracked(TrackedRun):
    def log(self, axis: Axis, at: int, scores: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


@TRACKERS.register("none")
class NoTracker(Tracker):
    """Writes nothing: the run's ledger has all scores."""

    def open(self, run: str, settings: Mapping[str, Plain]) -> TrackedRun:  # noqa: ARG002
        return _NotTracked()
