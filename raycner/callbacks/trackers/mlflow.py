"""MLflow: a run of raycner is a run of the MLflow experiment `raycner`; trials have their search as the tag `group`."""

import logging
import os
from collections.abc import Mapping
from typing import Any

from raycner.callbacks.trackers.tracker import (
    TRACKERS,
    Axis,
    TrackedRun,
    Tracker,
    group_of,
    missing_package,
    safe_name,
)
from raycner.errors import InputError
from raycner.hashing import Plain

EXPERIMENT = "raycner"


class MLflowRun(TrackedRun):
    """An open run, behind an `mlflow.MlflowClient`."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._run_id = client, run_id

    def log(self, axis: Axis, at: int, scores: Mapping[str, float]) -> None:
        for name, score in scores.items():
            self._client.log_metric(self._run_id, f"{axis}/{safe_name(name)}", score, step=at)

    def close(self) -> None:
        self._client.set_terminated(self._run_id)


@TRACKERS.register("mlflow")
class MLflow(Tracker):
    """The server at PATH if that is a URI, else the database PATH/mlflow.db."""

    def open(self, run: str, settings: Mapping[str, Plain]) -> TrackedRun:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError:
            raise missing_package("mlflow", "mlflow") from None
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        try:
            client = MlflowClient(self._uri())
            return MLflowRun(client, _create_run(client, run, settings))
        except MlflowException as error:
            what = str(error).partition("\n")[0]
            location = f"compute.tracker_path={self.path}"
            raise InputError(what, location=location, hint="name a folder or a server") from None

    def _uri(self) -> str:
        return self.path if "://" in self.path else f"sqlite:///{self.folder().absolute() / 'mlflow.db'}"


def _create_run(client: Any, run: str, settings: Mapping[str, Plain]) -> str:
    """The id of a new MLflow run; earlier ones of the same name are deleted."""
    from mlflow.entities import Param

    experiment = client.get_experiment_by_name(EXPERIMENT)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
    for earlier in client.search_runs([experiment_id], f"attributes.run_name = '{run}'"):
        client.delete_run(earlier.info.run_id)
    tags = {"group": group} if (group := group_of(run)) else {}
    run_id: str = client.create_run(experiment_id, run_name=run, tags=tags).info.run_id
    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in settings.items()])
    return run_id
