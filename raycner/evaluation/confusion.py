"""Confusion of entities: which type was predicted for which, with boundary errors apart from type errors.

Gold and predicted entities of a sentence are paired one to one, the best pairs first:

    exact      same words, same type
    type       same words, other type
    boundary   overlapping words, same type
    both       overlapping words, other type

Of equally good pairs the one that shares more words comes first, then the one that stands first. A gold entity without
a partner is `missed`, a predicted one without a partner is `spurious`. Each entity is therefore counted once: the
outcomes of a gold type sum to its support, and the columns of the matrix to the number of predictions.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from raycner.data.entities import OUTSIDE, Entity
from raycner.evaluation.entity_scores import ScoredSentence

Outcome = Literal["exact", "boundary", "type", "both", "missed", "spurious"]
OUTCOMES: tuple[Outcome, ...] = ("exact", "boundary", "type", "both", "missed", "spurious")


class Pair(NamedTuple):
    """A gold entity and the prediction made of it; one of them may be missing."""

    gold: Entity | None
    predicted: Entity | None

    @property
    def outcome(self) -> Outcome:
        if self.gold is None or self.predicted is None:
            return "missed" if self.predicted is None else "spurious"
        same_words = (self.gold.start, self.gold.end) == (self.predicted.start, self.predicted.end)
        if self.gold.type == self.predicted.type:
            return "exact" if same_words else "boundary"
        return "type" if same_words else "both"


@dataclass(frozen=True, slots=True)
class Confusion:
    """The outcomes of all entities, and what was predicted for what."""

    types: tuple[str, ...]
    """In alphabetical order."""
    outcomes: Mapping[str, Mapping[Outcome, int]]
    """Type -> outcome -> entities. `spurious` counts predictions of the type, every other outcome its gold entities."""
    pairs: Mapping[tuple[str, str], int]
    """(gold type, predicted type) -> entities; O stands for the missing partner."""

    def matrix(self) -> list[list[int]]:
        """[T+1, T+1]: gold types and O down, predicted types and O across; the diagonal has exact and boundary."""
        names = [*self.types, OUTSIDE]
        return [[self.pairs.get((gold, predicted), 0) for predicted in names] for gold in names]


def flows(confusion: Confusion, groups: Sequence[Collection[str]]) -> list[list[int]]:
    """[G+1, G+1]: entities by the group of their gold type (down) and of their predicted type (across); O is the last.

    With the types of each step as groups, what lies right of the diagonal are old types taken for newer ones.

    >>> flows(Confusion((), {}, {("a", "a"): 7, ("a", "b"): 2, ("b", "O"): 1}), [["a"], ["b"]])
    [[7, 2, 0], [0, 0, 1], [0, 0, 0]]
    """
    place = {name: number for number, group in enumerate(groups) for name in group} | {OUTSIDE: len(groups)}
    counts = [[0] * (len(groups) + 1) for _ in range(len(groups) + 1)]
    for (gold, predicted), number in confusion.pairs.items():
        counts[place[gold]][place[predicted]] += number
    return counts


def confusion(sentences: Iterable[ScoredSentence]) -> Confusion:
    """The outcome of every entity."""
    outcomes: Counter[tuple[str, Outcome]] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for sentence in sentences:
        for pair in pair_up(sentence.gold, sentence.predicted):
            gold = OUTSIDE if pair.gold is None else pair.gold.type
            predicted = OUTSIDE if pair.predicted is None else pair.predicted.type
            outcomes[predicted if pair.gold is None else gold, pair.outcome] += 1
            pairs[gold, predicted] += 1
    types = tuple(sorted({name for both in pairs for name in both} - {OUTSIDE}))
    by_type = {name: {outcome: outcomes[name, outcome] for outcome in OUTCOMES} for name in types}
    return Confusion(types, by_type, dict(pairs))


def pair_up(gold: Iterable[Entity], predicted: Iterable[Entity]) -> Iterator[Pair]:
    """Pair the entities of one sentence; every entity is in exactly one pair.

    >>> for pair in pair_up([Entity(0, 3, "city")], [Entity(0, 2, "city"), Entity(5, 6, "person")]):
    ...     print(pair.outcome)
    boundary
    spurious
    """
    gold, predicted = sorted(gold), sorted(predicted)
    touching = [Pair(one, other) for one in gold for other in predicted if one.overlaps(other)]
    free_gold, free_predicted = set(gold), set(predicted)
    for pair in sorted(touching, key=_rank):
        one, other = pair
        if one in free_gold and other in free_predicted:
            free_gold.discard(one)
            free_predicted.discard(other)
            yield pair
    yield from (Pair(entity, None) for entity in gold if entity in free_gold)
    yield from (Pair(None, entity) for entity in predicted if entity in free_predicted)


_QUALITY: dict[Outcome, int] = {"exact": 0, "type": 1, "boundary": 2, "both": 3}


def _rank(pair: Pair) -> tuple[int, int, Entity, Entity]:
    gold, predicted = pair
    assert gold is not None and predicted is not None
    shared = min(gold.end, predicted.end) - max(gold.start, predicted.start)
    return _QUALITY[pair.outcome], -shared, gold, predicted
