"""The order in which sentences are seen, and the batches they are seen in.

The order of an epoch is one global permutation, drawn from (seed, epoch): the same sentences meet in a batch for any
number of ranks, and each rank works on its stride of it. Batches are cut from pools sorted by length, so little is
padding, and closed by the number of sentences or by the number of slots, whichever comes first. Published recipes
shuffle without pools, or keep the order of the corpus.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from raycner.data.scenarios.memory import KeptStates
from raycner.data.scenarios.scenario import Split
from raycner.networks.batch import Batch, RememberedStates, WordStates, to_device
from raycner.networks.network import Network
from raycner.training import ranks
from raycner.training.cached_output import CachedOutput
from raycner.training.token_columns import tokenize_split

T = TypeVar("T")
Positions = NDArray[np.int64]
Collate = Callable[[Any], Batch]
Order = Literal["pools", "shuffle", "corpus"]
EVAL_BATCH_LIMITS = {"cpu": (64, 512), "cuda": (256, 16384)}
"""Sentences and slots per batch where no gradient is kept, by device: a CPU gains by little padding, a GPU by size."""
BATCH_DEPENDENT_SIZE = 8
"""Sentences per such batch, in the order of the split, where the output of the head depends on its batch: as published,
and the same on every device."""
SORT_POOL_BATCHES = 50
"""About how many batches of shuffled sentences are sorted by length together: pools are of one size."""
BATCHES_PER_ROUND = 8
"""How many batches each rank reads before the results are gathered."""


class SplitLoader:
    """The batches of a split for one network: sentences and tokens are read from mapped columns, collated on demand."""

    lengths: NDArray[np.int64]
    """[sentences] slots of each sentence."""
    words: NDArray[np.int64]
    """[sentences] words of each sentence."""

    def __init__(self, split: Split, network: Network) -> None:
        self.split, self.network = split, network
        self.tokens = tokenize_split(split, network.encoder)
        self.lengths = self.tokens.lengths
        self.words = split.lengths
        self._states: CachedOutput | None = None
        self._remembered = _remembered(split)

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, positions: Sequence[int] | Positions) -> Batch:
        """The sentences at these positions of the split, on the network's device."""
        at = [int(i) for i in positions]
        batch = self.network.collate([self.split[i] for i in at], self.tokens.read(at), at)
        batch = batch.to(self.network.device)
        if self._states is None:
            return self._with_remembered(batch) if self._remembered else batch
        states = self._states.read(batch.positions, batch.mask_on_host)
        return batch.with_column(WordStates(to_device(states, self.network.device)))

    def _with_remembered(self, batch: Batch) -> Batch:
        """The batch with the column `RememberedStates`, if it has sentences of a memory."""
        own = [self._remembered.get(position) for position in batch.positions.tolist()]
        if all(states is None for states in own):
            return batch
        words = torch.zeros(*batch.mask.shape, self.network.encoder.width)
        for sentence, states in zip(words, own, strict=True):
            if states is not None:
                sentence[: len(states)] = torch.from_numpy(states.copy())
        where = torch.tensor([states is not None for states in own])[:, None, None]
        device = self.network.device
        return batch.with_column(RememberedStates(to_device(words, device), to_device(where, device)))

    def cache_states(self, path: Path) -> None:
        """Compute the states of all words, which every batch then has as a column: for an encoder that is frozen.

        One pass, shared among the ranks; each keeps all states in a file that begins with this path.
        """
        states = CachedOutput(path.with_name(f"{path.name}-{ranks.rank()}"), len(self))
        for batches in self.batch_rounds():
            own: list[tuple[int, NDArray[Any]]] = []
            for positions, batch in batches:
                with self.network.eval_mode():
                    words, mask = self.network.states(batch).words.cpu().numpy(), batch.mask.cpu().numpy()
                own += [(i, words[row][mask[row]]) for row, i in enumerate(positions.tolist())]
            for position, rows in ranks.gather(own, self.network.device):
                states.write(position, rows)
        self._states = states

    def shard(self, positions: Positions, collate: Collate | None = None) -> Batch:
        """This rank's stride of a global batch; a masked sentence when there are fewer sentences than ranks."""
        collate = collate or self.batch
        own = positions[ranks.rank() :: ranks.world_size()]
        return collate(own) if len(own) else collate(positions[:1]).masked()

    def shards(self) -> Iterator[Batch]:
        """Every sentence once: this rank's stride of each batch, so that every rank has as many batches."""
        return (self.shard(positions) for positions in self._eval_batches(np.arange(len(self))))

    def batches(self) -> Iterator[tuple[Positions, Batch]]:
        """Every sentence once: whole batches, each on one rank. For results that are gathered afterwards."""
        for batches in self.batch_rounds():
            yield from batches

    def batch_rounds(self) -> Iterator[list[tuple[Positions, Batch]]]:
        """`batches` in rounds of a few, as many rounds on every rank: for results that are gathered round by round."""
        batches, per_round = self._eval_batches(np.arange(len(self))), BATCHES_PER_ROUND * ranks.world_size()
        for begin in range(0, len(batches), per_round):
            own = batches[begin : begin + per_round][ranks.rank() :: ranks.world_size()]
            yield [(positions, self.batch(positions)) for positions in own]

    def survey(self, look: Callable[[Batch, Any], T]) -> Iterator[T]:
        """`look(batch, output)` of each batch, in eval mode and without gradient.

        Each rank computes its share, and every rank receives all results.
        """
        for batches in self.batch_rounds():
            with self.network.eval_mode():
                results = [look(batch, self.network(batch)) for _, batch in batches]
            yield from ranks.gather(results, self.network.device)

    def batches_of(self, positions: Positions) -> Iterator[tuple[Positions, Batch]]:
        """The sentences at these positions in batches, all on this rank."""
        for of_batch in self._eval_batches(positions):
            yield of_batch, self.batch(of_batch)

    def _eval_batches(self, positions: Positions) -> list[Positions]:
        return batches_without_gradient(self.network, positions, self.lengths)


def _remembered(split: Split) -> dict[int, NDArray[np.float32]]:
    """[words, H] the states that memories keep in place of words, by position."""
    states: dict[int, NDArray[np.float32]] = {}
    first = 0
    for source in split.sources:
        if KeptStates in source.columns:
            states |= enumerate(source.column(KeptStates).of_sentences, start=first)
        first += len(source)
    return states


def epoch_order(
    lengths: Positions, *, seed: int, epoch: int, size: int, tokens: int, order: Order = "pools"
) -> list[Positions]:
    """The global batches of one epoch: at most `size` sentences and `tokens` slots each, padding included."""
    draw = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, epoch])))
    if order == "corpus":
        return cut_unsorted(np.arange(len(lengths)), lengths, size, tokens)
    if order == "shuffle":
        return cut_unsorted(draw.permutation(len(lengths)), lengths, size, tokens)
    return _from_pools(draw, lengths, size, tokens)


def _from_pools(draw: np.random.RandomState, lengths: Positions, size: int, tokens: int) -> list[Positions]:
    """Batches of sentences of like length, in any order."""
    order = draw.permutation(len(lengths))
    batches: list[Positions] = []
    for pool in np.array_split(order, max(1, round(len(order) / (size * SORT_POOL_BATCHES)))):
        batches += cut(pool[np.argsort(-lengths[pool], kind="stable")], lengths, size, tokens)
    return [batches[i] for i in draw.permutation(len(batches))]


def batches_without_gradient(network: Network, positions: Positions, lengths: Positions) -> list[Positions]:
    """The batches in which a network reads the sentences at these positions without gradient."""
    if network.config.head.batch_dependent:
        return cut_unsorted(np.sort(positions), lengths, BATCH_DEPENDENT_SIZE, sys.maxsize)
    return eval_batches(positions, lengths, network.device)


def eval_batches(positions: Positions, lengths: Positions, device: torch.device) -> list[Positions]:
    """The batches in which a device reads the sentences at these positions without gradient, longest first."""
    return cut(positions[np.argsort(-lengths[positions], kind="stable")], lengths, *EVAL_BATCH_LIMITS[device.type])


def cut_unsorted(order: Positions, lengths: Positions, size: int, tokens: int) -> list[Positions]:
    """Consecutive batches of any order. A sentence longer than the budget goes alone."""
    bounds, longest = [0], 1
    for end, length in enumerate(lengths[order].tolist()):
        count = end - bounds[-1]
        longest = max(longest, length) if count else max(1, length)
        if count and (count == size or (count + 1) * longest > tokens):
            bounds.append(end)
            longest = max(1, length)
    return np.split(order, bounds[1:]) if len(order) else []


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
