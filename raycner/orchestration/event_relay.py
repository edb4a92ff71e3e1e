"""Events from other processes: a Ray queue, what puts events into it, and a thread that passes them on."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from raycner.events import Event, EventHandler, StepAdvanced

PROGRESS_SECONDS = 0.2
"""The least time between two `StepAdvanced` events, each of which is a message between processes."""


def on_driver_node() -> dict[str, Any]:
    """Options of an actor that must live as long as its driver: on the driver's node, without reserving a CPU."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node = ray.get_runtime_context().get_node_id()
    return {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


class EventSender:
    """Sends events with `put`: all but those `StepAdvanced` that follow another event too soon."""

    def __init__(self, put: Callable[[Event], object]) -> None:
        self._put = put
        self._last_sent = 0.0

    def __call__(self, event: Event, /) -> None:
        now = time.monotonic()
        if isinstance(event, StepAdvanced) and now < self._last_sent + PROGRESS_SECONDS:
            return
        self._put(event)
        self._last_sent = now


@contextlib.contextmanager
def relay(event_queue: Any, emit: EventHandler) -> Iterator[None]:
    """Pass the events of the queue to `emit` during the block, and the remaining ones after it, unless it raises."""
    from ray.util.queue import Empty

    ended, failed = threading.Event(), threading.Event()

    def pass_on() -> None:
        while not failed.is_set():
            try:
                emit(event_queue.get(timeout=0.2))
            except Empty:
                if ended.is_set():
                    return

    thread = threading.Thread(target=pass_on, daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        failed.set()
        raise
    finally:
        ended.set()
        thread.join(timeout=10)
