"""Moving average: a step ends with the exponential moving average of its weights.

    a_0 = w_0,    a_k = d_k a_(k-1) + (1 - d_k) w_k,    d_k = min(d, k / (9 + k))    for the updates k = 1, 2, ...

w_0 are the weights with which the step begins, new rows included. d_k rises to d = `optim.ema`, so that new rows forget
what they were drawn as, also in a step of few updates: it reaches 0.9 after 81 updates and 0.99 after 891. Updates
continue from w; dev scores a, and a is what is kept, what ends the step, and what teaches the next one.

Source: Polyak and Juditsky (1992); as a teacher, Mean Teacher (NeurIPS 2017). The warm-up d_k is that of TensorFlow's
ExponentialMovingAverage.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from raycner.networks.network import Network
from raycner.training.snapshot import State, copied


class FinalWeights:
    """What a step ends with: here the weights as the updates leave them."""

    def update(self) -> None:
        """Take in the weights after an update."""

    @contextmanager
    def applied(self) -> Iterator[None]:
        """A context in which the network has the weights that a step would end with."""
        yield

    def state(self) -> State:
        """What a snapshot keeps of it. Later updates change these tensors."""
        return {}

    def restore(self, state: State) -> None:
        """Continue from the state of a snapshot."""


class MovingAverage(FinalWeights):
    """The moving average of the weights of a network that updates change. Every rank computes the same."""

    def __init__(self, network: Network, decay: float) -> None:
        self._decay = decay
        self._weights = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self._average = copied(self._weights)
        self._updates = torch.zeros((), dtype=torch.long)

    @torch.no_grad()
    def update(self) -> None:
        self._updates += 1
        decay = min(self._decay, self._updates.item() / (9 + self._updates.item()))
        torch._foreach_lerp_([*self._average.values()], [*self._weights.values()], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        raw = copied(self._weights)
        self._load(self._average.values())
        try:
            yield
        finally:
            self._load(raw.values())

    @torch.no_grad()
    def _load(self, weights: Iterable[Tensor]) -> None:
        torch._foreach_copy_([*self._weights.values()], [*weights])

    def state(self) -> State:
        return {**self._average, "updates": self._updates}

    def restore(self, state: State) -> None:
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


def final_weights(network: Network, decay: float) -> FinalWeights:
    """The moving average of a network that is about to be trained; at a decay of 0, the weights themselves."""
    return MovingAverage(network, decay) if decay else FinalWeights()
