"""Several runs in lockstep: step 1 of each run, then step 2 of each, in this process or on a worker group."""

import itertools
import queue
import threading
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Self

from raycner.config import RunConfig
from raycner.events import Event, StepFinished, StepReused, ignore_events
from raycner.orchestration.event_relay import on_driver_node
from raycner.orchestration.run_steps import StepResult, run_steps
from raycner.orchestration.worker_group import StepBarrier, run_worker_group

StepResults = tuple[StepResult, ...]
"""The results of one step, one per run."""


def in_lockstep(configs: Sequence[RunConfig], corpora: Sequence[str]) -> Generator[StepResults]:
    """The results of the runs, step by step. A step is trained when it is requested."""
    compute = configs[0].compute
    if compute.workers <= 1:
        yield from zip(*(run_steps(config, corpora, ignore_events) for config in configs), strict=True)
        return
    with SteppedWorkerGroup(configs, corpora) as group:
        for step in itertools.count(1):
            results = group.train(step)
            if results is None:
                return
            yield results


class SteppedWorkerGroup:
    """A worker group that trains a step when `train` asks for it.

    `run_worker_group` returns only after the last step, so a thread calls it. Two things connect the thread with the
    caller: a barrier, at which the workers wait before each step, and a queue, which brings their results.
    """

    def __init__(self, configs: Sequence[RunConfig], corpora: Sequence[str]) -> None:
        import ray

        self._configs, self._corpora = configs, corpora
        self._barrier = ray.remote(**on_driver_node())(StepBarrier).remote()
        self._results: queue.Queue[StepResult | Exception | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._barrier.close.remote()
        self._thread.join()  # until then the workers keep the resources that the next trial waits for

    def train(self, step: int) -> StepResults | None:
        """The results of a step, from 1; None if there is no such step. Raises what ended the worker group."""
        self._barrier.open.remote(step)
        results: dict[str, StepResult] = {}
        while len(results) < len(self._configs):
            result = self._results.get()
            if isinstance(result, Exception):
                raise result
            if result is None:
                return None
            if result.record.index + 1 == step:  # workers that restart report earlier steps again
                results.setdefault(result.record.fingerprint, result)
        return tuple(results.values())

    def _run(self) -> None:
        """Of the thread. The last item in the queue says how the group ended: None, or an exception."""
        try:
            run_worker_group(self._configs, self._corpora, self._on_event, self._barrier)
            self._results.put(None)
        except Exception as error:
            self._results.put(error)

    def _on_event(self, event: Event, /) -> None:
        match event:
            case StepFinished(record):
                self._results.put(StepResult(record, trained=True))
            case StepReused(record):
                self._results.put(StepResult(record, trained=False))
