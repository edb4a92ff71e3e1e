"""The order in which sentences are seen, and the batches they are seen in.

The order of an epoch is one global permutation, drawn from (seed, epoch): whatever the number of ranks, the same
sentences meet in a batch, and each rank works on its stride of it. Batches are cut from pools sorted by length, so
little is padding, and closed by the number of sentences or by the number of slots, whichever comes first.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from raycner.data.scenarios.scenario import Split
from raycner.networks.batch import Batch
from raycner.networks.network import Network
from raycner.training import ranks

T = TypeVar("T")
Positions = NDArray[np.int64]
Collate = Callable[[Any], Batch]
EVAL_BATCH_LIMITS = {"cpu": (64, 512), "cuda": (256, 16384)}
"""Sentences and slots per batch where no gradient is kept, by device: a CPU gains by little padding, a GPU by size."""
SORT_POOL_BATCHES = 50
"""About how many batches' worth of shuffled sentences are sorted by length together: pools are of one size."""
BATCHES_PER_ROUND = 8
"""How many batches each rank reads before what it found is shared."""


class SplitLoader:
    """A split made ready for one network: tokenised once, collated on demand."""

    def __init__(self, split: Split, network: Network) -> None:
        self.split, self.network = split, network
        self.tokens = network.tokenize([split.corpus[split.part].words(int(row)) for row in split.rows])
        self.lengths = np.asarray([len(tokens) for tokens in self.tokens], dtype=np.int64)
        self.words = np.asarray([len(tokens.starts) for tokens in self.tokens], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, positions: Sequence[int] | Positions) -> Batch:
        at = [int(i) for i in positions]
        batch = self.network.collate([self.split[i] for i in at], [self.tokens[i] for i in at], at)
        return batch.to(self.network.device)

    def shard(self, positions: Positions, collate: Collate | None = None) -> Batch:
        """This rank's stride of a global batch; a silent sentence when there are fewer sentences than ranks."""
        collate = collate or self.batch
        mine = positions[ranks.rank() :: ranks.world_size()]
        return collate(mine) if len(mine) else collate(positions[:1]).masked()

    def shards(self) -> Iterator[Batch]:
        """Every sentence once: this rank's stride of each batch, so that no rank is left without one."""
        return (self.shard(positions) for positions in self._eval_batches(np.arange(len(self))))

    def batches(self) -> Iterator[tuple[Positions, Batch]]:
        """Every sentence once: whole batches, each on one rank. For what is gathered afterwards."""
        for part in self.batch_rounds():
            yield from part

    def batch_rounds(self) -> Iterator[list[tuple[Positions, Batch]]]:
        """`once` in parts of a few batches, as many parts on every rank: for what is gathered piece by piece."""
        batches, together = self._eval_batches(np.arange(len(self))), BATCHES_PER_ROUND * ranks.world_size()
        for begin in range(0, len(batches), together):
            mine = batches[begin : begin + together][ranks.rank() :: ranks.world_size()]
            yield [(positions, self.batch(positions)) for positions in mine]

    def survey(self, look: Callable[[Batch, Any], T]) -> Iterator[T]:
        """What `look` keeps of each batch and of the network's answer to it, in eval mode and without gradient.

        Every rank reads its share, and all know all.
        """
        for batches in self.batch_rounds():
            with self.network.eval_mode():
                kept = [look(batch, self.network(batch)) for _, batch in batches]
            yield from ranks.gather(kept, self.network.device)

    def batches_of(self, positions: Positions) -> Iterator[tuple[Positions, Batch]]:
        """These sentences, on this rank."""
        for part in self._eval_batches(positions):
            yield part, self.batch(part)

    def _eval_batches(self, positions: Positions) -> list[Positions]:
        """Batches for what keeps no gradient, longest first."""
        return eval_batches(positions, self.lengths, self.network.device)


def epoch_order(lengths: Positions, *, seed: int, epoch: int, size: int, tokens: int) -> list[Positions]:
    """The global batches of one epoch: at most `size` sentences and `tokens` slots each, padding included."""
    draw = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, epoch])))
    order = draw.permutation(len(lengths))
    batches: list[Positions] = []
    for pool in np.array_split(order, max(1, round(len(order) / (size * SORT_POOL_BATCHES)))):
        batches += cut(pool[np.argsort(-lengths[pool], kind="stable")], lengths, size, tokens)
    return [batches[i] for i in draw.permutation(len(batches))]


def eval_batches(positions: Positions, lengths: Positions, device: torch.device) -> list[Positions]:
    """The batches in which a device reads what stands at these positions where no gradient is kept, longest first."""
    return cut(positions[np.argsort(-lengths[positions], kind="stable")], lengths, *EVAL_BATCH_LIMITS[device.type])


def cut(order: Positions, lengths: Positions, size: int, tokens: int) -> list[Positions]:
    """Consecutive batches of an order sorted by falling length. A sentence longer than the budget goes alone."""
    batches: list[Positions] = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        end = start + max(1, min(size, tokens // longest))
        batches.append(order[start:end])
        start = end
    return batches
