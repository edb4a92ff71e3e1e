"""What one step of a scenario may see: splits of a corpus, in which only some types are annotated."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from raycner.data.corpora import Corpus
from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.data.sources import Part
from raycner.storage.ledger import PseudoRecord

if TYPE_CHECKING:
    from datasets import Dataset

Column = TypeVar("Column")
Rows = NDArray[np.int64]
"""[sentences]: row numbers in one part of a corpus."""


@dataclass(frozen=True, eq=False)
class Split:
    """A view of a corpus: which rows, and which types are visible there. Nothing is copied."""

    corpus: Corpus
    part: Part
    rows: Rows
    visible: frozenset[str]
    pseudo: tuple[frozenset[Entity], ...] | None = field(default=None, repr=False)
    """The teacher's entities in each row; a column, so that it survives shuffling and sharding."""
    columns: Mapping[type[Any], Any] = field(default_factory=dict, repr=False)
    """What a method computed for the split, by type."""
    pseudo_stats: Mapping[str, PseudoRecord] | None = field(default=None, repr=False)
    """Statistics of the pseudo-labels, by type: for the record only, never learned from."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Sentence:
        row = int(self.rows[position])
        source = self.corpus[self.part]
        gold = frozenset(entity for entity in source.entities(row) if entity.type in self.visible)
        pseudo = self.pseudo[position] if self.pseudo is not None else frozenset()
        return Sentence(row, source.words(row), gold, pseudo)

    def sentences(self, positions: Sequence[int] | None = None) -> Iterator[Sentence]:
        return (self[i] for i in (range(len(self)) if positions is None else positions))

    def dataset(self) -> "Dataset":
        """The rows of the split in its corpus's dataset: a selection by index, which copies no sentence.

        Its entities are the corpus's own, those of types that are not visible here included.
        """
        return self.corpus.dataset(self.part).select(self.rows, keep_in_memory=True)

    def with_pseudo(self, entities: Sequence[frozenset[Entity]]) -> "Split":
        """The same rows, with the teacher's entities of each next to the gold ones."""
        return replace(self, pseudo=tuple(entities))

    def with_pseudo_labels(
        self, confidences: Sequence[Mapping[Entity, float]], thresholds: Mapping[str, float]
    ) -> "Split":
        """The same rows, with those of a teacher's entities whose confidence reaches the threshold of their type."""
        labels = [frozenset(e for e, p in row.items() if p >= thresholds[e.type]) for row in confidences]
        gold = (frozenset(self.corpus[self.part].entities(int(row))) for row in self.rows)
        proposed = Counter(entity.type for row in confidences for entity in row)
        accepted = Counter(entity.type for row in labels for entity in row)
        right = Counter(entity.type for row, true in zip(labels, gold, strict=True) for entity in row & true)
        pseudo_stats = {
            kind: PseudoRecord(
                proposed=proposed[kind],
                kept=accepted[kind],
                threshold=threshold,
                right=right[kind] if kind in self.corpus.types else None,
            )
            for kind, threshold in thresholds.items()
        }
        return replace(self.with_pseudo(labels), pseudo_stats=pseudo_stats)

    def column(self, kind: type[Column]) -> Column:
        """The column of this type. Raises `KeyError` if the split has none."""
        column: Column = self.columns[kind]
        return column

    def with_column(self, column: object) -> "Split":
        """The same rows with a further column, which `column(type(column))` returns."""
        return replace(self, columns={**self.columns, type(column): column})


@dataclass(frozen=True, eq=False)
class Experience:
    """What one step may see. Dev and test come in parts, each with the types that are annotated in it."""

    index: int
    inventory: TypeInventory
    train: Split
    dev: tuple[Split, ...]
    test: tuple[Split, ...]


def whole(corpus: Corpus, part: Part, visible: Iterable[str]) -> Split:
    """All sentences of a part, with some types visible."""
    return Split(corpus, part, np.arange(len(corpus[part]), dtype=np.int64), frozenset(visible))


def whole_dev_and_test(corpus: Corpus, inventory: TypeInventory) -> tuple[tuple[Split, ...], tuple[Split, ...]]:
    """Dev and test as most protocols have them: whole, with all types so far annotated."""
    return (whole(corpus, "dev", inventory.types),), (whole(corpus, "test", inventory.types),)


def joint(experiences: Iterable[Experience]) -> Iterator[Experience]:
    """The upper bound of experiences over one corpus: at each step the sentences of all steps so far, annotated with
    all types so far. The first step stays as it is. Source: the non-continual models of CFNER and SpanKL.
    """
    trained: list[Rows] = []
    for experience in experiences:
        visible = frozenset(experience.inventory.types)
        trained.append(experience.train.rows)
        train = replace(experience.train, rows=_union(trained), visible=visible)
        dev = replace(experience.dev[0], rows=_union([part.rows for part in experience.dev]), visible=visible)
        yield replace(experience, train=train, dev=(dev,))


def _union(rows: Sequence[Rows]) -> Rows:
    return np.unique(np.concatenate(rows))
