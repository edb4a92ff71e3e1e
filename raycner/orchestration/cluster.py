"""The cluster that workers and trials run on: the one of RAY_ADDRESS, or one on this machine while it is used.

Who may speak to a cluster is whoever has its token. A cluster of one's own gets a fresh one, which is nowhere written
down; of another, the environment says the mode and where the token lies (RAY_AUTH_MODE, RAY_AUTH_TOKEN_PATH).
"""

import contextlib
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from typing import Any

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
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

NO_DASHBOARD = "http://127.0.0.1:9"
"""Where nobody listens. Else Ray Train looks for a dashboard for 12 s when a gang ends, in a cluster that has none."""


@contextlib.contextmanager
def cluster(cpus: int) -> Iterator[None]:
    """A connection to the cluster of RAY_ADDRESS, or a cluster of so many CPUs on this machine."""
    for variable, value in SETTINGS.items():
        os.environ.setdefault(variable, value)
    import ray

    where: dict[str, Any] = {"address": os.environ.get("RAY_ADDRESS")}
    if not where["address"]:
        where = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
        os.environ.setdefault("RAY_API_SERVER_ADDRESS", NO_DASHBOARD)
        if not any(variable.startswith("RAY_AUTH_") for variable in os.environ):
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # which Ray finds there, and asks for from now on
    with _own_sigterm():
        ray.init(**where, logging_level=log_level(), log_to_driver=log_level() != "ERROR")
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what SIGTERM does, where this process has said so: Ray's own handler ends it on the spot."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if handler != signal.SIG_DFL and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def log_level() -> str:
    """Ray is silent unless RAYCNER_RAY_LOG asks for a level (INFO, WARNING)."""
    return os.environ.get("RAYCNER_RAY_LOG", "ERROR").upper()
