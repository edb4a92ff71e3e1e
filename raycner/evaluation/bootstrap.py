"""Bootstrap intervals: how far a score could be off because the test set has these sentences and no others.

Sentences are drawn with replacement, as many as there are, and scored again; the interval holds the middle 95 % of the
scores. Sentences with equal counts are interchangeable, so one draw of a multinomial stands for drawing every sentence:

    n_1 .. n_U ~ Multinomial(S; t_1/S .. t_U/S),    counts = sum_u n_u * counts_u

for S sentences with U distinct rows of counts, of which row u occurs t_u times. Source: Efron and Tibshirani, An
Introduction to the Bootstrap, chapter 13 (percentile interval).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raycner.data.entities import Entity
from raycner.evaluation.entity_scores import FN, FP, TP, ScoredSentence, SentenceCounts, count

LEVEL = 0.95
DRAWS_IN_MEMORY = 4_000_000
OLD, NEW = "<", ">"
"""Marks of the types of two predictions that are drawn together."""


class Interval(NamedTuple):
    """The middle 95 % of the resampled scores, as fractions."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class F1Intervals:
    """Intervals of F1. None where no resample has an entity to score."""

    micro: Interval | None
    macro: Interval | None
    types: Mapping[str, Interval | None]
    resamples: int
    seed: int


def bootstrap(counts: SentenceCounts, resamples: int = 1000, seed: int = 0) -> F1Intervals:
    """95 % intervals of micro F1, macro F1 and each type's F1, over resampled sentences.

    The same seed gives the same intervals. In a resample, macro is the mean over the types that occur in it.
    """
    sampled = np.concatenate([*_resample(counts, resamples, seed)])
    by_type = _f1(sampled)
    macro = np.nansum(by_type, axis=1) / np.maximum(1, np.isfinite(by_type).sum(axis=1))
    macro[~np.isfinite(by_type).any(axis=1)] = np.nan
    return F1Intervals(
        micro=_interval(_f1(sampled.sum(axis=1))),
        macro=_interval(macro),
        types={name: _interval(by_type[:, place]) for place, name in enumerate(counts.types)},
        resamples=resamples,
        seed=seed,
    )


def loss_intervals(
    before: Sequence[ScoredSentence], after: Sequence[ScoredSentence], resamples: int = 1000, seed: int = 0
) -> dict[str, Interval | None]:
    """95 % intervals of F1 before minus F1 after, in points, of each type that occurs; both in the same resamples.

    The two predictions of a sentence are counted as one sentence with two sets of types, so they are drawn together.
    None where no resample has entities of the type both times.
    """
    pairs = [_side_by_side(old, new) for old, new in zip(before, after, strict=True)]
    counts = count(pairs)
    if not counts.types:
        return {}
    f1 = _f1(np.concatenate([*_resample(counts, resamples, seed)]))
    place = {name: column for column, name in enumerate(counts.types)}
    types = {name[1:] for name in counts.types}
    absent = np.full(len(f1), np.nan)
    scores = {name: f1[:, column] for name, column in place.items()}
    losses = {name: scores.get(OLD + name, absent) - scores.get(NEW + name, absent) for name in sorted(types)}
    return {name: _interval(100 * loss) for name, loss in losses.items()}


def _side_by_side(old: ScoredSentence, new: ScoredSentence) -> ScoredSentence:
    """The entities of both, their types marked by OLD and NEW."""

    def marked(entities: Iterable[Entity], mark: str) -> set[Entity]:
        return {Entity(entity.start, entity.end, mark + entity.type) for entity in entities}

    gold = marked(old.gold, OLD) | marked(new.gold, NEW)
    predicted = marked(old.predicted, OLD) | marked(new.predicted, NEW)
    return ScoredSentence(old.words, frozenset(gold), frozenset(predicted))


def _resample(counts: SentenceCounts, resamples: int, seed: int) -> list[NDArray[np.float64]]:
    """[resamples, T, 3] the counts of each resample, in parts that fit in memory."""
    draw = np.random.RandomState(seed)  # its stream is frozen across numpy's versions; default_rng's is not
    rows, types, _ = counts.counts.shape
    flat = counts.counts.reshape(rows, types * 3).astype(np.float64)
    sentences = int(counts.times.sum())
    together = max(1, DRAWS_IN_MEMORY // max(1, rows))
    sizes = [min(together, resamples - start) for start in range(0, resamples, together)]
    shares = counts.times / sentences
    return [(draw.multinomial(sentences, shares, size) @ flat).reshape(size, types, 3) for size in sizes]


def _f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 of counts [..., 3]; NaN where there is no entity."""
    tp, fp, fn = counts[..., TP], counts[..., FP], counts[..., FN]
    denominator = 2 * tp + fp + fn
    scores = np.full(tp.shape, np.nan)
    np.divide(2 * tp, denominator, out=scores, where=denominator > 0)
    return scores


def _interval(scores: NDArray[np.float64]) -> Interval | None:
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return None
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(scores, [tail, 100 - tail])
    return Interval(float(low), float(high))
