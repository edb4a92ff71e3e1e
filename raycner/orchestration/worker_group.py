"""One group of Ray Train workers for all missing steps, because starting a group takes tens of seconds."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import torch

from raycner.config import ComputeConfig, RunConfig
from raycner.errors import InputError
from raycner.events import Event, EventHandler, StepFinished, StepReused
from raycner.orchestration.cluster import log_level, use_assigned_device
from raycner.orchestration.event_relay import EventSender, on_driver_node, relay
from raycner.orchestration.run_steps import run_steps
from raycner.storage.store import ObjectStore
from raycner.training import ranks

RESIZE_SECONDS = 10.0
"""How often an elastic group looks for resources for more workers."""
TIMEOUT_SECONDS = 600
"""How long a worker waits for the others in a collective operation before it fails, and the group restarts."""
BARRIER_SECONDS = 60.0
"""How long rank 0 waits at the barrier before it asks again: well below the timeout of the ranks that wait for it."""


class StepBarrier:
    """An actor at which a worker group waits before each step, until the step is opened or the barrier is closed."""

    def __init__(self) -> None:
        self._opened, self._closed, self._changed = 0, False, asyncio.Condition()

    async def open(self, step: int) -> None:
        """Let the workers train all steps up to this one, from 1."""
        await self._set(step, closed=False)

    async def close(self) -> None:
        """Let the workers end."""
        await self._set(self._opened, closed=True)

    async def wait(self, step: int) -> bool | None:
        """True: train this step. False: end. None: ask again."""
        async with self._changed:
            try:
                await asyncio.wait_for(
                    self._changed.wait_for(lambda: self._closed or step <= self._opened), BARRIER_SECONDS
                )
            except TimeoutError:
                return None
        return not self._closed

    async def _set(self, opened: int, *, closed: bool) -> None:
        async with self._changed:
            self._opened, self._closed = opened, closed
            self._changed.notify_all()


class _Work(TypedDict):
    """What every worker receives."""

    configs: list[RunConfig]
    corpora: list[str]
    """Fingerprints."""
    test_sets: dict[str, str]
    """Name -> fingerprint."""
    event_queue: Any
    barrier: Any


def run_worker_group(
    configs: Sequence[RunConfig],
    corpora: Sequence[str],
    emit: EventHandler,
    barrier: Any = None,
    test_sets: Mapping[str, str] | None = None,
) -> None:
    """Train the runs in lockstep, each step of every run before the next, on the workers that the first run asks for.

    The process is connected to a cluster. `corpora` are fingerprints, and so are the extra `test_sets`, by name.
    `barrier` is the handle of a `StepBarrier`; without one, the workers train all steps. Progress is in the store:
    Ray's own state is never read.
    """
    from ray.train.torch import TorchTrainer
    from ray.util.queue import Queue

    event_queue = Queue(actor_options=on_driver_node())
    store = ObjectStore(configs[0].store)
    attempt = uuid.uuid4().hex[:12]  # a new name each time: Ray's own state is never resumed
    compute = configs[0].compute
    trainer = TorchTrainer(
        _work,
        train_loop_config=_Work(
            configs=list(configs),
            corpora=list(corpora),
            test_sets=dict(test_sets or {}),
            event_queue=event_queue,
            barrier=barrier,
        ),
        torch_config=_torch_config(compute),
        scaling_config=_scaling_config(compute),
        run_config=_run_config(compute, attempt, f"{store.uri}/ray"),
    )
    with relay(event_queue, emit):
        result = trainer.fit()
    store.remove(f"ray/{attempt}")
    if isinstance(result.return_value, InputError):
        raise result.return_value


def _torch_config(compute: ComputeConfig) -> Any:
    from ray.train.torch import TorchConfig

    from raycner.orchestration.gloo import GlooConfig

    if compute.gpus_per_worker:
        return TorchConfig(backend="nccl", timeout_s=TIMEOUT_SECONDS)
    return GlooConfig(timeout_s=TIMEOUT_SECONDS)


def _scaling_config(compute: ComputeConfig) -> Any:
    from ray.train import ScalingConfig

    gpus = {"GPU": compute.gpus_per_worker} if compute.gpus_per_worker else {}
    return ScalingConfig(
        num_workers=(compute.min_workers, compute.workers) if compute.min_workers else compute.workers,
        elastic_resize_monitor_interval_s=RESIZE_SECONDS,
        use_gpu=compute.gpus_per_worker > 0,
        resources_per_worker={"CPU": compute.cpus_per_worker} | gpus,
    )


def _run_config(compute: ComputeConfig, name: str, folder: str) -> Any:
    from ray.train import FailureConfig, LoggingConfig
    from ray.train import RunConfig as RayRunConfig

    failures = compute.max_failures
    return RayRunConfig(
        name=name,
        storage_path=folder,
        failure_config=FailureConfig(max_failures=failures, controller_failure_limit=failures),
        logging_config=LoggingConfig(log_level=log_level()),
    )


def _work(work: _Work) -> InputError | None:
    """The program of every worker. An `InputError` is returned, because a restart would not help."""
    configs, emit = work["configs"], _RankZeroSender(work["event_queue"].put)
    torch.set_num_threads(configs[0].compute.cpus_per_worker)
    try:
        use_assigned_device()
        runs = [run_steps(config, work["corpora"], emit, work["test_sets"]) for config in configs]
        steps = zip(*runs, strict=True)
        step = 1
        while _may_train(step, work["barrier"]) and next(steps, None):
            step += 1
    except InputError as error:
        return error
    return None


def _may_train(step: int, barrier: Any) -> bool:
    """Wait at the barrier, on all ranks. Each wait is short, so the other ranks do not time out."""
    import ray

    if barrier is None:
        return True
    while True:
        opened: bool | None = ranks.broadcast_from_rank0(lambda: ray.get(barrier.wait.remote(step)))
        if opened is not None:
            return opened


class _RankZeroSender(EventSender):
    """Sends rank 0's events to the driver, and reports finished steps to Ray Train."""

    def __call__(self, event: Event, /) -> None:
        from ray import train as ray_train

        if ranks.rank() == 0:
            super().__call__(event)
        if isinstance(event, StepFinished | StepReused):
            ray_train.report({"step": event.record.index})
