"""Exemplars: which sentences of a finished step are worth keeping for the later ones.

Each way ranks the sentences of a group, those with an entity of one type or of any; the first ones are kept. Ties are
broken at random. Every rank computes the same.
Shapes: G sentences of a group, H width.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from raycner.data.scenarios.memory import Kept, KeptLogits, KeptStates, MemoryConfig
from raycner.data.scenarios.scenario import Split
from raycner.networks.batch import Batch
from raycner.networks.network import Network
from raycner.training import ranks
from raycner.training.loader import SplitLoader

T = TypeVar("T")
Positions = NDArray[np.int64]
Ranking = Callable[[Positions, int], Positions]
"""The positions of a group in random order, and a number -> so many of them, the most worth keeping first."""


def exemplars(split: Split, config: MemoryConfig, network: Callable[[], Network], seed: Sequence[int]) -> Positions:
    """The positions of the sentences to keep, in the order of the split. `network` loads the step's network."""
    draw = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    shuffled = draw.permutation(len(split))
    first = RANKINGS[config.choose](split, network)
    chosen = [first(shuffled[np.isin(shuffled, group)], config.size) for group in _groups(split, config)]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *chosen]))


def _groups(split: Split, config: MemoryConfig) -> Iterator[Positions]:
    """The positions of the sentences with an entity of each visible type, or of any."""
    types = _types(split)
    wanted = [{kind} for kind in sorted(split.visible)] if config.per == "type" else [set(split.visible)]
    for group in wanted:
        yield np.flatnonzero([bool(group & own) for own in types])


def _types(split: Split) -> list[set[str]]:
    return [{entity.type for entity in sentence.entities} for sentence in split.sentences()]


def at_random(split: Split, network: Callable[[], Network]) -> Ranking:  # noqa: ARG001
    return lambda group, size: group[:size]


def rarest(split: Split, network: Callable[[], Network]) -> Ranking:  # noqa: ARG001
    """By the sum over the types of a sentence of 1 / (sentences with that type)."""
    types = _types(split)
    number = Counter(kind for own in types for kind in own)
    return _highest([sum(1 / number[kind] for kind in sorted(own)) for own in types])


def uncertain(split: Split, network: Callable[[], Network]) -> Ranking:
    """By one minus the mean confidence in the entities that the step's network predicts; 1 where it predicts none."""
    trained = network()

    def doubt(batch: Batch) -> Tensor:
        confidences = [entities.values() for entities in trained.predict(batch)]
        return torch.tensor([1.0 - sum(own) / len(own) if own else 1.0 for own in confidences])

    return _highest(_each_sentence(split, trained, doubt))


def herding(split: Split, network: Callable[[], Network]) -> Ranking:
    """Greedily, the sentence that brings the mean of those chosen nearest to the mean of the group.

    The features of a sentence are the mean of the unit states of its entities' words. Source: iCaRL (CVPR 2017).
    """
    trained = network()

    def features(batch: Batch) -> Tensor:
        inside = torch.zeros_like(batch.mask)
        for row, position in enumerate(batch.positions.tolist()):
            for entity in split[position].entities:
                inside[row, entity.start : entity.end] = True
        inside &= batch.mask
        states = F.normalize(trained.states(batch).words, dim=-1) * inside[..., None]
        return states.sum(1) / inside.sum(1, keepdim=True).clamp(min=1)

    each = torch.tensor(_each_sentence(split, trained, features), dtype=torch.float64)
    return lambda group, size: group[herded(each[torch.from_numpy(group)], size)]


def kept_of(split: Split, config: MemoryConfig, network: Callable[[], Network]) -> Kept | None:
    """What is kept of the words of the chosen sentences, next to their annotations. A collective call."""
    if config.keep == "logits":
        return KeptLogits(_of_words(split, network(), lambda _, output: output.logits))
    if config.keep == "states":
        trained = network()
        return KeptStates(_of_words(split, trained, lambda batch, _: trained.states(batch).words))
    return None


def _of_words(split: Split, network: Network, look: Callable[[Batch, Any], Tensor]) -> list[NDArray[np.float32]]:
    """[words, ...] the rows of `look(batch, output)` [B, T, ...] of each sentence, zero for words without a state."""

    def rows(batch: Batch, output: Any) -> list[tuple[int, NDArray[np.float32]]]:
        values = look(batch, output).float().masked_fill(~batch.mask[..., None], 0.0).cpu().numpy()
        return [(i, values[row, : split.lengths[i]]) for row, i in enumerate(batch.positions.tolist())]

    each = dict(pair for batch in SplitLoader(split, network).survey(rows) for pair in batch)
    return [each[position] for position in range(len(split))]


def herded(features: Tensor, size: int) -> list[int]:
    """The first `size` rows of [G, H] in the order of herding."""
    mean, total, order = features.mean(0), torch.zeros_like(features[0]), list[int]()
    remaining = torch.ones(len(features), dtype=torch.bool)
    for number in range(1, min(size, len(features)) + 1):
        distance = ((total + features) / number - mean).norm(dim=-1)
        nearest = int(distance.masked_fill(~remaining, torch.inf).argmin())
        remaining[nearest] = False
        total = total + features[nearest]
        order.append(nearest)
    return order


RANKINGS: dict[str, Callable[[Split, Callable[[], Network]], Ranking]] = {
    "random": at_random,
    "rarest": rarest,
    "uncertain": uncertain,
    "herding": herding,
}


def _highest(values: Sequence[float]) -> Ranking:
    """By falling value; of equal values, the first in the group."""
    falling = -np.asarray(values)
    return lambda group, size: group[np.argsort(falling[group], kind="stable")[:size]]


def _each_sentence(split: Split, network: Network, look: Callable[[Batch], Tensor]) -> list[T]:
    """The row of `look(batch)` for each sentence, as plain numbers, in the order of the split."""
    own: list[tuple[int, T]] = []
    with network.eval_mode():
        for positions, batch in SplitLoader(split, network).batches():
            own += zip(positions.tolist(), look(batch).double().tolist(), strict=True)
    gathered = dict(ranks.gather(own, network.device))
    return [gathered[position] for position in range(len(split))]
