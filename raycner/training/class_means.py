"""Class means: the mean of the unit features of each tag's words, by one pass over sentences.

New rows can be imprinted with them (`model.growth.imprint`), and they are the prototypes that a method may need of the
tags of earlier steps. Shapes: C tags, H width of a feature.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from raycner.data.entities import OUTSIDE, split_tag
from raycner.data.scenarios.scenario import Split
from raycner.networks.class_statistics import ClassStatistics
from raycner.networks.network import Network
from raycner.training import ranks
from raycner.training.loader import SplitLoader


def class_means(network: Network, splits: Sequence[Split]) -> tuple[Tensor, Tensor]:
    """The sums of unit features per tag [C, H], and their number [C], over the words of all splits.

    A collective call: each rank reads its share of the sentences.
    """
    gathered: list[Tensor] = []
    with network.eval_mode():
        for split in splits:
            for batch in SplitLoader(split, network).shards():
                sums, counts = network.head.class_means(network.states(batch), batch)
                gathered.append(torch.cat([sums, counts[:, None]], dim=1))
    total = ranks.all_reduce_sum(torch.stack(gathered).sum(0))
    return total[:, :-1], total[:, -1]


def with_prototypes(network: Network, train: Split) -> ClassStatistics:
    """The statistics of a network that has ended its step, with the prototypes of the step's own tags, O excepted."""
    head, prototypes = network.head, {**network.statistics.prototypes}
    sums, counts = class_means(network, [train])
    for tag, total, count in zip(head.tags, sums, counts, strict=True):
        if tag != OUTSIDE and split_tag(tag)[1] in head.inventory.new and count:
            prototypes[tag] = total / count
    return replace(network.statistics, prototypes=prototypes)
