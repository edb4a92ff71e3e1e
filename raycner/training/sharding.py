"""Sharding: each of several ranks keeps the optimiser's state of its share of the parameters, and updates those.

With P parameters of 4 bytes, N ranks and Adam, a rank holds

    none         16 P           weights, gradients and two moments
    optimizer    8 P + 8 P / N  weights and gradients, and its share of the moments

Source: ZeRO, stage 1 (Rajbhandari et al., SC 2020), as PyTorch's `ZeroRedundancyOptimizer`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

from torch import Tensor
from torch.optim import Optimizer

from raycner.training import ranks

Moments = Mapping[int, Mapping[str, Tensor]]
"""The state of an optimiser by the index of the parameter."""


@runtime_checkable
class ShardedOptimizer(Protocol):
    """What is read of a `ZeroRedundancyOptimizer`, which takes most of a second to import."""

    optim: Optimizer
    """That of this rank's share of the parameters."""

    def consolidate_state_dict(self, to: int) -> None:
        """Send the state of all shares to one rank. A collective call."""


def sharded(groups: Sequence[dict[str, Any]], kind: type[Optimizer], **options: Any) -> Optimizer:
    """An optimiser of this kind whose state is spread over the ranks. A collective call."""
    from torch.distributed.optim import ZeroRedundancyOptimizer

    return ZeroRedundancyOptimizer(groups, kind, **options)


def kind_of(optimizer: Optimizer) -> type[Optimizer]:
    """The class of the optimiser, or of the one that each rank has for its share."""
    return type(optimizer.optim if isinstance(optimizer, ShardedOptimizer) else optimizer)


def moments(optimizer: Optimizer) -> Moments:
    """The state of all parameters on rank 0; elsewhere nothing is promised. A collective call if it is sharded."""
    if isinstance(optimizer, ShardedOptimizer):
        optimizer.consolidate_state_dict(to=0)
        if ranks.rank() != 0:
            return {}
    return cast(Moments, optimizer.state_dict()["state"])


def restore(optimizer: Optimizer, state: Moments) -> None:
    """Continue from a state of all parameters, of which a rank takes its share."""
    own = Optimizer.state_dict(optimizer)  # a sharded one's own method wants its state first
    optimizer.load_state_dict({**own, "state": {index: dict(of_one) for index, of_one in state.items()}})
