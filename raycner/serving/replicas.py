"""Ray Serve: replicas of a service behind one HTTP port.

Serve batches requests, restarts replicas and passes requests to others meanwhile. Each replica looks at the aliases by
itself, so a promotion needs no deployment.
"""

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import Any

from ray import serve

from raycner.orchestration.cluster import use_assigned_device
from raycner.serving.answers import Answer, AnswerService, Question, ServeConfig
from raycner.serving.web import web_app

APPLICATION = "raycner"


@dataclass(frozen=True, kw_only=True)
class ReplicaConfig:
    """Where and how often a service runs."""

    host: str = "127.0.0.1"
    port: int = 8000
    replicas: int = 1
    max_replicas: int = 0
    """Serve starts up to so many as requests wait; 0: always `replicas`."""
    gpus: float = 0.0
    """Of each replica."""


class Replica(AnswerService):
    """A service whose requests are answered in batches."""

    def __init__(self, config: ServeConfig) -> None:
        logging.getLogger("raycner").setLevel(logging.WARNING)
        use_assigned_device()
        super().__init__(config)
        self._ended = threading.Event()
        threading.Thread(target=self.refresh_forever, args=(self._ended,), daemon=True, name="aliases").start()
        self._ask_together.set_max_batch_size(config.max_batch)
        self._ask_together.set_batch_wait_timeout_s(config.batch_wait)

    async def ask(self, questions: Sequence[Question]) -> list[Answer]:
        answers: list[Answer] = await self._ask_together(questions)
        return answers

    @serve.batch  # type: ignore[untyped-decorator]
    async def _ask_together(self, requests: list[Sequence[Question]]) -> list[list[Answer]]:
        """The answers of several requests."""
        answers = await super().ask(list(chain.from_iterable(requests)))
        ends = accumulate(map(len, requests), initial=0)
        return [answers[start:end] for start, end in pairwise(ends)]

    def check_health(self) -> None:
        """Serve replaces a replica that raises here."""
        if not self.live.current.predictor.types:
            raise RuntimeError("no step is loaded")

    def __del__(self) -> None:
        self._ended.set()


def start(config: ServeConfig, replica: ReplicaConfig) -> None:
    """Deploy the service on the Ray cluster that this process is connected to; returns when it answers."""
    serve.start(http_options={"host": replica.host, "port": replica.port}, logging_config={"enable_access_log": False})
    scaling: dict[str, Any] = {"num_replicas": replica.replicas}
    if replica.max_replicas > replica.replicas:
        bounds = {"min_replicas": replica.replicas, "max_replicas": replica.max_replicas}
        scaling = {"autoscaling_config": bounds}
    deployment = serve.deployment(
        serve.ingress(_app)(Replica),
        name=APPLICATION,
        max_ongoing_requests=4 * config.max_batch,
        max_queued_requests=64 * config.max_batch,
        ray_actor_options={"num_gpus": replica.gpus, "runtime_env": {"env_vars": _environment()}},
        graceful_shutdown_timeout_s=config.timeout,
        **scaling,
    )
    serve.run(deployment.bind(config), name=APPLICATION, route_prefix="/")


def _app() -> Any:
    """The application of this replica's process."""
    return web_app(lambda: serve.get_replica_context().servable_object)


def _environment() -> dict[str, str]:
    """Variables that replicas need to read the store and the encoder."""
    names = ("HF_HUB_OFFLINE", "RAYCNER_CACHE", "OMP_NUM_THREADS")
    return {name: os.environ[name] for name in names if name in os.environ}


def stop() -> None:
    """End the service; requests that are being answered are finished first."""
    serve.shutdown()
