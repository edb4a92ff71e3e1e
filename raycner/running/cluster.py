"""The cluster that workers and trials run on: the one of RAY_ADDRESS, or one on this machine while it is used."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a relative path means the same to a worker as to who typed it
    "RAY_worker_niceness": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interrupted search ends at once: it can be begun again at any point
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # what Ray keeps of a search is never read
}
"""What Ray is told by its environment, where the environment does not say otherwise."""


@contextlib.contextmanager
def cluster(cpus: int) -> Iterator[None]:
    """A connection to the cluster of RAY_ADDRESS, or a cluster of so many CPUs on this machine."""
    for variable, value in SETTINGS.items():
        os.environ.setdefault(variable, value)
    import ray

    address = os.environ.get("RAY_ADDRESS")
    alone: dict[str, Any] = {"address": "local", "num_cpus": cpus}
    ray.init(
        **({"address": address} if address else alone),
        logging_level=log_level(),
        log_to_driver=log_level() != "ERROR",
    )
    try:
        yield
    finally:
        ray.shutdown()


def log_level() -> str:
    """Ray is silent unless RAYCNER_RAY_LOG asks for a level (INFO, WARNING)."""
    return os.environ.get("RAYCNER_RAY_LOG", "ERROR").upper()
