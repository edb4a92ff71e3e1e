"""Experiment trackers: where else the scores of a run go. One file per tracker; a file in this folder registers itself.

`compute.tracker` names one, `compute.tracker_path` says where it writes.
"""

from raycner.callbacks.trackers.tracker import TRACKERS, Axis, TrackedRun, Tracker
from raycner.registry import discover

__all__ = ["TRACKERS", "Axis", "TrackedRun", "Tracker"]

discover(__name__, __path__)
