"""The Ray cluster that workers and trials run on: the one at RAY_ADDRESS, or a temporary one on this machine.

Whoever has the token of a cluster may use it. A temporary cluster gets a new token that is never written to a file. For
a cluster at RAY_ADDRESS, RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH give mode and token.
"""

import contextlib
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from raycner.errors import InputError
from raycner.events import EventHandler, Waiting, ignore_events

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a relative path means the same for a worker as for the user
    "RAY_worker_niceness": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interrupted search ends at once: it can resume from any point
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # Ray's own state of a search is never read
}
"""Environment variables for Ray, unless they are set already."""

NO_DASHBOARD = "http://127.0.0.1:9"
"""An address where no server listens. Without it, Ray Train looks for a dashboard for 12 s when a worker group ends."""

CONNECT_SECONDS = 30.0
"""How long the head of a cluster may take to accept a connection."""


@contextlib.contextmanager
def cluster(cpus: int, emit: EventHandler = ignore_events) -> Iterator[None]:
    """A connection to the cluster at RAY_ADDRESS, or to a temporary cluster of so many CPUs on this machine. A process
    that is connected stays so.

    Raises `InputError` in one line if Ray does not start or answer.
    """
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    import ray

    if ray.is_initialized():  # by a search, whose finalists are runs on the same cluster
        yield
        return
    options: dict[str, Any] = {"address": os.environ.get("RAY_ADDRESS")}
    if not options["address"]:
        options = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
        os.environ.setdefault("RAY_API_SERVER_ADDRESS", NO_DASHBOARD)
        if not any(variable.startswith("RAY_AUTH_") for variable in os.environ):
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # Ray reads it there, and requires it from now on
    with _keep_sigterm_handler():
        _connect(options, emit)
    try:
        yield
    finally:
        ray.shutdown()


def _connect(options: Mapping[str, Any], emit: EventHandler) -> None:
    import ray

    address = options["address"]
    if address == "local":
        where, hint = "this machine", "RAYCNER_RAY_LOG=INFO shows Ray's own log; `ray stop` ends an earlier cluster"
        emit(Waiting("starting Ray on this machine"))
    else:
        where, hint = "RAY_ADDRESS", "check the address and the token; without RAY_ADDRESS, Ray starts on this machine"
        emit(Waiting(f"connecting to Ray at {address}"))
    try:
        _knock(address)
        ray.init(**options, logging_level=log_level(), log_to_driver=log_level() != "ERROR")
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise InputError(f"Ray does not start or answer ({reason})", location=where, hint=hint) from error


def _knock(address: str) -> None:
    """Raise `OSError` where nothing listens at HOST:PORT: Ray itself would end this process, with a log of its own."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


@contextlib.contextmanager
def _keep_sigterm_handler() -> Iterator[None]:
    """Restore this process's SIGTERM handler: Ray replaces it with one that ends the process immediately."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if handler != signal.SIG_DFL and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def use_assigned_device() -> None:
    """Make this Ray worker compute on the GPU that Ray assigned to it, or on the CPU if it has none.

    CUDA alone cannot tell, because Ray does not hide the GPUs of a node from workers without one. Raises `InputError`
    if PyTorch cannot use the assigned GPU.
    """
    import ray
    import torch
    from ray.train.torch import get_device

    from raycner.networks.devices import assign

    if not ray.get_gpu_ids():
        assign(torch.device("cpu"))
        return
    if not torch.cuda.is_available():
        what = f"PyTorch {torch.__version__} cannot use the GPU that Ray assigned"
        hint = f"install a driver for CUDA {torch.version.cuda or 'and a CUDA build of PyTorch'}, or set it to 0"
        raise InputError(what, location="compute.gpus_per_worker", hint=hint)
    device = get_device()
    torch.cuda.set_device(device)
    assign(device)


def log_level() -> str:
    """Ray's log is off unless RAYCNER_RAY_LOG gives a level (INFO, WARNING)."""
    return os.environ.get("RAYCNER_RAY_LOG", "ERROR").upper()
