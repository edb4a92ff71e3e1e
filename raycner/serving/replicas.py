"""Ray Serve: replicas of a service behind one HTTP port.

Serve batches requests, restarts replicas and passes requests to others meanwhile. Each replica looks at the aliases by
itself, so a promotion needs no deployment. A request that names an alias goes to a replica that has its step in memory,
if there is one (Serve's model multiplexing).
"""

import asyncio
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain, pairwise
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig

from raycner.errors import InputError
from raycner.orchestration.cluster import use_assigned_device
from raycner.serving.answer import Answer
from raycner.serving.service import AliasModel, AnswerService, Question, ServeConfig
from raycner.serving.web import web_app
from raycner.settings import build

APPLICATION = "raycner"
TOKEN = "RAYCNER_SERVE_TOKEN"
"""The environment variable with the token that requests must bear."""


@dataclass(frozen=True, kw_only=True)
class ReplicaConfig:
    """Where and how often a service runs."""

    host: str = "127.0.0.1"
    port: int = 8000
    replicas: int = 1
    max_replicas: int = 0
    """Serve starts up to so many as requests wait; 0: always `replicas`."""
    target_requests: float = 16.0
    """Requests in progress per replica that the number of replicas is chosen for."""
    idle: float = 300.0
    """Seconds of less load after which a replica is ended."""
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


def multiplexed(max_models: int) -> type[Replica]:
    """The replicas that hold so many aliases at a time (0: all), besides the one that answers by default."""

    class Multiplexed(Replica):
        async def model(self, alias: str) -> AliasModel:
            if alias == self.config.alias:
                return self.live
            model: AliasModel = await self._multiplexed(alias)
            return model

        @serve.multiplexed(max_num_models_per_replica=max_models or -1)  # type: ignore[untyped-decorator]
        async def _multiplexed(self, alias: str) -> AliasModel:
            """The step of an alias. Serve drops the least recently used one, and sends requests where theirs is."""
            return await asyncio.to_thread(self._load, alias)

    return Multiplexed


def start(config: ServeConfig, replica: ReplicaConfig) -> None:
    """Deploy the service on the Ray cluster that this process is connected to; returns when it answers."""
    serve.start(http_options={"host": replica.host, "port": replica.port}, logging_config={"enable_access_log": False})
    serve.run(deployment(config, replica).bind(config), name=APPLICATION, route_prefix="/")


def deployment(config: ServeConfig, replica: ReplicaConfig) -> Any:
    """The deployment of a service: replicas, how their number follows the load, and what may wait."""
    scaling: dict[str, Any] = {"num_replicas": replica.replicas}
    if replica.max_replicas > replica.replicas:
        scaling = {
            "autoscaling_config": AutoscalingConfig(
                min_replicas=replica.replicas,
                max_replicas=replica.max_replicas,
                target_ongoing_requests=replica.target_requests,
                downscale_delay_s=replica.idle,
            )
        }
    return serve.deployment(
        serve.ingress(_app)(multiplexed(config.max_models) if config.others else Replica),
        name=APPLICATION,
        max_ongoing_requests=4 * config.max_batch,
        max_queued_requests=64 * config.max_batch,
        ray_actor_options={"num_gpus": replica.gpus, "runtime_env": {"env_vars": _environment()}},
        graceful_shutdown_timeout_s=config.timeout,
        **scaling,
    )


@dataclass(frozen=True, kw_only=True)
class Application:
    """The settings of a service that a cluster starts by itself, as in `serveConfigV2` of a RayService."""

    serve: ServeConfig
    replicas: ReplicaConfig = field(default_factory=ReplicaConfig)


def application(settings: Mapping[str, Any]) -> Any:
    """The service of plain settings, for `import_path: raycner.serving.replicas:application` of Ray Serve.

    The token that requests must bear is in the environment, RAYCNER_SERVE_TOKEN. Raises `InputError` without one, and
    for settings that there are not.
    """
    token = os.environ.get(TOKEN, "")
    if not token:
        raise InputError("no token is set", location=TOKEN, hint="give the pods a secret with it, as this variable")
    made = build(Application, settings, "args")
    config = replace(made.serve, token=ServeConfig.digest(token))
    return deployment(config, made.replicas).bind(config)


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
