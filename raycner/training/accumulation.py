"""Accumulation: the gradient of one update, computed in parts that need the memory of one part only.

    L = sum_t ( sum_p S_tp ) / ( sum_p n_tp )     S_tp, n_tp: total and count of loss term t in part p, over all ranks

Gradients of parts are summed, so a part must be divided by the counts of all parts before its backward pass. Counts
depend on targets and teacher, not on the student's states: they come first, from losses in which the encoder is left
out. An update in several parts is that of the whole batch up to rounding, for every method and weighting.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raycner.errors import InputError
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.losses import LossSum
from raycner.networks.network import Network
from raycner.training import ranks
from raycner.training.loader import Positions

Losses = Callable[[Batch], Mapping[str, LossSum]]


def split_batch(positions: Positions, parts: int) -> list[Positions]:
    """The sentences of a global batch in so many parts, or in as many as there are sentences."""
    return np.array_split(positions, min(parts, len(positions)))


def counts(terms: Mapping[str, LossSum]) -> Tensor:
    """[terms] the number of elements of each loss on this rank."""
    return torch.stack([term.count for term in terms.values()])


class WithoutEncoder:
    """A student that leaves out the encoder: all words have the state zero. Its losses have the right counts."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def __call__(self, batch: Batch) -> Any:
        like = next(self._network.parameters())
        zeros = torch.zeros(*batch.mask.shape, self._network.encoder.width, dtype=like.dtype, device=like.device)
        return self._network.head(States.of_words(zeros), batch)

    forward_eval = __call__


class PartCounts:
    """The counts of the loss terms of updates in parts: computed first, then compared with those of the losses."""

    def __init__(self, network: Network, losses: Losses) -> None:
        """`losses` may leave out the encoder."""
        self._network, self._losses = network, losses
        self._expected = self._difference = torch.zeros((), dtype=torch.long, device=network.device)

    def over(self, parts: Sequence[Batch]) -> Tensor:
        """[terms] the counts over all parts and ranks. A collective call."""
        with self._network.eval_mode():
            self._expected = torch.stack([counts(self._losses(part)) for part in parts]).sum(0)
        return ranks.all_reduce_sum(self._expected.clone())

    def compare(self, parts: Sequence[Mapping[str, LossSum]]) -> None:
        """Remember whether the losses of all parts have those counts."""
        actual = torch.stack([counts(terms) for terms in parts]).sum(0)
        self._difference = self._difference + (actual - self._expected).abs().sum()

    def require_equal(self, location: str) -> None:
        """Raise `InputError` on every rank where a count depended on the student's states. A collective call."""
        if ranks.all_reduce_sum(self._difference.clone()).item():
            what = f"{location}: the method counts words by what the network predicts, which is not the same in parts"
            raise InputError(what, location="optim.accumulate", hint="set it to 1")
