"""One group of Ray Train workers, which walks all the steps that are missing: starting one costs tens of seconds."""

import asyncio
import contextlib
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from raycner.config import RunConfig
from raycner.errors import InputError
from raycner.events import Event, EventHandler, StepAdvanced, StepFinished, StepReused
from raycner.orchestration.cluster import log_level
from raycner.orchestration.run_steps import run_steps
from raycner.storage.store import ObjectStore
from raycner.training import ranks

RESIZE = 10.0
"""How many seconds apart an elastic gang looks for room for more workers."""


class StepBarrier:
    """An actor that a gang stops at before each step, until it is let through or told to go home."""

    def __init__(self) -> None:
        self._steps, self._closed, self._news = 0, False, asyncio.Condition()

    async def open(self, steps: int) -> None:
        """Let so many steps through, counted from the first."""
        await self._become(steps, False)

    async def close(self) -> None:
        await self._become(self._steps, True)

    async def passed(self, step: int) -> bool:
        """Wait in front of a step (from 1); whether to go on."""
        async with self._news:
            await self._news.wait_for(lambda: self._closed or step <= self._steps)
        return not self._closed

    async def _become(self, steps: int, closed: bool) -> None:
        async with self._news:
            self._steps, self._closed = steps, closed
            self._news.notify_all()


def run_worker_group(
    configs: Sequence[RunConfig],
    fingerprints: Sequence[str],
    emit: EventHandler,
    barrier: Any = None,
    tests: Mapping[str, str] | None = None,
) -> None:
    """Walk the runs abreast, each step of every run before the next, on the workers that the first of them asks for.

    The cluster is connected to. Where a run stands is the store's to say: Ray resumes nothing, and what it leaves
    behind is never read. A `gate` (the handle of a `StepBarrier`) says after each step whether there is to be another.
    """
    from ray import train as ray_train
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.util.queue import Queue

    from raycner.orchestration.gloo import GlooConfig

    compute = configs[0].compute
    event_queue = Queue(actor_options=on_driver_node())
    store = ObjectStore(configs[0].store)
    attempt = uuid.uuid4().hex[:12]  # never used again: no state of Ray's is ever resumed
    trainer = TorchTrainer(
        _work,
        train_loop_config={
            "configs": list(configs),
            "fingerprints": list(fingerprints),
            "tests": dict(tests or {}),
            "board": event_queue,
            "gate": barrier,
        },
        torch_config=TorchConfig(backend="nccl") if compute.gpus_per_worker else GlooConfig(),
        scaling_config=ray_train.ScalingConfig(
            num_workers=(compute.min_workers, compute.workers) if compute.min_workers else compute.workers,
            elastic_resize_monitor_interval_s=RESIZE,
            use_gpu=compute.gpus_per_worker > 0,
            resources_per_worker={"CPU": compute.cpus_per_worker}
            | ({"GPU": compute.gpus_per_worker} if compute.gpus_per_worker else {}),
        ),
        run_config=ray_train.RunConfig(
            name=attempt,
            storage_path=f"{store.uri}/ray",
            failure_config=ray_train.FailureConfig(
                max_failures=compute.max_failures, controller_failure_limit=compute.max_failures
            ),
            logging_config=ray_train.LoggingConfig(log_level=log_level()),
        ),
    )
    with _relayed(event_queue, emit):
        result = trainer.fit()
    store.remove(f"ray/{attempt}")
    if isinstance(result.return_value, InputError):
        raise result.return_value


def on_driver_node() -> dict[str, Any]:
    """How an actor is started that must live as long as its driver: on the same node, on no CPU of it."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    return {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False)}


def _work(told: dict[str, Any]) -> InputError | None:
    """What every worker of a gang does; a refusal is handed back, since trying again would not mend it."""
    import ray
    from ray import train as ray_train
    from ray.train.torch import get_device

    if torch.cuda.is_available():
        torch.cuda.set_device(get_device())
    torch.set_num_threads(told["configs"][0].compute.cpus_per_worker)
    event_queue, barrier, heard = told["board"], told["gate"], 0.0

    def emit(event: Event) -> None:
        nonlocal heard
        news = not isinstance(event, StepAdvanced) or time.monotonic() > heard + 0.2
        if ranks.rank() == 0 and news:
            event_queue.put(event)
            heard = time.monotonic()
        if isinstance(event, StepFinished | StepReused):
            ray_train.report({"step": event.record.index})

    def passed(step: int) -> bool:
        return barrier is None or ranks.broadcast_from_rank0(lambda: bool(ray.get(barrier.passed.remote(step))))

    try:
        walking = zip(
            *(run_steps(config, told["fingerprints"], emit, told["tests"]) for config in told["configs"]), strict=True
        )
        step = 1
        while passed(step) and next(walking, None):
            step += 1
    except InputError as refusal:
        return refusal
    return None


@contextlib.contextmanager
def _relayed(event_queue: Any, emit: EventHandler) -> Iterator[None]:
    """Hand on what the workers put on the board, until the block ends; all of it, unless that was by an exception."""
    from ray.util.queue import Empty

    ended, broken = threading.Event(), threading.Event()

    def relay() -> None:
        while not broken.is_set():
            try:
                emit(event_queue.get(timeout=0.2))
            except Empty:
                if ended.is_set():
                    return

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        broken.set()
        raise
    finally:
        ended.set()
        thread.join(timeout=10)
