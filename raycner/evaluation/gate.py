"""A gate: whether a new step may take the place of an old one, because no old type loses more than is allowed.

For each type of the old step, over the same sentences:

    loss = F1 before - F1 after,   in points; its interval is the middle 95 % over resampled sentences
    lost     the loss is larger than allowed
    unseen   it is not, but the sentences cannot exclude that it is: the interval reaches further, or the type has so
             few mentions that a larger loss would often leave no trace in them
    passed   otherwise

Of n mentions that a model finds, none is lost with probability (1 - p)^n where each is lost with probability p. A loss
of p is visible if that is below 5 %:

    visible(n) = 1 - 0.05^(1 / n)

Sources: Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13; Hanley and Lippman-Hand, If Nothing Goes
Wrong, Is Everything All Right? (JAMA 1983).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from raycner.data.entities import Entity
from raycner.evaluation.bootstrap import LEVEL, Interval, loss_intervals
from raycner.evaluation.entity_scores import ScoredSentence, count, score

Verdict = Literal["passed", "unseen", "lost"]
EXAMPLES = 3
"""Lost entities that are shown of each type."""


@dataclass(frozen=True)
class Allowance:
    """The points of F1 that each old type may lose."""

    points: float = 1.0
    per_type: Mapping[str, float] | None = None
    """Types with an allowance of their own."""
    unseen: bool = False
    """Whether a type passes whose loss is within the allowance in sentences that cannot exclude a larger one."""

    def of(self, name: str) -> float:
        """The points that a type may lose."""
        return (self.per_type or {}).get(name, self.points)


@dataclass(frozen=True)
class LostEntity:
    """A gold entity that the old step finds and the new one does not."""

    words: tuple[str, ...]
    entity: Entity

    @property
    def text(self) -> str:
        return " ".join(self.words[self.entity.start : self.entity.end])


@dataclass(frozen=True, kw_only=True)
class TypeVerdict:
    """What one type loses. Scores are percent, losses and allowances points of F1."""

    type: str
    mentions: int
    """Gold entities."""
    before: float
    after: float
    interval: Interval | None
    """Of the loss; None for a type that never occurs."""
    allowed: float
    visible: float
    """The smallest loss that so many mentions can show."""
    lost: int
    """Gold entities that only the old step finds."""
    found_only_after: int
    """Gold entities that only the new step finds."""
    examples: tuple[LostEntity, ...]
    verdict: Verdict

    @property
    def loss(self) -> float:
        return self.before - self.after


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """The verdict on a new step."""

    model: str
    against: str
    sources: tuple[str, ...]
    sentences: int
    allowance: Allowance
    types: tuple[TypeVerdict, ...]
    notes: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether no type is lost, and none unseen unless that is allowed."""
        return all(one.verdict == "passed" or (one.verdict == "unseen" and self.allowance.unseen) for one in self.types)


def judge(
    before: Sequence[ScoredSentence],
    after: Sequence[ScoredSentence],
    types: Iterable[str],
    allowance: Allowance,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[TypeVerdict, ...]:
    """The verdict on each type, from the same sentences as the old and the new step predict them."""
    types = tuple(types)
    old, new = (score(count(sentence.restricted(types) for sentence in one)) for one in (before, after))
    intervals = loss_intervals(before, after, resamples, seed)
    verdicts = []
    for name in types:
        lost, gained = _differing(before, after, name)
        mentions = sum(entity.type == name for sentence in before for entity in sentence.gold)
        f1 = [100 * report.types[name].f1 if name in report.types else 0.0 for report in (old, new)]
        interval = intervals.get(name)
        visible, allowed = visible_loss(mentions), allowance.of(name)
        verdicts.append(
            TypeVerdict(
                type=name,
                mentions=mentions,
                before=f1[0],
                after=f1[1],
                interval=interval,
                allowed=allowed,
                visible=visible,
                lost=len(lost),
                found_only_after=gained,
                examples=tuple(lost[:EXAMPLES]),
                verdict=_verdict(f1[0] - f1[1], interval, visible, allowed),
            )
        )
    return tuple(verdicts)


def visible_loss(mentions: int) -> float:
    """The smallest loss, in points, that would leave a trace in so many mentions 95 times in 100.

    >>> [round(visible_loss(mentions), 1) for mentions in (0, 40, 299)]
    [100.0, 7.2, 1.0]
    """
    return 100.0 * (1 - (1 - LEVEL) ** (1 / mentions)) if mentions else 100.0


def mentions_for(points: float) -> int:
    """How many mentions show a loss of so many points.

    >>> mentions_for(1.0), mentions_for(5.0)
    (299, 59)
    """
    return math.ceil(math.log(1 - LEVEL) / math.log(1 - min(points, 99.9) / 100)) if points > 0 else 0


def _verdict(loss: float, interval: Interval | None, visible: float, allowed: float) -> Verdict:
    if interval is None:
        return "unseen"
    if loss > allowed:
        return "lost"
    return "unseen" if interval.high > allowed or visible > allowed else "passed"


def _differing(
    before: Sequence[ScoredSentence], after: Sequence[ScoredSentence], name: str
) -> tuple[list[LostEntity], int]:
    """The gold entities of a type that only the old step finds, and the number that only the new one does."""
    lost: list[LostEntity] = []
    gained = 0
    for old, new in zip(before, after, strict=True):
        gold = {entity for entity in old.gold if entity.type == name}
        lost += [LostEntity(old.words, entity) for entity in sorted(gold & old.predicted - new.predicted)]
        gained += len(gold & new.predicted - old.predicted)
    return lost, gained
