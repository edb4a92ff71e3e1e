"""The most frequent mistakes: groups of wrong entities that are alike, with sentences in which they were made."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from raycner.data.entities import Entity
from raycner.evaluation.confusion import Outcome, Pair, pair_up
from raycner.evaluation.entity_scores import ScoredSentence


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence with one mistake in it."""

    sentence: int
    """Its number among the sentences scored, from 0."""
    words: tuple[str, ...]
    gold: Entity | None
    predicted: Entity | None

    def text(self, entity: Entity | None) -> str:
        """The words of an entity; empty for None."""
        return "" if entity is None else " ".join(self.words[entity.start : entity.end])


@dataclass(frozen=True, slots=True)
class Mistake:
    """All wrong entities with one outcome, one gold type and one predicted type."""

    outcome: Outcome
    gold: str | None
    """None for a spurious entity."""
    predicted: str | None
    """None for a missed one."""
    times: int
    examples: tuple[Example, ...]


def mistakes(sentences: Sequence[ScoredSentence], most: int = 10, examples: int = 2) -> tuple[Mistake, ...]:
    """The `most` frequent mistakes, the most frequent first, each with up to so many examples.

    Examples with different words are preferred, those whose words were mistaken most often first.
    """
    groups: defaultdict[tuple[Outcome, str, str], list[Example]] = defaultdict(list)
    for number, sentence in enumerate(sentences):
        if sentence.gold == sentence.predicted:
            continue
        for pair in pair_up(sentence.gold, sentence.predicted):
            if pair.outcome != "exact":
                groups[_group(pair)].append(Example(number, sentence.words, *pair))
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(
        Mistake(outcome, gold or None, predicted or None, len(members), _typical(members, examples))
        for (outcome, gold, predicted), members in ordered[:most]
    )


def _group(pair: Pair) -> tuple[Outcome, str, str]:
    gold, predicted = ("" if entity is None else entity.type for entity in pair)
    return pair.outcome, gold, predicted


def _typical(members: Sequence[Example], examples: int) -> tuple[Example, ...]:
    """One example for each of the wordings that occur most often."""
    wordings = [(member.text(member.gold), member.text(member.predicted)) for member in members]
    first = dict(zip(reversed(wordings), reversed(members), strict=True))
    return tuple(first[wording] for wording, _ in Counter(wordings).most_common(examples))
