"""Precision, recall, F1 and support of entities: per type, and averaged as seqeval averages them.

    precision = tp / predicted    recall = tp / support    F1 = 2 * precision * recall / (precision + recall)

micro pools the counts of all types, macro is the mean over types, weighted is the mean weighted by support. A score
without a denominator is 0, and a type that occurs neither in gold nor in the predictions is in no average. Every number
is computed in the order of seqeval's `classification_report(mode="strict")`, so that it is equal to the last bit.
Source: seqeval 1.2.2, metrics/v1.py.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raycner.data.entities import Entity

Counts = NDArray[np.int64]
TP, FP, FN = range(3)


@dataclass(frozen=True, slots=True)
class ScoredSentence:
    """A sentence with its gold entities and those that were predicted."""

    words: tuple[str, ...]
    gold: frozenset[Entity]
    predicted: frozenset[Entity]

    def restricted(self, types: Collection[str]) -> "ScoredSentence":
        """The same sentence with the entities of these types only."""
        gold = frozenset(entity for entity in self.gold if entity.type in types)
        return ScoredSentence(self.words, gold, frozenset(e for e in self.predicted if e.type in types))


@dataclass(frozen=True, slots=True)
class TypeScore:
    """The score of one type, or of an average over types. Fractions, not percent."""

    precision: float
    recall: float
    f1: float
    support: int
    """Gold entities."""
    predicted: int
    """Predicted entities."""


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """The scores of a set of sentences."""

    types: Mapping[str, TypeScore]
    """In alphabetical order; only types that occur in gold or in the predictions."""
    micro: TypeScore
    macro: TypeScore
    weighted: TypeScore


@dataclass(frozen=True, eq=False)
class SentenceCounts:
    """The counts of every sentence; sentences with equal counts are held once."""

    types: tuple[str, ...]
    """[T] in alphabetical order."""
    counts: Counts
    """[U, T, 3] (tp, fp, fn) of each distinct row."""
    times: Counts
    """[U] the number of sentences that have this row."""

    @property
    def total(self) -> Counts:
        """[T, 3] the sum over all sentences."""
        return np.tensordot(self.times, self.counts, axes=1)


def count(sentences: Iterable[ScoredSentence]) -> SentenceCounts:
    """The counts of sentences, over the types that occur in them."""
    rows = Counter(map(_row, sentences))
    types = tuple(sorted({name for row in rows for name, _ in row}))
    place = {name: i for i, name in enumerate(types)}
    counts = np.zeros((len(rows), len(types), 3), np.int64)
    for u, row in enumerate(rows):
        for name, column in row:
            counts[u, place[name], column] += 1
    return SentenceCounts(types, counts, np.asarray([*rows.values()], np.int64))


def _row(sentence: ScoredSentence) -> tuple[tuple[str, int], ...]:
    """One (type, column) for each entity that counts, sorted."""
    correct = [(entity.type, TP) for entity in sentence.gold & sentence.predicted]
    wrong = [(entity.type, FP) for entity in sentence.predicted - sentence.gold]
    missed = [(entity.type, FN) for entity in sentence.gold - sentence.predicted]
    return tuple(sorted([*correct, *wrong, *missed]))


def score(counts: SentenceCounts) -> ScoreReport:
    """The scores that follow from counts.

    >>> paris, rome = Entity(0, 1, "city"), Entity(2, 3, "city")
    >>> score(count([ScoredSentence(("Paris", "or", "Rome"), frozenset({paris, rome}), frozenset({paris}))])).micro
    TypeScore(precision=1.0, recall=0.5, f1=0.6666666666666666, support=2, predicted=1)
    """
    total = counts.total
    precision, recall, f1 = _divide(total)
    support, predicted = total[:, TP] + total[:, FN], total[:, TP] + total[:, FP]
    entities = int(support.sum()), int(predicted.sum())
    rows = zip(counts.types, precision, recall, f1, support, predicted, strict=True)
    types = {name: TypeScore(float(p), float(r), float(f), int(s), int(n)) for name, p, r, f, s, n in rows}
    (micro_p,), (micro_r,), (micro_f1,) = _divide(total.sum(axis=0, keepdims=True))
    return ScoreReport(
        types=types,
        micro=TypeScore(float(micro_p), float(micro_r), float(micro_f1), *entities),
        macro=TypeScore(_mean(precision), _mean(recall), _mean(f1), *entities),
        weighted=TypeScore(_mean(precision, support), _mean(recall, support), _mean(f1, support), *entities),
    )


def _divide(counts: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision, recall and F1 [T] of counts [T, 3]."""
    tp = counts[:, TP]
    precision = _ratio(tp, tp + counts[:, FP])
    recall = _ratio(tp, tp + counts[:, FN])
    denominator = precision + recall
    denominator[denominator == 0.0] = 1.0
    return precision, recall, 2.0 * precision * recall / denominator


def _ratio(numerator: Counts, denominator: Counts) -> NDArray[np.float64]:
    return numerator / np.where(denominator == 0, 1, denominator)


def _mean(values: NDArray[np.float64], weights: Counts | None = None) -> float:
    if not len(values) or (weights is not None and not weights.sum()):
        return 0.0
    return float(np.average(values, weights=weights))
