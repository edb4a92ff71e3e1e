"""Scenarios: a corpus, and the protocol by which its types are learned, make the experiences of a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import overload

import numpy as np

from raycner.data.corpora import Corpus, prepare
from raycner.data.layouts.layout import LAYOUTS, Layout
from raycner.data.scenarios.experience import Experience, Rows, Split, joint, whole, with_share
from raycner.data.scenarios.memory import MemoryConfig
from raycner.data.scenarios.protocol import PROTOCOLS, OneCorpusProtocol, Protocol, ScenarioKey, ViewKey
from raycner.data.scenarios.reservoir import ReservoirConfig, ReservoirKey, prepare_reservoir
from raycner.errors import InputError
from raycner.hashing import Plain, omit_default_from_hash
from raycner.registry import Registry
from raycner.settings import renamed
from raycner.storage.store import ObjectStore

__all__ = ["Experience", "Rows", "Scenario", "ScenarioConfig", "ScenarioKey", "Split", "ViewKey", "recorded"]


@dataclass(frozen=True, kw_only=True)
class ScenarioConfig:
    """What is learned, and in which order."""

    corpus: Layout = field(default_factory=lambda: LAYOUTS["demo"]())
    """The corpus: `name` is its layout (columns, jsonl, ...) or a named corpus (demo, conll2003, ...)."""
    protocol: Protocol = field(default_factory=lambda: PROTOCOLS["fg_pg"]())
    """How types and sentences are divided into steps."""
    order: tuple[str, ...] = ()
    """The types to learn, in this order; the corpus's own when empty. Types left out are annotated nowhere."""
    joint: bool = False
    """The upper bound of the protocol: each step sees the sentences of all steps so far, annotated with all types so
    far."""
    train_share: float = omit_default_from_hash(1.0)
    """Learn only so much of each step's training sentences, drawn at random, with the epochs, batches and rates of all
    of them: for quick trials. `rungs` of a search sets it."""
    memory: MemoryConfig = omit_default_from_hash(MemoryConfig())
    """Sentences of finished steps that every later step learns again; none by default."""
    reservoir: ReservoirConfig = omit_default_from_hash(ReservoirConfig())
    """Text without annotations from which later steps draw sentences with old entities; none by default."""

    def __post_init__(self) -> None:
        if not 0 < self.train_share <= 1:
            raise ValueError(f"train_share {self.train_share}: above 0, at most 1")
        for name, is_set in {"memory": self.memory.size > 0, "reservoir": self.reservoir.path != ""}.items():
            if self.joint and is_set:
                line, hint = "the upper bound sees all sentences anyway", f"leave scenario.{name} out"
                raise InputError(line, location=f"scenario.{name}", hint=hint)
        if (self.order or self.joint) and not isinstance(self.protocol, OneCorpusProtocol):
            setting = "order" if self.order else "joint"
            line = f"protocol {self.protocol.name!r} has a corpus per step, so it does not read this"
            raise InputError(line, location=f"scenario.{setting}", hint=f"leave scenario.{setting} out")
        self.protocol.corpora(self.corpus)

    @property
    def label(self) -> str:
        """What the names of runs call the protocol."""
        if self.joint and isinstance(self.protocol, OneCorpusProtocol):
            return self.protocol.joint_label
        return self.protocol.label


class Scenario(Sequence[Experience]):
    """The experiences of a run, in order."""

    corpora: tuple[Corpus, ...]
    """Those of the protocol."""
    reservoir: Corpus | None
    """The text from which steps draw; the last of the corpora that the scenario is made of."""

    def __init__(self, config: ScenarioConfig, corpora: Sequence[Corpus]) -> None:
        self.config = config
        self.reservoir = corpora[-1] if config.reservoir.path else None
        self.corpora = tuple(corpora if self.reservoir is None else corpora[:-1])
        experiences = config.protocol.divide(self.corpora, config.order)
        self._experiences = tuple(joint(experiences) if config.joint else experiences)
        if config.train_share < 1:
            self._experiences = tuple(with_share(experience, config.train_share) for experience in self._experiences)
        if self.reservoir is not None:
            first, *later = self._experiences
            text = whole(self.reservoir, "train", ())
            self._experiences = (first, *(replace(experience, reservoir=text) for experience in later))

    @classmethod
    def prepare(cls, config: ScenarioConfig, store: ObjectStore, emit: Callable[[str], None] = print) -> "Scenario":
        """Read the corpora that the store lacks, and divide them into experiences."""
        return cls(config, cls.read(config, store, emit))

    @staticmethod
    def read(config: ScenarioConfig, store: ObjectStore, emit: Callable[[str], None] = print) -> list[Corpus]:
        """The corpora of a scenario, those of its protocol first; those that the store lacks are read."""
        corpora = [prepare(layout, store, emit) for layout in config.protocol.corpora(config.corpus)]
        if config.reservoir.path:
            corpora.append(prepare_reservoir(config.reservoir, store, emit))
        return corpora

    @classmethod
    def open(cls, config: ScenarioConfig, store: ObjectStore, fingerprints: Sequence[str]) -> "Scenario":
        """The scenario over corpora that are in the store (how workers open it)."""
        return cls(config, [Corpus.open(store, fingerprint) for fingerprint in fingerprints])

    @classmethod
    def of_run(cls, config: ScenarioConfig, store: ObjectStore, fingerprints: Sequence[str]) -> "Scenario":
        """The scenario over the corpora that a ledger names, which are those of the protocol: without a reservoir."""
        return cls.open(replace(config, reservoir=ReservoirConfig()), store, fingerprints)

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
        return replace(self.config.protocol.key(self, index, joint=self.config.joint), share=self.config.train_share)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Those of all corpora that it is made of: what `open` needs."""
        reservoir = () if self.reservoir is None else (self.reservoir,)
        return tuple(corpus.fingerprint for corpus in (*self.corpora, *reservoir))

    @property
    def reservoir_key(self) -> ReservoirKey | None:
        """What determines what a step draws from the reservoir."""
        if self.reservoir is None:
            return None
        settings = self.config.reservoir
        return ReservoirKey(corpus=self.reservoir.fingerprint, size=settings.size, confidence=settings.confidence)

    @property
    def adopted_on(self) -> tuple[str, ...]:
        """Digests of the test sentences of an adopted first step, and of the types annotated there; else nothing.

        Every other step is named by its sentences. An adopted one is named by its model alone.
        """
        return tuple(split.digest for split in self[0].test) if self[0].adopted else ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the division leaves out or could not give, for the report."""
        unseen = 0
        for corpus in set(self.corpora):
            seen = [experience.train.rows for experience in self if experience.train.corpus is corpus]
            unseen += len(corpus["train"]) - len(np.unique(np.concatenate(seen))) if seen else 0
        left_out = (f"{unseen} training sentences are in no step",) if unseen else ()
        return (*left_out, *self.config.protocol.notes(self))


def recorded(config: Mapping[str, Plain]) -> dict[str, Plain]:
    """The settings of a ledger in today's form.

    Ledgers of version 0.1 have one flat list of settings for all layouts and protocols: those that a run's own layout
    and protocol do not have were never read, and are left out.
    """
    current = renamed(config)
    scenario = current.get("scenario", {})
    if isinstance(scenario, dict) and scenario != config.get("scenario", {}):
        for key, family in (("corpus", LAYOUTS), ("protocol", PROTOCOLS)):
            scenario[key] = _own(scenario.get(key, {}), family)
    return current


def _own(settings: Plain, family: Registry) -> Plain:
    """The settings that the kind has; what is no kind at all stays as it is, for `build` to refuse."""
    name = settings.get("name") if isinstance(settings, Mapping) else None
    if not isinstance(name, str) or name not in family:
        return settings
    own = {"name", *(field.name for field in fields(family[name]))}
    return {key: value for key, value in settings.items() if key in own}
