"""Weights & Biases: a run of raycner is a run of the W&B project `raycner`, a trial one of the group of its search.

Who may write is between W&B and the user (`wandb login`, WANDB_API_KEY): no setting of raycner holds a key. With
WANDB_MODE=offline nothing is sent; `wandb sync PATH/wandb/offline-run-*` sends it later.
"""

import os
from collections.abc import Mapping
from typing import Any

from raycner.callbacks.trackers.tracker import TRACKERS, Axis, TrackedRun, Tracker, group_of, missing_package
from raycner.errors import InputError
from raycner.hashing import Plain

PROJECT = "raycner"


class WandbRun(TrackedRun):
    """An open `wandb.Run`."""

    def __init__(self, run: Any) -> None:
        self._run = run
        for axis in ("epoch", "step"):
            run.define_metric(f"{axis}/*", step_metric=axis)

    def log(self, axis: Axis, at: int, scores: Mapping[str, float]) -> None:
        self._run.log({axis: at} | {f"{axis}/{name}": score for name, score in scores.items()})

    def close(self) -> None:
        self._run.finish()


@TRACKERS.register("wandb")
class Wandb(Tracker):
    """The project `raycner` of W&B; local files are in PATH/wandb. A command that is repeated adds a run: W&B keeps the
    earlier one."""

    def open(self, run: str, settings: Mapping[str, Plain]) -> TrackedRun:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        try:
            import wandb
        except ImportError:
            raise missing_package("wandb", "wandb") from None
        try:
            return WandbRun(
                wandb.init(
                    project=PROJECT,
                    name=run,
                    group=group_of(run) or None,
                    config=dict(settings),
                    dir=self.folder(),
                    reinit="create_new",
                    settings=wandb.Settings(
                        console="off", disable_code=True, disable_git=True, x_disable_meta=True, x_disable_stats=True
                    ),
                )
            )
        except wandb.errors.Error as error:
            what = f"W&B refuses the run: {str(error).partition(chr(10))[0]}"
            hint = "`wandb login`, or set WANDB_MODE=offline"
            raise InputError(what, location="compute.tracker", hint=hint) from None
