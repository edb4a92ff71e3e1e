"""Fusion: a step ends with a mixture of its weights and those of the step before.

    theta = fusion * theta' + (1 - fusion) * theta    for each weight theta' of the step before; new rows are kept

Both ends come from one start, so the weights between them are good ones too, nearer to the old types or to the new.
Of each tensor, only the `share` of weights may be mixed that matters most to the step before, by its Fisher
information, which needs no old sentence: the network of the step before labels those of the new step itself.

    F_i = mean over batches of ( d L' / d theta'_i )^2,    L' its own loss on the entities that it predicts

Source: uniform mixing as in WiSE-FT (CVPR 2022) and CoFiMA (ECCV 2024); Cs2K (ECCV 2024) and, as far as its abstract
says, SPT (2025) mix important weights alone.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from raycner.data.scenarios.scenario import Split
from raycner.networks.network import Network
from raycner.training import ranks
from raycner.training.loader import SplitLoader
from raycner.training.teacher import Teacher

Importance = Mapping[str, Tensor]
"""By the names of `state_dict`."""


@torch.no_grad()
def fuse(
    network: Network, before: Network, fusion: float, share: float = 1.0, importance: Importance | None = None
) -> None:
    """Mix the weights of the step before into a network that has ended its step. New rows follow the old ones.

    Of a tensor with an `importance`, its `share` of largest ones is mixed; without one, all of it.
    """
    weights = network.state_dict()
    for name, old in before.state_dict().items():
        new = weights.get(name)
        if new is not None and new.is_floating_point() and new.shape[1:] == old.shape[1:]:
            mixed = new[: len(old)] if old.ndim else new
            fisher = (importance or {}).get(name)
            fusions = torch.full_like(old, fusion) if fisher is None else fusion * largest(fisher, share)
            mixed.lerp_(old, fusions)


def largest(values: Tensor, share: float) -> Tensor:
    """1 at the `share` of largest values of a tensor, at one at least; 0 elsewhere."""
    number = max(1, round(share * values.numel()))
    chosen = torch.zeros_like(values)
    return chosen.view(-1).index_fill_(0, values.flatten().topk(number).indices, 1.0).view_as(values)


def fisher_information(network: Network, teacher: Teacher, split: Split) -> dict[str, Tensor]:
    """F of each weight of the network behind a teacher, on the words of a split; the same on every rank."""
    text = replace(split, visible=frozenset(), columns={}, companions=())
    predicted = [frozenset(entities) for entities in teacher.predictions(text)]
    loader = SplitLoader(text.with_pseudo(predicted), network)
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    sums = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for batch in loader.shards():
        loss = network.head.loss(network(batch), batch)
        mean = loss.total / loss.count.clamp(min=1)
        gradients = torch.autograd.grad(mean, list(parameters.values()), allow_unused=True, materialize_grads=True)
        for total, gradient in zip(sums.values(), gradients, strict=True):
            total += gradient.square()
    return {name: ranks.all_reduce_sum(total) for name, total in sums.items()}
