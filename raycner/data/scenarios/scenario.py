"""In which order types are learned, and what each step may see: protocols make experiences of corpora.

One file a family of protocols; dropping a file here registers what it holds. To add a protocol, write a generator of
experiences and register it:

    @protocol("all_at_once")
    def all_at_once(config, corpora):
        (corpus,) = corpora
        inventory = TypeInventory().grow(learned(config, corpus))
        yield Experience(0, inventory, whole(corpus, "train", inventory.types), *both(corpus, inventory))
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from raycner.data.corpora import Corpus, Part, ReadingConfig, prepare
from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.errors import InputError
from raycner.hashing import not_hashed
from raycner.registry import suggest
from raycner.storage.ledger import PseudoRecord
from raycner.storage.store import ObjectStore

if TYPE_CHECKING:
    from datasets import Dataset

Rows = NDArray[np.int64]
Column = TypeVar("Column")


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """One entry of the protocol `steps`: types, and the source in which they are annotated."""

    types: tuple[str, ...]
    source: str | None = not_hashed(default=None)
    """Where the step's corpus is; the scenario's own source when not said."""
    corpus: str | None = not_hashed(default=None)
    """Its layout; the scenario's own when not said."""

    def __post_init__(self) -> None:
        if not self.types:
            raise ValueError("a step needs at least one type")


@dataclass(frozen=True, kw_only=True)
class ScenarioConfig:
    """What is learned, and in which order."""

    corpus: str = "demo"
    """The layout of the source (columns, jsonl, offsets, parquet, datasets, brat, conll2012) or the name of a corpus
    (demo, conll2003, few_nerd, i2b2)."""
    source: str | None = None
    """A folder, a file pattern, or any URI that pyarrow.fs opens."""
    reading: ReadingConfig = ReadingConfig()  # noqa: RUF009
    protocol: str = "fg_pg"
    """fg_pg: `first` types, then `per_step` more at each step. split, filter: the `tasks`, one at each step.
    progressive: all types but `target`, then all of them; scratch: its second step alone. Each of these has an upper
    bound: joint, joint_split, joint_filter, joint_progressive. steps: the list `steps`, each with its own source."""
    first: int = 1
    per_step: int = 1
    order: tuple[str, ...] = ()
    """Types in the order they are learned; the corpus's own order when empty. Types left out are never annotated."""
    sampling: Literal["greedy", "random"] = "greedy"
    """How fg_pg and joint share the training sentences out; the CFNER family splits them greedily by rare types."""
    split_seed: int = 0
    steps: tuple[StepConfig, ...] = ()
    tasks: Literal["types", "coarse"] | tuple[tuple[str, ...], ...] = "types"
    """What split and filter learn at each step: every type by itself, all fine types of a coarse one (what stands
    before the dash of `person-actor`), or the groups of types listed here. Every type that is learned belongs to one
    task; `order` says which are, where not all."""
    permutation: str = "P1"
    """The order in which tasks are learned: the published one of that name if the tasks are SpanKL's; of others, P1 is
    the order they are listed in, and P2 and so on are drawn from the number. What a task sees is the same in each."""
    test: Literal["all", "filter"] = "all"
    """What split and filter are tested on: all sentences, or those with an entity of a type that is known by then."""
    target: str = ""
    """The type that progressive learns last."""
    share: float = 0.8
    """The share of the training sentences that progressive learns the other types from; the rest is its second step."""

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"no protocol is called {self.protocol!r}; {suggest(self.protocol, PROTOCOLS)}")
        if self.first < 1 or self.per_step < 1:
            raise ValueError("first and per_step are at least 1")
        if not 0 <= self.split_seed < 2**32:
            raise ValueError(f"split_seed {self.split_seed}: from 0 to 2**32 - 1")
        if (self.protocol == "steps") != bool(self.steps):
            raise ValueError("protocol 'steps' and the list `steps` go together: set both or neither")
        if not re.fullmatch(r"P[1-9]\d{0,5}", self.permutation):
            raise ValueError(f"permutation {self.permutation!r}: write P1, P2, P3 or the like")
        if not 0 < self.share < 1:
            raise ValueError(f"share {self.share}: above 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class ScenarioKey:
    """What of a scenario determines one step's weights and scores; the part of its fingerprint that data decides."""

    corpora: tuple[str, ...]
    """Content fingerprints of the corpora seen so far."""
    types: tuple[str, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ViewKey(ScenarioKey):
    """A step named by what it sees: whatever protocol, seed and order led to the same view, it is the same step."""

    train: str
    """Digest of the sentences, and of the types that are visible in them."""
    dev: str
    test: str


@dataclass(frozen=True, eq=False)
class Split:
    """A view of a corpus: which rows, and which types are visible there. Nothing is copied."""

    corpus: Corpus
    part: Part
    rows: Rows
    visible: frozenset[str]
    pseudo: tuple[frozenset[Entity], ...] | None = field(default=None, repr=False)
    """What a teacher said of each row; a column, so it survives shuffling and sharding."""
    columns: Mapping[type[Any], Any] = field(default_factory=dict, repr=False)
    """What a method computed for the split, by type."""
    pseudo_stats: Mapping[str, PseudoRecord] | None = field(default=None, repr=False)
    """What became of a teacher's entities, by type: for the record, never learned from."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Sentence:
        row = int(self.rows[position])
        source = self.corpus[self.part]
        gold = frozenset(entity for entity in source.entities(row) if entity.type in self.visible)
        said = self.pseudo[position] if self.pseudo is not None else frozenset()
        return Sentence(row, source.words(row), gold, said)

    def sentences(self, positions: Sequence[int] | None = None) -> Iterator[Sentence]:
        return (self[i] for i in (range(len(self)) if positions is None else positions))

    def dataset(self) -> "Dataset":
        """The rows of the split in its corpus's dataset: a selection by index, which copies no sentence.

        Its entities are the corpus's own, those of types that are not visible here included.
        """
        return self.corpus.dataset(self.part).select(self.rows, keep_in_memory=True)

    def with_pseudo(self, said: Sequence[frozenset[Entity]]) -> "Split":
        """The same rows, with what the teacher said of them beside the gold."""
        return replace(self, pseudo=tuple(said))

    def with_pseudo_labels(self, said: Sequence[Mapping[Entity, float]], thresholds: Mapping[str, float]) -> "Split":
        """The same rows, with those of a teacher's entities whose confidence reaches their type's threshold."""
        kept = [frozenset(e for e, sure in found.items() if sure >= thresholds[e.type]) for found in said]
        proposed = Counter(entity.type for found in said for entity in found)
        taken = Counter(entity.type for found in kept for entity in found)
        known = (self.corpus[self.part].entities(int(row)) for row in self.rows)
        right = Counter(entity.type for found, gold in zip(kept, known, strict=True) for entity in found & set(gold))
        pseudo_stats = {
            kind: PseudoRecord(
                proposed=proposed[kind],
                kept=taken[kind],
                threshold=threshold,
                right=right[kind] if kind in self.corpus.types else None,
            )
            for kind, threshold in thresholds.items()
        }
        return replace(self.with_pseudo(kept), pseudo_stats=pseudo_stats)

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


class Scenario(Sequence[Experience]):
    """The ordered experiences that a protocol makes of corpora."""

    def __init__(self, config: ScenarioConfig, corpora: Sequence[Corpus]) -> None:
        self.config, self.corpora = config, tuple(corpora)
        self._protocol = PROTOCOLS[config.protocol]
        self._experiences = tuple(self._protocol.lay(config, self.corpora))

    @classmethod
    def prepare(cls, config: ScenarioConfig, store: ObjectStore, emit: Callable[[str], None] = print) -> "Scenario":
        """Read the corpora that are not in the store yet, and lay the experiences out."""
        sources = [(s.corpus or config.corpus, s.source or config.source) for s in config.steps]
        sources = sources or [(config.corpus, config.source)]
        return cls(config, [prepare(name, source, config.reading, store, emit) for name, source in sources])

    @classmethod
    def open(cls, config: ScenarioConfig, store: ObjectStore, fingerprints: Sequence[str]) -> "Scenario":
        """The scenario over corpora that already lie in the store (how workers open it)."""
        return cls(config, [Corpus.open(store, fingerprint) for fingerprint in fingerprints])

    def __len__(self) -> int:
        return len(self._experiences)

    @overload
    def __getitem__(self, index: int) -> Experience: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Experience, ...]: ...

    def __getitem__(self, index: int | slice) -> Experience | tuple[Experience, ...]:
        return self._experiences[index]

    def key(self, index: int) -> ScenarioKey:
        """What determines step `index`."""
        return self._protocol.key(self, index)

    @property
    def notes(self) -> tuple[str, ...]:
        """What laying the experiences out had to leave out, for the report."""
        unseen = 0
        for corpus in set(self.corpora):
            seen = [experience.train.rows for experience in self if experience.train.corpus is corpus]
            unseen += len(corpus["train"]) - len(np.unique(np.concatenate(seen)))
        return (f"{unseen} training sentences are in no step",) if unseen else ()


def seen(scenario: Scenario, index: int) -> ViewKey:
    """The key of a step that is named by what it sees."""
    experience = scenario[index]
    return ViewKey(
        corpora=tuple(dict.fromkeys(split.corpus.fingerprint for split in (experience.train, *experience.test))),
        types=experience.inventory.types,
        sizes=experience.inventory.sizes,
        train=_digest([experience.train]),
        dev=_digest(experience.dev),
        test=_digest(experience.test),
    )


def _digest(splits: Iterable[Split]) -> str:
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr((split.corpus.fingerprint, split.part, sorted(split.visible), len(split))).encode())
        digest.update(split.rows.astype("<i8").tobytes())
    return digest.hexdigest()[:16]


Lay = Callable[[ScenarioConfig, Sequence[Corpus]], Iterator[Experience]]


@dataclass(frozen=True)
class Protocol:
    """How experiences are made of corpora."""

    lay: Lay
    key: Callable[[Scenario, int], ScenarioKey]
    """What names a step."""
    bounds: str | None
    """The protocol whose upper bound this one is."""


PROTOCOLS: dict[str, Protocol] = {}


def protocol(
    name: str, *, key: Callable[[Scenario, int], ScenarioKey] = seen, bounds: str | None = None
) -> Callable[[Lay], Lay]:
    """Register a generator of experiences as the protocol `name`."""

    def register(lay: Lay) -> Lay:
        if name in PROTOCOLS:
            raise TypeError(f"protocol {name!r} is defined twice")
        PROTOCOLS[name] = Protocol(lay, key, bounds)
        return lay

    return register


def bound(experiences: Iterable[Experience]) -> Iterator[Experience]:
    """The upper bound of a protocol: at each step the sentences of all steps so far, annotated with all types so far.

    Its first step is the protocol's own first step. Source: the non-continual models of CFNER and SpanKL.
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


def learned(config: ScenarioConfig, corpus: Corpus) -> tuple[str, ...]:
    """The types that a scenario learns, in the order that it says or the corpus has."""
    known(config.order, corpus, "scenario.order")
    return config.order or corpus.types


def known(types: Iterable[str], corpus: Corpus, where: str) -> None:
    """Refuse a type that the corpus does not have."""
    for kind in types:
        if kind not in corpus.types:
            hint = suggest(kind, corpus.types)
            raise InputError(f"type {kind!r} is not annotated in {corpus.source}", location=where, hint=hint)


def whole(corpus: Corpus, part: Part, visible: Iterable[str]) -> Split:
    """All sentences of a part, some types visible in them."""
    return Split(corpus, part, np.arange(len(corpus[part]), dtype=np.int64), frozenset(visible))


def both(corpus: Corpus, inventory: TypeInventory) -> tuple[tuple[Split, ...], tuple[Split, ...]]:
    """Dev and test as most protocols have them: whole, with all types so far annotated."""
    return (whole(corpus, "dev", inventory.types),), (whole(corpus, "test", inventory.types),)
