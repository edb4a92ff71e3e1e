"""Protocols: which types a step learns, and which sentences it sees. A protocol owns its settings as fields.

One file per protocol; a file in this folder registers itself. To add one, yield experiences of a corpus:

    @PROTOCOLS.register("all_at_once")
    class AllAtOnce(OneCorpusProtocol):
        \"\"\"All types in one step.\"\"\"

        def experiences(self, corpus, types):
            inventory = TypeInventory().grow(types)
            train = whole(corpus, "train", types)
            yield Experience(0, inventory, train, *whole_dev_and_test(corpus, inventory))
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from raycner.data.corpora import Corpus
from raycner.data.entities import TypeInventory
from raycner.data.layouts.layout import Layout
from raycner.data.scenarios.experience import Experience, Split
from raycner.errors import InputError
from raycner.hashing import omit_default_from_hash
from raycner.registry import Registry, suggest

PROTOCOLS = Registry("protocol", group="raycner.protocols")


@dataclass(frozen=True, kw_only=True)
class ScenarioKey:
    """What of a scenario determines the weights and scores of one step: the data's part of the step's fingerprint."""

    corpora: tuple[str, ...]
    """Content fingerprints of the corpora seen so far."""
    types: tuple[str, ...]
    sizes: tuple[int, ...]
    share: float = omit_default_from_hash(1.0)
    """Of the step's training sentences."""


@dataclass(frozen=True, kw_only=True)
class ViewKey(ScenarioKey):
    """Names a step by what it sees: equal views are the same step, whatever protocol, seed and order led to them."""

    train: str
    """Digest of the sentences, and of the types that are visible in them."""
    dev: str
    test: str


@dataclass(frozen=True, kw_only=True)
class Protocol(ABC):
    """How experiences are made of corpora."""

    family: ClassVar[Registry] = PROTOCOLS
    name: ClassVar[str]

    @property
    def label(self) -> str:
        """What the names of runs call it."""
        return self.name

    @property
    def run_name(self) -> str:
        """How the names of its runs begin, instead of by corpus, protocol, method and seed."""
        return ""

    @property
    def named_steps(self) -> int:
        """How many of its first steps `run_name` alone names; the types of later ones follow it."""
        return 0

    def corpora(self, corpus: Layout) -> tuple[Layout, ...]:
        """The corpora to read; `corpus` is the scenario's."""
        return (corpus,)

    @abstractmethod
    def divide(self, corpora: Sequence[Corpus], order: tuple[str, ...]) -> Iterator[Experience]:
        """The steps over the corpora, in order. An empty `order` of types is the corpus's own."""

    def notes(self, experiences: Sequence[Experience]) -> tuple[str, ...]:  # noqa: ARG002
        """Where the steps differ from what the settings ask for, for the report."""
        return ()

    def key(self, experiences: Sequence[Experience], index: int, *, joint: bool) -> ScenarioKey:
        """What determines step `index`; `joint` if the experiences are the upper bound's."""
        del joint
        experience = experiences[index]
        return ViewKey(
            corpora=tuple(dict.fromkeys(split.corpus.fingerprint for split in (experience.train, *experience.test))),
            types=experience.inventory.types,
            sizes=experience.inventory.sizes,
            train=_digest([experience.train]),
            dev=_digest(experience.dev),
            test=_digest(experience.test),
        )


@dataclass(frozen=True, kw_only=True)
class OneCorpusProtocol(Protocol):
    """A protocol whose steps all see one corpus: it has an order of types, and an upper bound (`scenario.joint`)."""

    @property
    def joint_label(self) -> str:
        """What the names of runs call the upper bound."""
        return f"joint_{self.label}"

    @abstractmethod
    def experiences(self, corpus: Corpus, types: tuple[str, ...]) -> Iterator[Experience]:
        """The steps, in order. `types` are those to learn, in the order to learn them."""

    def divide(self, corpora: Sequence[Corpus], order: tuple[str, ...]) -> Iterator[Experience]:
        (corpus,) = corpora
        require_types(order, corpus, "scenario.order")
        return self.experiences(corpus, order or corpus.types)


@dataclass(frozen=True, kw_only=True)
class SeededProtocol(OneCorpusProtocol):
    """A protocol that draws at random which sentences a step sees."""

    split_seed: int = 0
    """Draws the division of the sentences among the steps."""

    def __post_init__(self) -> None:
        if not 0 <= self.split_seed < 2**32:
            raise ValueError(f"split_seed {self.split_seed}: from 0 to 2**32 - 1")


def in_steps(types: tuple[str, ...], first: int, per_step: int) -> list[TypeInventory]:
    """The inventory of each step: `first` types, then `per_step` more each time. Raises `InputError` for a rest."""
    later, rest = divmod(len(types) - first, per_step)
    if later < 0 or rest:
        line = f"first={first} and then per_step={per_step} do not divide {len(types)} types into steps"
        fitting = [number for number in range(1, len(types) + 1) if (len(types) - number) % per_step == 0]
        hint = f"with this per_step, first may be {fitting} ({len(types)} types: {', '.join(types)})"
        raise InputError(line, location="scenario.protocol.first", hint=hint)
    inventories = [TypeInventory().grow(types[:first])]
    for start in range(first, len(types), per_step):
        inventories.append(inventories[-1].grow(types[start : start + per_step]))
    return inventories


def require_types(types: Iterable[str], corpus: Corpus, location: str) -> None:
    """Raise `InputError` for a type that the corpus does not have."""
    for kind in types:
        if kind not in corpus.types:
            hint = suggest(kind, corpus.types)
            raise InputError(f"type {kind!r} is not annotated in {corpus.source}", location=location, hint=hint)


def _digest(splits: Iterable[Split]) -> str:
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr((split.corpus.fingerprint, split.part, sorted(split.visible), len(split))).encode())
        digest.update(split.rows.astype("<i8").tobytes())
    return digest.hexdigest()[:16]
