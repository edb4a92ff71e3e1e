"""What one step of a scenario may see: splits of a corpus, in which only some types are annotated."""

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
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
    """A view of a corpus: which rows, and which types are visible there. Nothing is copied.

    Positions count its rows, then the sentences of `further`, then those of `companions`.
    """

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

    erased: frozenset[str] = frozenset()
    """Visible types whose entities are cut out of the sentences, words and all."""
    open: frozenset[str] = frozenset()
    """Visible types of which only some entities are annotated: words without annotation may be of them."""
    names: Mapping[str, str] | None = None
    """What types of the corpus are called here, where that differs; those without a name are not annotated here."""
    further: tuple["Split", ...] = field(default=(), repr=False)
    """Sentences of other sources, learned with these: each split with the types that are visible in it."""
    companions: tuple["Split", ...] = field(default=(), repr=False)
    """Sentences that no epoch draws: the `collate` of a method reads them next to others."""

    @cached_property
    def sources(self) -> tuple["Split", ...]:
        """The split by source, in the order of positions; annotations and columns are left out."""
        own = replace(self, pseudo=None, columns={}, pseudo_stats=None, further=(), companions=())
        return (own, *self.further, *self.companions)

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(len(source.rows) for source in (self, *self.further, *self.companions)))

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def drawn(self) -> int:
        """The number of sentences that an epoch draws: all but the companions."""
        return self._ends[len(self.further)]

    @cached_property
    def lengths(self) -> Rows:
        """[sentences] the number of words of each."""
        return np.concatenate([source._lengths() for source in self.sources])

    def _lengths(self) -> Rows:
        if not self.erased:
            return self.corpus[self.part].lengths[self.rows].astype(np.int64)
        return np.fromiter((len(sentence.words) for sentence in self.sentences()), np.int64, len(self.rows))

    def __getitem__(self, position: int) -> Sentence:
        source, row = self._locate(position)
        gold = frozenset(entity for entity in source._annotated(row) if entity.type in source.visible)
        sentence = Sentence(row, source.corpus[source.part].words(row), gold, open=source.open)
        if source.erased:
            sentence = sentence.without(source.erased)
        return sentence if self.pseudo is None else replace(sentence, pseudo=self.pseudo[position])

    def _annotated(self, row: int) -> Iterable[Entity]:
        """The entities of a row, as they are called here."""
        entities = self.corpus[self.part].entities(row)
        if self.names is None:
            return entities
        return [replace(entity, type=self.names[entity.type]) for entity in entities if entity.type in self.names]

    def words(self, position: int) -> tuple[str, ...]:
        """The words of one sentence."""
        source, row = self._locate(position)
        return self[position].words if source.erased else source.corpus[source.part].words(row)

    def _locate(self, position: int) -> tuple["Split", int]:
        """The source of a position, and its row there."""
        k = bisect_right(self._ends, position)
        source = (self, *self.further, *self.companions)[k]
        return source, int(source.rows[position - (self._ends[k - 1] if k else 0)])

    def sentences(self, positions: Sequence[int] | None = None) -> Iterator[Sentence]:
        return (self[i] for i in (range(len(self)) if positions is None else positions))

    @property
    def digest(self) -> str:
        """Of its rows, and of the types that are visible in them."""
        facts = repr((self.corpus.fingerprint, self.part, sorted(self.visible), sorted((self.names or {}).items())))
        return hashlib.sha256(facts.encode() + self.rows.astype("<i8").tobytes()).hexdigest()[:16]

    def dataset(self) -> "Dataset":
        """The rows of the split in its corpus's dataset: a selection by index, which copies no sentence.

        Its entities are the corpus's own, those of types that are not visible here included.
        """
        return self.corpus.dataset(self.part).select(self.rows, keep_in_memory=True)

    def with_pseudo(self, entities: Sequence[frozenset[Entity]]) -> "Split":
        """The same sentences, with the teacher's entities of each next to the gold ones."""
        return replace(self, pseudo=tuple(entities))

    def with_pseudo_labels(
        self, confidences: Sequence[Mapping[Entity, float]], thresholds: Mapping[str, float]
    ) -> "Split":
        """The same sentences, with those of a teacher's entities whose confidence reaches the threshold of their type.

        The statistics are of the split's own rows.
        """
        labels = [frozenset(e for e, p in row.items() if p >= thresholds[e.type]) for row in confidences]
        gold = (frozenset(self.corpus[self.part].entities(int(row))) for row in self.rows)
        own = slice(len(self.rows))
        proposed = Counter(entity.type for row in confidences[own] for entity in row)
        accepted = Counter(entity.type for row in labels[own] for entity in row)
        right = Counter(entity.type for row, true in zip(labels[own], gold, strict=True) for entity in row & true)
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
        """The same sentences with a further column, which `column(type(column))` returns."""
        return replace(self, columns={**self.columns, type(column): column})


@dataclass(frozen=True, eq=False)
class Experience:
    """What one step may see. Dev and test come in parts, each with the types that are annotated in it."""

    index: int
    inventory: TypeInventory
    train: Split
    dev: tuple[Split, ...]
    test: tuple[Split, ...]
    adopted: str = ""
    """The fingerprint of a step that was trained elsewhere; empty for one that is trained here."""
    reservoir: Split | None = None
    """Text without annotations, from which the step may draw."""


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


def with_share(experience: Experience, share: float) -> Experience:
    """The experience with so much of its training sentences, at least one, drawn by the number of the step alone."""
    rows = experience.train.rows
    number = min(len(rows), max(1, round(share * len(rows))))
    drawn = np.random.default_rng(experience.index).choice(len(rows), number, replace=False)
    return replace(experience, train=replace(experience.train, rows=rows[np.sort(drawn)]))


def _union(rows: Sequence[Rows]) -> Rows:
    return np.unique(np.concatenate(rows))
