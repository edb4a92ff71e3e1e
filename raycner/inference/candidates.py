"""Candidates of a type: how likely each word is a mention, from a learned type or from a few examples.

Of a learned type the probability is the network's own. Of an unlearned one it is that of a logistic regression on the
network's word states, between the words of the examples and the other words of their sentences and of some more:

    p(w) = sigmoid(a . x_w + b + logit(PRIOR)),   x_w = (h_w - mean) / |h_w - mean|

a and b are fitted with equal weight of positives and negatives, as their numbers tell nothing of their frequency.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from raycner.inference.predictor import SentenceReading

Floats = NDArray[np.float64]
PRIOR = 0.05
"""How likely a word is a mention before it is seen."""
PENALTY = 0.01
"""Of the squared norm of the weights of a probe."""


@dataclass(frozen=True)
class Probe:
    """A logistic regression on the directions of word states."""

    mean: Floats
    """[H]"""
    weights: Floats
    """[H]"""
    bias: float

    @classmethod
    def between(cls, positives: Floats, negatives: Floats) -> "Probe":
        """The probe of two sets of states, [P, H] and [N, H], each of one half of the weight."""
        mean = negatives.mean(0)
        x = directions(np.concatenate([positives, negatives]), mean)
        is_positive = np.arange(len(x)) < len(positives)
        sign = np.where(is_positive, 1.0, -1.0)
        share = np.where(is_positive, 0.5 / len(positives), 0.5 / len(negatives))

        def loss(parameters: Floats) -> tuple[float, Floats]:
            weights, bias = parameters[:-1], parameters[-1]
            margin = sign * (x @ weights + bias)
            slope = -share * sign * expit(-margin)
            value = share @ np.logaddexp(0, -margin) + PENALTY / 2 * weights @ weights
            return float(value), np.append(slope @ x + PENALTY * weights, slope.sum())

        best = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
        return cls(mean, best[:-1], float(best[-1]))

    def __call__(self, states: NDArray[np.float32]) -> Floats:
        """[T, H] -> [T] how likely each word is a positive."""
        return np.asarray(expit(self.balanced(states) + logit(PRIOR)))

    def balanced(self, states: NDArray[np.float32]) -> Floats:
        """[T] the log-odds where positives are as frequent as negatives."""
        return np.asarray(directions(states.astype(np.float64), self.mean) @ self.weights + self.bias)


def directions(states: Floats, mean: Floats) -> Floats:
    """[N, H] unit vectors of states around their mean."""
    centred = states - mean
    norms = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.asarray(centred / np.maximum(norms, 1e-9))


@dataclass(frozen=True)
class Candidates:
    """How likely each word of a sentence is a mention of the types in question."""

    columns: tuple[int, ...]
    """The columns of learned types."""
    probes: tuple[Probe, ...] = ()
    """Of types that were not learned."""

    def __call__(self, reading: SentenceReading) -> Floats:
        """[T]; without a type to look for, how unsure the network is: 1 - its best class."""
        if not (self.columns or self.probes):
            outside = 1 - reading.probabilities.sum(-1, keepdims=True)
            return np.asarray(1 - np.concatenate([reading.probabilities, outside], axis=-1).max(-1), np.float64)
        learned = reading.probabilities[:, list(self.columns)].sum(-1, dtype=np.float64)
        return np.asarray(np.max([learned, *(probe(reading.states) for probe in self.probes)], axis=0))


def probe_of(examples: Iterable[tuple[SentenceReading, Sequence[bool]]], more: Iterable[SentenceReading]) -> Probe:
    """The probe of example sentences, each with which of its words are mentions, against their other words and more."""
    positives, negatives = [], [reading.states for reading in more if len(reading.states)]
    for reading, mentioned in examples:
        where = np.asarray(mentioned, dtype=bool)
        positives.append(reading.states[where])
        negatives.append(reading.states[~where])
    return Probe.between(*(np.concatenate(states).astype(np.float64) for states in (positives, negatives)))


def mentions(words: Sequence[str], sought: Mapping[str, set[tuple[str, ...]]]) -> list[bool]:
    """Which words are in one of the mentions sought, which are listed by their first words, in lower case."""
    lowered = tuple(word.lower() for word in words)
    inside = [False] * len(words)
    for start, word in enumerate(lowered):
        for mention in sought.get(word, ()):
            if lowered[start : start + len(mention)] == mention:
                inside[start : start + len(mention)] = [True] * len(mention)
    return inside
