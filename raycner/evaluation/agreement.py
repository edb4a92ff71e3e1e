"""Agreement: where two taggers predict different entities in the same sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

from raycner.data.entities import Entity


@dataclass(frozen=True)
class Difference:
    """A sentence in which an adopted step differs from the pipeline of its model."""

    words: tuple[str, ...]
    pipeline: tuple[Entity, ...]
    step: tuple[Entity, ...]


@dataclass(frozen=True)
class Agreement:
    """An adopted step against the pipeline of its model."""

    sentences: int
    entities: int
    """That the pipeline predicted."""
    differences: tuple[Difference, ...]
    too_long: int
    """Sentences that were left out, because the model reads only their beginning."""

    @classmethod
    def of(
        cls,
        sentences: Sequence[tuple[str, ...]],
        pipeline: Sequence[tuple[Entity, ...]],
        step: Sequence[tuple[Entity, ...]],
        too_long: int,
    ) -> "Agreement":
        """The agreement of two lists of predictions."""
        predictions = zip(sentences, pipeline, step, strict=True)
        differences = tuple(Difference(*one) for one in predictions if one[1] != one[2])
        return cls(len(sentences), sum(map(len, pipeline)), differences, too_long)
