"""A list of steps, each with a corpus of its own: for new types as they arrive in practice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from raycner.data.corpora import Corpus
from raycner.data.entities import TypeInventory
from raycner.data.layouts.layout import Layout, layout_over
from raycner.data.retyping import Retyping
from raycner.data.scenarios.experience import Experience, Split, whole
from raycner.data.scenarios.protocol import PROTOCOLS, Protocol, ScenarioKey, require_types
from raycner.errors import InputError
from raycner.hashing import omit_default_from_hash
from raycner.registry import suggest


@dataclass(frozen=True, kw_only=True)
class ScoredCorpus:
    """A corpus on whose test part a retyped step, and later ones, are scored."""

    corpus: Mapping[str, Any]
    """What differs from the scenario's corpus."""
    names: Mapping[str, str]
    """Its type -> what the type is called now; other types are not annotated in it."""


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """One entry of the protocol `steps`: types, and the corpus in which they are annotated."""

    types: tuple[str, ...]
    corpus: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the scenario's corpus, such as `{path: data/reviews}` or `{name: jsonl, path: data/x}`."""
    annotated: tuple[str, ...] = ()
    """Types of earlier steps that the corpus annotates too, in every sentence."""
    partly: tuple[str, ...] = ()
    """Types, new or old, of which the training sentences mark only some entities. What is marked is learned; of all
    other words nothing is assumed, and the teacher decides. Dev and test are read as if they were annotated in full."""
    adopted: str = ""
    """The fingerprint of a model that `raycner adopt` made this step, the first one: it is scored on the test part of
    its corpus, and never trained."""
    origin: str = ""
    """Where a first step comes from: RUN:STEP, of which it was made by other types alone, or the tagger whose
    predictions it learns."""
    retyping: Retyping = Retyping()  # noqa: RUF009  # a frozen value
    """How the types of `origin` were changed."""
    scored: tuple[ScoredCorpus, ...] = ()
    """What an adopted step is scored on next to the test part of its corpus."""

    def __post_init__(self) -> None:
        if not self.types:
            raise ValueError("a step needs at least one type")
        if set(self.annotated) & {*self.types, *self.partly}:
            raise ValueError("`annotated` are types of earlier steps, and not those that are annotated in part")

    @property
    def visible(self) -> tuple[str, ...]:
        """All types that are annotated in its corpus."""
        return tuple(dict.fromkeys((*self.types, *self.annotated, *self.partly)))


@dataclass(frozen=True, kw_only=True)
class ListedKey(ScenarioKey):
    """Names a step by the corpora and types of the list up to it: appending steps renames none of the earlier ones."""

    protocol: str = "steps"
    sampling: str = ""
    split_seed: int = 0
    annotated: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = omit_default_from_hash(())
    """Of each step, which earlier types are annotated too, and which types in part; empty where no step has such."""


@PROTOCOLS.register("steps")
class ListedSteps(Protocol):
    """A list of steps, each with its own corpus and the types annotated there; scored on every corpus so far."""

    steps: tuple[StepConfig, ...] = ()
    run_name: str = ""
    """How the names of its runs begin, instead of by corpus, protocol, method and seed: by an adopted model's name."""

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("protocol 'steps' needs the list `steps`: write its entries {types: [...], corpus: {...}}")
        if any(step.adopted for step in self.steps[1:]):
            raise ValueError("only the first step can be an adopted model")
        if any(step.scored and not step.adopted for step in self.steps):
            raise ValueError("only an adopted model is scored on further corpora")

    @property
    def named_steps(self) -> int:
        return 1 if self.steps[0].adopted or self.steps[0].origin else 0

    def corpora(self, corpus: Layout) -> tuple[Layout, ...]:
        """Those of the steps, each with what else it is scored on."""
        return tuple(
            layout_over(corpus, settings, f"scenario.protocol.steps.{i}.{where}")
            for i, step in enumerate(self.steps)
            for where, settings in [("corpus", step.corpus), *(("scored", scored.corpus) for scored in step.scored)]
        )

    def divide(self, corpora: Sequence[Corpus], order: tuple[str, ...]) -> Iterator[Experience]:
        del order
        inventory, remaining = TypeInventory(), iter(corpora)
        dev: tuple[Split, ...] = ()
        test: tuple[Split, ...] = ()
        for index, step in enumerate(self.steps):
            corpus = next(remaining)
            inventory = inventory.grow(step.types)
            if step.adopted:
                test += (whole(corpus, "test", set(step.types) & set(corpus.types)),) if len(corpus["test"]) else ()
                test += tuple(
                    replace(whole(next(remaining), "test", scored.names.values()), names=scored.names)
                    for scored in step.scored
                )
                yield Experience(index, inventory, whole(corpus, "train", step.types), dev, test, step.adopted)
                continue
            location = f"scenario.protocol.steps.{index}"
            require_types(step.types, corpus, f"{location}.types")
            _require_learned((*step.annotated, *step.partly), inventory, location)
            dev += (whole(corpus, "dev", step.visible),)
            test += (whole(corpus, "test", step.visible),)
            train = replace(whole(corpus, "train", step.visible), open=frozenset(step.partly) & set(step.types))
            yield Experience(index, inventory, train, dev, test)

    def key(self, experiences: Sequence[Experience], index: int, *, joint: bool) -> ListedKey:
        del joint
        fingerprints = tuple(experience.train.corpus.fingerprint for experience in experiences[: index + 1])
        inventory = experiences[index].inventory
        annotated = tuple((step.annotated, step.partly) for step in self.steps[: index + 1])
        return ListedKey(
            corpora=fingerprints,
            types=inventory.types,
            sizes=inventory.sizes,
            annotated=annotated if any(map(any, annotated)) else (),
        )


def _require_learned(types: Sequence[str], inventory: TypeInventory, location: str) -> None:
    """Raise `InputError` for a type that no step so far learns."""
    for kind in types:
        if kind not in inventory.types:
            what = f"no step so far learns {kind!r}"
            raise InputError(what, location=location, hint=suggest(kind, inventory.types))
