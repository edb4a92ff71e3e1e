"""Drift: how text differs from the text that a step was trained on, without any annotation.

Shares are compared by the population stability index of two histograms with B bins,

    PSI(p, q) = sum_b (q_b - p_b) ln(q_b / p_b)

and with what two samples of reference sentences reach, of the sizes of reference and window. The shares of types are
estimated by expectation maximisation over the network's posteriors (Saerens, Latinne, Decaestecker 2002),

    pi_c <- mean_x  (pi_c / pi0_c) p(c | x) / sum_d (pi_d / pi0_d) p(d | x)

A new type shows as a cluster of candidate words, in no entity yet like the words of entities, that is denser in the new
text than in the text before: the sentences with such a word are binomial, given those of both texts.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

Floats = NDArray[np.float64]
NameOf = Callable[[Sequence[str]], str]
BINS = 10
"""Of confidences: deciles of the reference."""
FALSE_ALARMS = 0.001
"""The share of windows without drift in which unknown words, or a cluster, are flagged by chance."""
RESAMPLES = 99
"""Pairs of samples of the reference; a PSI above that of all of them is more than chance."""
CONSIDERABLE = 0.1
"""The least PSI that is flagged; of the credit-scoring literature, which calls 0.25 large."""
RATIO = 2.0
"""The least change of a share that is flagged."""
CLUSTER_RATIO = 3.0
"""The least density of a cluster of a new type, relative to the reference."""
CLUSTER_SENTENCES, CLUSTER_FORMS = 8, 4
"""The least number of its sentences, and of its different words."""
MOST_OF_ONE_FORM = 0.5
"""The largest share of one word in it."""
CLUSTER_SIZE = 15
"""Words of a cluster on average."""
EXAMPLES = 5
TOLERANCE = 1e-5
"""Of shares, at which expectation maximisation ends."""


@dataclass(frozen=True)
class Candidate:
    """A word that may be a mention of a type nobody taught."""

    word: str
    sentence: tuple[str, ...]
    place: int
    """Its position in the sentence."""
    state: Floats
    """[H] the direction of its state."""


@dataclass(frozen=True)
class TextSample:
    """What a network computes of some sentences."""

    sentences: int
    words: int
    unknown: int
    """Words that the training text does not have."""
    confidences: Floats
    """Of predicted entities."""
    confidence_rows: NDArray[np.int64]
    """The sentence of each of them."""
    posteriors: NDArray[np.float32]
    """[words, C] of no entity, then of each type."""
    word_rows: NDArray[np.int64]
    """[words] the sentence of each."""
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class NewType:
    """A cluster of words that may be a type of its own."""

    name: str
    """A proposal."""
    sentences: int
    """Sentences of the window with such a word."""
    before: float
    """As many sentences of the reference would have this number."""
    p_value: float
    """Corrected for the number of clusters."""
    words: tuple[str, ...]
    """Its most frequent words."""
    examples: tuple[str, ...]
    """Sentences, the word in [brackets]; nearest to the centre first."""


@dataclass(frozen=True)
class WindowDrift:
    """One stretch of text against the reference."""

    first: int
    """The number of its first sentence, from 1."""
    sentences: int
    words: int
    unknown: float
    """The share of unknown words."""
    confidence: float
    """The mean of entities; NaN where there are none."""
    confidence_psi: float
    priors: Mapping[str, float]
    """The estimated share of words in each type."""
    prior_psi: float
    """Of types among the words in entities."""
    new_types: tuple[NewType, ...]
    flags: tuple[str, ...]
    """What differs from the reference by more than chance and by much."""


@dataclass(frozen=True)
class Reference:
    """The measures of text that a step was trained on or is used to."""

    sentences: int
    words: int
    unknown: float
    confidence: float
    priors: Mapping[str, float]


@dataclass(frozen=True)
class DriftReport:
    """Text over time against a reference."""

    model: str
    source: str
    """What the reference is."""
    reference: Reference
    windows: tuple[WindowDrift, ...]
    notes: tuple[str, ...] = ()

    @property
    def flagged(self) -> bool:
        """Whether any window differs."""
        return any(window.flags for window in self.windows)


def psi(expected: Floats, actual: Floats) -> float:
    """The population stability index of two histograms of counts; half a count is added to each bin."""
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (expected, actual))
    return float(((q - p) * np.log(q / p)).sum())


def em_priors(posteriors: NDArray[np.float32], trained: Floats, iterations: int = 100) -> Floats:
    """The shares of classes in a text, from posteriors [N, C] under the shares [C] of the reference."""
    priors = trained.copy()
    for _ in range(iterations):
        weighted = posteriors * (priors / trained)
        updated = (weighted / weighted.sum(1, keepdims=True)).mean(0)
        if np.abs(updated - priors).max() < TOLERANCE:
            return np.asarray(updated)
        priors = np.asarray(updated, np.float64)
    return priors


def clusters(directions: Floats, number: int, seed: int = 0, rounds: int = 20) -> NDArray[np.int64]:
    """[N, H] unit vectors -> [N] the cluster of each, by spherical k-means from k-means++ seeds."""
    draw = np.random.default_rng(seed)
    centroids = directions[[int(draw.integers(len(directions)))]]
    for _ in range(number - 1):
        distance = np.clip(1 - (directions @ centroids.T).max(1), 0, None) ** 2
        total = distance.sum()
        chances = distance / total if total > 0 else None
        centroids = np.vstack([centroids, directions[draw.choice(len(directions), p=chances)]])
    nearest = np.full(len(directions), -1)
    for _ in range(rounds):
        assigned = (directions @ centroids.T).argmax(1)
        if (assigned == nearest).all():
            break
        nearest = assigned
        for k in range(number):
            if (nearest == k).any():
                total = directions[nearest == k].sum(0)
                centroids[k] = total / max(np.linalg.norm(total), 1e-9)
    return np.asarray(nearest, np.int64)


def most_frequent(words: Sequence[str]) -> str:
    """The first of words in the order of their frequency."""
    return words[0]


def new_types(window: TextSample, reference: TextSample, name: NameOf = most_frequent) -> list[NewType]:
    """The clusters of candidates that are denser in a window than in the reference, the least probable first.

    `name` proposes a name for words, the most frequent first.
    """
    ours, before = window.candidates, reference.candidates
    if len(ours) < CLUSTER_SENTENCES:
        return []
    both = np.stack([candidate.state for candidate in (*ours, *before)])
    number = int(np.clip(len(both) // CLUSTER_SIZE, 2, 100))
    nearest = clusters(both, number)
    chance = window.sentences / (window.sentences + reference.sentences)
    proposals = []
    for k in range(number):
        members = [ours[i] for i in np.flatnonzero(nearest[: len(ours)] == k)]
        earlier = [before[i] for i in np.flatnonzero(nearest[len(ours) :] == k)]
        count, count_before = (len({candidate.sentence for candidate in part}) for part in (members, earlier))
        forms = Counter(candidate.word.lower() for candidate in members)
        if count < CLUSTER_SENTENCES or len(forms) < CLUSTER_FORMS:
            continue
        if max(forms.values()) > MOST_OF_ONE_FORM * len(members):
            continue
        expected = count_before * chance / (1 - chance)
        p_value = min(1.0, number * float(binom.sf(count - 1, count + count_before, chance)))
        if p_value < FALSE_ALARMS and count > CLUSTER_RATIO * expected:
            proposals.append(_proposal(members, forms, count, expected, p_value, name))
    return sorted(proposals, key=lambda proposal: proposal.p_value)


def _proposal(
    members: Sequence[Candidate], forms: Counter[str], count: int, expected: float, p_value: float, name: NameOf
) -> NewType:
    states = np.stack([candidate.state for candidate in members])
    order = np.argsort(-(states @ states.mean(0)), kind="stable")
    examples = dict.fromkeys(_marked(members[i]) for i in order)
    words = tuple(word for word, _ in forms.most_common(2 * EXAMPLES))
    return NewType(name(words), count, expected, p_value, words, tuple(examples)[:EXAMPLES])


def _marked(candidate: Candidate) -> str:
    """The sentence around a candidate, with the word in brackets."""
    words = list(candidate.sentence)
    words[candidate.place] = f"[{words[candidate.place]}]"
    start, end = max(0, candidate.place - 10), candidate.place + 11
    return f"{'... ' if start else ''}{' '.join(words[start:end])}{' ...' if end < len(words) else ''}"


class DriftMeasure:
    """Measures windows of text against a reference. `name` proposes a name for the words of a new type."""

    def __init__(self, types: Sequence[str], reference: TextSample, name: NameOf = most_frequent) -> None:
        self.types, self.sample, self._name = tuple(types), reference, name
        deciles = np.linspace(0, 1, BINS + 1)[1:-1]
        self._edges = np.quantile(reference.confidences, deciles) if len(reference.confidences) else deciles
        self._priors = _shares(reference.posteriors)
        self._by_chance: dict[int, tuple[float, float]] = {}
        self.reference = Reference(
            reference.sentences,
            reference.words,
            reference.unknown / max(reference.words, 1),
            _mean(reference.confidences),
            self._named(self._priors),
        )

    def window(self, first: int, sample: TextSample) -> WindowDrift:
        """The drift of a window whose first sentence has this number."""
        priors = em_priors(sample.posteriors, self._priors)
        confidence_psi = psi(self._histogram(self.sample.confidences), self._histogram(sample.confidences))
        prior_psi = self._prior_psi(self._priors, priors, sample.words)
        proposals = tuple(new_types(sample, self.sample, self._name))
        unknown = sample.unknown / max(sample.words, 1)
        confidence_by_chance, prior_by_chance = self._chance(sample.sentences)
        flags = {
            "unknown words": unknown > RATIO * self.reference.unknown
            and _is_rare(sample.unknown, sample.words, self.reference.unknown),
            "confidence": confidence_psi > max(CONSIDERABLE, confidence_by_chance),
            "types": prior_psi > max(CONSIDERABLE, prior_by_chance),
            "new type": bool(proposals),
        }
        return WindowDrift(
            first,
            sample.sentences,
            sample.words,
            unknown,
            _mean(sample.confidences),
            confidence_psi,
            self._named(priors),
            prior_psi,
            proposals,
            tuple(name for name, is_flagged in flags.items() if is_flagged),
        )

    def _chance(self, sentences: int) -> tuple[float, float]:
        """The largest PSI of confidences and of types between samples of the reference, the second of so many."""
        if sentences not in self._by_chance:
            draw = np.random.default_rng(0)
            pairs = [
                self._psi_of_samples(*(draw.integers(self.sample.sentences, size=n) for n in sizes))
                for sizes in [(self.sample.sentences, sentences)] * RESAMPLES
            ]
            self._by_chance[sentences] = (max(one for one, _ in pairs), max(one for _, one in pairs))
        return self._by_chance[sentences]

    def _psi_of_samples(self, before: NDArray[np.int64], now: NDArray[np.int64]) -> tuple[float, float]:
        """The PSI between two samples of sentences of the reference, given by their numbers."""
        counts = [np.bincount(rows, minlength=self.sample.sentences) for rows in (before, now)]
        confidences = [np.repeat(self.sample.confidences, times[self.sample.confidence_rows]) for times in counts]
        words = [np.repeat(np.arange(self.sample.words), times[self.sample.word_rows]) for times in counts]
        trained = _shares(self.sample.posteriors[words[0]])
        priors = em_priors(self.sample.posteriors[words[1]], trained)
        return psi(*map(self._histogram, confidences)), self._prior_psi(trained, priors, len(words[1]))

    def _histogram(self, confidences: Floats) -> Floats:
        return np.bincount(np.digitize(confidences, self._edges), minlength=BINS).astype(np.float64)

    def _prior_psi(self, before: Floats, now: Floats, words: int) -> float:
        """Of types among the words in entities; zero for one type."""
        return psi(before[1:] * self.sample.words, now[1:] * words)

    def _named(self, priors: Floats) -> dict[str, float]:
        return {kind: float(prior) for kind, prior in zip(self.types, priors[1:], strict=True)}


def _shares(posteriors: NDArray[np.float32]) -> Floats:
    """[N, C] -> [C] the mean posteriors, none of them zero."""
    return np.asarray(np.maximum(posteriors.mean(0, dtype=np.float64), 1e-6))


def _is_rare(count: int, total: int, share: float) -> bool:
    return bool(binom.sf(count - 1, total, max(share, 1e-6)) < FALSE_ALARMS)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
