"""Serving: the step that an alias names, behind HTTP, on Ray Serve."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

from raycner.errors import InputError
from raycner.storage.aliases import find_alias, no_alias
from raycner.storage.store import ObjectStore

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Server:
    """A service that answers."""

    url: str

    def wait(self) -> None:
        """Wait until the process is interrupted."""
        threading.Event().wait()


@contextmanager
def serve(
    alias: str,
    *,
    also: Sequence[str] = (),
    max_models: int = 0,
    store: str | PathLike[str] = "store",
    host: str = "127.0.0.1",
    port: int = 8000,
    replicas: int = 1,
    max_replicas: int = 0,
    target_requests: float = 16.0,
    idle: float = 300.0,
    gpus: float = 0.0,
    shadow: str = "",
    canary: str = "",
    canary_share: float = 0.05,
    token: str = "",
    log_texts: str = "",
    max_texts: int = 64,
    max_characters: int = 100_000,
    timeout: float = 30.0,
    encoder: str | None = None,
) -> Iterator[Server]:
    """Serve an alias while the block runs, on the Ray cluster at RAY_ADDRESS or on one of this machine.

        with raycner.serve("production", shadow="candidate") as server:
            server.wait()

    `POST /predict` takes a text, a list of texts, or documents; `/healthz` and `/metrics` are for probes. A promotion
    is picked up within seconds, and no request is dropped. Requests choose one of the aliases `also` by the header
    `serve_multiplexed_model_id`; each replica has at most `max_models` of them in memory (0: all). Between `replicas`
    and `max_replicas`, Serve starts as many as there are `target_requests` in progress for each, and ends one after
    `idle` seconds of less load. `shadow` is an alias whose step reads every text too, `canary` one whose step answers a
    share of the requests. `log_texts` is a folder in which every text is logged with its entities. Requests bear
    `token`, if there is one; without one, only this machine is served. Raises `InputError` for an alias that does not
    exist.
    """
    if not token and host not in LOOPBACK:
        hint = "set RAYCNER_SERVE_TOKEN, or serve this machine alone"
        raise InputError("others may connect, and no token is required", location=f"--host {host}", hint=hint)
    place = ObjectStore(fspath(store))
    for name in filter(None, (alias, *also, shadow, canary)):
        if find_alias(place, name) is None:
            raise no_alias(place, name)
    try:
        from raycner.serving.replicas import ReplicaConfig, start, stop
        from raycner.serving.service import ServeConfig
    except ImportError as error:
        hint = "pip install 'raycner[serve]'"
        raise InputError(f"Ray Serve is not installed ({error.name})", location="serve", hint=hint) from None
    from raycner.orchestration.cluster import cluster

    config = ServeConfig(
        alias=alias,
        store=place.uri,
        encoder=str(Path(encoder).absolute()) if encoder and Path(encoder).exists() else encoder,
        others=tuple(also),
        max_models=max_models,
        shadow=shadow,
        canary=canary,
        canary_share=canary_share,
        text_log=str(Path(log_texts).absolute()) if log_texts else "",
        token=ServeConfig.digest(token),
        max_texts=max_texts,
        max_characters=max_characters,
        timeout=timeout,
    )
    scaling = ReplicaConfig(
        host=host,
        port=port,
        replicas=replicas,
        max_replicas=max_replicas,
        target_requests=target_requests,
        idle=idle,
        gpus=gpus,
    )
    with cluster(max(replicas, max_replicas) + 2):
        try:
            start(config, scaling)
            yield Server(f"http://{host}:{port}")
        finally:
            stop()
