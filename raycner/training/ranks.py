"""The ranks that work on one step together; alone when torch.distributed is not started."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from raycner.errors import InputError

T = TypeVar("T")


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


class WorkerLost(RuntimeError):
    """Another worker died or did not come to a collective operation in time: the worker group starts again."""


@contextmanager
def _collective(operation: str) -> Iterator[None]:
    """A context in which the failure of a collective operation is a `WorkerLost`, in one line."""
    try:
        yield
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WorkerLost(f"rank {rank()} lost another worker in {operation} ({reason})") from error


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum of every rank's tensor, on every rank."""
    if world_size() > 1:
        with _collective("all_reduce"):
            dist.all_reduce(tensor)
    return tensor


def broadcast_from_rank0(look: Callable[[], T]) -> T:
    """The result of a function that rank 0 alone calls, on every rank. An `InputError` is raised on every rank."""
    if world_size() == 1:
        return look()
    results: list[T | InputError | None] = [None]
    if rank() == 0:
        try:
            results[0] = look()
        except InputError as error:
            results[0] = error
    with _collective("broadcast"):
        dist.broadcast_object_list(results)
    (result,) = results
    if isinstance(result, InputError):
        raise result
    return result  # type: ignore[return-value]


def gather(items: list[T], device: torch.device) -> list[T]:
    """Every rank's list, joined in the order of ranks, on every rank."""
    if world_size() == 1:
        return items
    if device.type == "cuda":
        torch.cuda.set_device(device)
    parts: list[list[T]] = [[] for _ in range(world_size())]
    with _collective("gather"):
        dist.all_gather_object(parts, items)
    return [item for part in parts for item in part]


def barrier() -> None:
    """Wait for every rank."""
    if world_size() > 1:
        with _collective("barrier"):
            dist.barrier()
