"""In which order types are learned, and what each step may see: protocols make experiences of corpora."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from raycner.data.corpora import Corpus, Part, ReadingConfig, prepare
from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.errors import Refusal
from raycner.storage.store import ObjectStore
from raycner.values import suggest, unhashed

Rows = NDArray[np.int64]
Protocol = Literal["fg_pg", "joint", "steps"]


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """One entry of the protocol `steps`: types, and the source in which they are annotated."""

    types: tuple[str, ...]
    source: str | None = unhashed(default=None)
    """Where the step's corpus is; the scenario's own source when not said."""
    corpus: str | None = unhashed(default=None)
    """Its layout; the scenario's own when not said."""

    def __post_init__(self) -> None:
        if not self.types:
            raise ValueError("a step needs at least one type")


@dataclass(frozen=True, kw_only=True)
class ScenarioConfig:
    """What is learned, and in which order."""

    corpus: str = "demo"
    """The layout of the source (columns, jsonl) or the name of a corpus (demo, conll2003)."""
    source: str | None = None
    """A folder, a file pattern, or any URI that pyarrow.fs opens."""
    reading: ReadingConfig = ReadingConfig()
    protocol: Protocol = "fg_pg"
    """fg_pg: `first` types, then `per_step` more at each step. joint: the same with all seen types annotated, the upper
    bound. steps: the list `steps`, each entry with its own source."""
    first: int = 1
    per_step: int = 1
    order: tuple[str, ...] = ()
    """Types in the order they are learned; the corpus's own order when empty. Types left out are never annotated."""
    sampling: Literal["greedy", "random"] = "greedy"
    """How fg_pg and joint share the training sentences out; the CFNER family splits them greedily by rare types."""
    split_seed: int = 0
    steps: tuple[StepConfig, ...] = ()

    def __post_init__(self) -> None:
        if self.first < 1 or self.per_step < 1:
            raise ValueError("first and per_step are at least 1")
        if not 0 <= self.split_seed < 2**32:
            raise ValueError(f"split_seed {self.split_seed}: from 0 to 2**32 - 1")
        if (self.protocol == "steps") != bool(self.steps):
            raise ValueError("protocol 'steps' and the list `steps` go together: set both or neither")


@dataclass(frozen=True, kw_only=True)
class ScenarioKey:
    """What of a scenario determines one step's weights; the part of a step's fingerprint that data decides."""

    protocol: str
    corpora: tuple[str, ...]
    """Content fingerprints of the corpora seen so far."""
    types: tuple[str, ...]
    sizes: tuple[int, ...]
    sampling: str = ""
    split_seed: int = 0


@dataclass(frozen=True, eq=False)
class Split:
    """A view of a corpus: which rows, and which types are visible there. Nothing is copied."""

    corpus: Corpus
    part: Part
    rows: Rows
    visible: frozenset[str]
    pseudo: tuple[frozenset[Entity], ...] | None = field(default=None, repr=False)
    """What a teacher said of each row; a column, so it survives shuffling and sharding."""
    columns: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Whatever else a method found out about each row, once per step."""

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

    def with_pseudo(self, said: Sequence[frozenset[Entity]]) -> "Split":
        """The same rows, with what the teacher said of them beside the gold."""
        return replace(self, pseudo=tuple(said))

    def with_columns(self, **columns: Any) -> "Split":
        """The same rows, with more columns."""
        return replace(self, columns={**self.columns, **columns})


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
        self._experiences = tuple(PROTOCOLS[config.protocol](config, self.corpora))

    @classmethod
    def prepare(cls, config: ScenarioConfig, store: ObjectStore, notice: Callable[[str], None] = print) -> "Scenario":
        """Read the corpora that are not in the store yet, and lay the experiences out."""
        sources = [(s.corpus or config.corpus, s.source or config.source) for s in config.steps]
        sources = sources or [(config.corpus, config.source)]
        return cls(config, [prepare(name, source, config.reading, store, notice) for name, source in sources])

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
        """What determines step `index`. Step 0 of joint is step 0 of fg_pg; a longer list of steps keeps its past."""
        seen = self[index].inventory
        if self.config.protocol == "steps":
            fingerprints = tuple(corpus.fingerprint for corpus in self.corpora[: index + 1])
            return ScenarioKey(protocol="steps", corpora=fingerprints, types=seen.types, sizes=seen.sizes)
        full = self[-1].inventory
        return ScenarioKey(
            protocol=self.config.protocol if index else "fg_pg",
            corpora=(self.corpora[0].fingerprint,),
            types=full.types,
            sizes=full.sizes,
            sampling=self.config.sampling,
            split_seed=self.config.split_seed,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What laying the experiences out had to decide, for the report."""
        if self.config.protocol == "steps":
            return ()
        quotas = _quotas(len(self.corpora[0]["train"]), self[-1].inventory)
        dropped = len(self.corpora[0]["train"]) - sum(quotas)
        return (f"{dropped} training sentences left over by equal quotas are not used",) if dropped else ()


def fg_pg(config: ScenarioConfig, corpora: Sequence[Corpus]) -> Iterator[Experience]:
    """FG-a-PG-b: disjoint slices of the training sentences, each annotated with its own step's types only.

    Dev and test are whole, with all types seen so far annotated. Source: CFNER protocol.
    """
    (corpus,) = corpora
    inventories = _inventories(config, corpus)
    slices = SAMPLING[config.sampling](corpus, inventories[-1], config.split_seed)
    for index, inventory in enumerate(inventories):
        train = Split(corpus, "train", slices[index], frozenset(inventory.new))
        yield Experience(index, inventory, train, *_whole(corpus, inventory))


def joint(config: ScenarioConfig, corpora: Sequence[Corpus]) -> Iterator[Experience]:
    """The upper bound of fg_pg: at each step all slices so far, annotated with all types so far."""
    rows: list[Rows] = []
    for experience in fg_pg(config, corpora):
        rows.append(experience.train.rows)
        union = replace(
            experience.train, rows=np.sort(np.concatenate(rows)), visible=frozenset(experience.inventory.types)
        )
        yield replace(experience, train=union)


def steps(config: ScenarioConfig, corpora: Sequence[Corpus]) -> Iterator[Experience]:
    """A list of steps, each with its own corpus and the types annotated there; scored on every corpus so far."""
    inventory = TypeInventory()
    dev: tuple[Split, ...] = ()
    test: tuple[Split, ...] = ()
    for index, (step, corpus) in enumerate(zip(config.steps, corpora, strict=True)):
        _known(step.types, corpus, f"scenario.steps.{index}.types")
        inventory = inventory.grow(step.types)
        visible = frozenset(step.types)
        dev += (_all(corpus, "dev", visible),)
        test += (_all(corpus, "test", visible),)
        yield Experience(index, inventory, _all(corpus, "train", visible), dev, test)


PROTOCOLS: dict[str, Callable[[ScenarioConfig, Sequence[Corpus]], Iterator[Experience]]] = {
    "fg_pg": fg_pg,
    "joint": joint,
    "steps": steps,
}


def greedy(corpus: Corpus, inventory: TypeInventory, seed: int) -> list[Rows]:
    """The greedy split of the CFNER protocol: a sentence goes to the slice of its rarest type that has room.

    Quotas are floor(sentences * types of the slice / types). A sentence whose slices are all full, or that has no
    entity, goes to a slice with room, uniformly at random; when none has room it is dropped. The reference draws from
    an unseeded generator; here `seed` decides.
    """
    kinds = [[e.type for e in entities] for entities in corpus["train"].all_entities()]
    frequency = Counter(kind for sentence in kinds for kind in sentence)
    slice_of = {kind: k for k in range(len(inventory.sizes)) for kind in inventory.block(k)}
    rank = {kind: (frequency[kind], i) for i, kind in enumerate(inventory.types)}
    room = _quotas(len(kinds), inventory)
    draw = np.random.RandomState(seed)  # its stream is frozen across numpy's versions; default_rng's is not
    slices: list[list[int]] = [[] for _ in room]
    for row, sentence in enumerate(kinds):
        own = [slice_of[kind] for kind in sorted(set(sentence) & set(rank), key=rank.__getitem__)]
        chosen = next((k for k in own if room[k]), None)
        if chosen is None:
            open_slices = [k for k, left in enumerate(room) if left]
            if not open_slices:
                continue
            chosen = open_slices[draw.randint(len(open_slices))]
        room[chosen] -= 1
        slices[chosen].append(row)
    return [np.asarray(rows, dtype=np.int64) for rows in slices]


def at_random(corpus: Corpus, inventory: TypeInventory, seed: int) -> list[Rows]:
    """Slices of the same quotas as `greedy`, filled uniformly at random: separates slice bias from forgetting."""
    total = len(corpus["train"])
    order = np.random.RandomState(seed).permutation(total)
    ends = np.cumsum(_quotas(total, inventory))
    return [np.sort(part) for part in np.split(order, ends)[:-1]]


SAMPLING: dict[str, Callable[[Corpus, TypeInventory, int], list[Rows]]] = {"greedy": greedy, "random": at_random}


def _quotas(sentences: int, inventory: TypeInventory) -> list[int]:
    quotas = [sentences * size // len(inventory) for size in inventory.sizes]
    if 0 in quotas:
        found = f"{sentences} training sentences are too few to share out among {len(inventory)} types"
        remedy = "give more sentences, or name fewer types in scenario.order"
        raise Refusal(found, where="scenario.source", remedy=remedy)
    return quotas


def _inventories(config: ScenarioConfig, corpus: Corpus) -> list[TypeInventory]:
    types = config.order or corpus.types
    _known(types, corpus, "scenario.order")
    later, rest = divmod(len(types) - config.first, config.per_step)
    if later < 0 or rest:
        asked = f"first={config.first} and then per_step={config.per_step} do not divide {len(types)} types into steps"
        fitting = [f for f in range(1, len(types) + 1) if (len(types) - f) % config.per_step == 0]
        known = f"{len(types)} types: {', '.join(types)}"
        raise Refusal(asked, where="scenario.first", remedy=f"with this per_step, first may be {fitting} ({known})")
    grown = [TypeInventory().grow(types[: config.first])]
    for k in range(later):
        start = config.first + k * config.per_step
        grown.append(grown[-1].grow(types[start : start + config.per_step]))
    return grown


def _known(types: Sequence[str], corpus: Corpus, where: str) -> None:
    for kind in types:
        if kind not in corpus.types:
            remedy = suggest(kind, corpus.types)
            raise Refusal(f"type {kind!r} is not annotated in {corpus.source}", where=where, remedy=remedy)


def _all(corpus: Corpus, part: Part, visible: frozenset[str]) -> Split:
    return Split(corpus, part, np.arange(len(corpus[part]), dtype=np.int64), visible)


def _whole(corpus: Corpus, inventory: TypeInventory) -> tuple[tuple[Split, ...], tuple[Split, ...]]:
    visible = frozenset(inventory.types)
    return (_all(corpus, "dev", visible),), (_all(corpus, "test", visible),)
