"""Prefetching: batches are collated in a thread while the device computes the ones before.

One thread collates all batches in their order, so nothing that is learned depends on it. On a CPU the thread would only
take time from training.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
BATCHES_AHEAD = {"cpu": 0, "cuda": 4}
"""How many updates are collated ahead of the one that is computed, by device."""


def prefetch(function: Callable[[Item], Result], items: Iterable[Item], device: torch.device) -> Iterator[Result]:
    """`map(function, items)`, for training on a device, computed in a thread where that pays.

    The error of an item is raised in the place of its result.
    """
    ahead = BATCHES_AHEAD[device.type]
    if not ahead:
        yield from map(function, items)
        return
    set_device = partial(torch.cuda.set_device, device) if device.type == "cuda" else None
    thread = ThreadPoolExecutor(1, thread_name_prefix="collate", initializer=set_device)
    try:
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(thread.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        thread.shutdown(wait=True, cancel_futures=True)
