"""A list of steps, each with a corpus of its own: for new types as they arrive in practice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raycner.data.corpora import Corpus
from raycner.data.entities import TypeInventory
from raycner.data.layouts.layout import Layout, layout_over
from raycner.data.scenarios.experience import Experience, Split, whole
from raycner.data.scenarios.protocol import PROTOCOLS, Protocol, ScenarioKey, require_types


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """One entry of the protocol `steps`: types, and the corpus in which they are annotated."""

    types: tuple[str, ...]
    corpus: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the scenario's corpus, such as `{path: data/reviews}` or `{name: jsonl, path: data/x}`."""
    adopted: str = ""
    """The fingerprint of a model that `raycner adopt` made this step, the first one: it is scored on the test part of
    its corpus, and never trained."""

    def __post_init__(self) -> None:
        if not self.types:
            raise ValueError("a step needs at least one type")


@dataclass(frozen=True, kw_only=True)
class ListedKey(ScenarioKey):
    """Names a step by the corpora and types of the list up to it: appending steps renames none of the earlier ones."""

    protocol: str = "steps"
    sampling: str = ""
    split_seed: int = 0


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

    def corpora(self, corpus: Layout) -> tuple[Layout, ...]:
        return tuple(
            layout_over(corpus, step.corpus, f"scenario.protocol.steps.{i}.corpus") for i, step in enumerate(self.steps)
        )

    def divide(self, corpora: Sequence[Corpus], order: tuple[str, ...]) -> Iterator[Experience]:
        del order
        inventory = TypeInventory()
        dev: tuple[Split, ...] = ()
        test: tuple[Split, ...] = ()
        for index, (step, corpus) in enumerate(zip(self.steps, corpora, strict=True)):
            inventory = inventory.grow(step.types)
            if step.adopted:
                test += (whole(corpus, "test", set(step.types) & set(corpus.types)),) if len(corpus["test"]) else ()
                yield Experience(index, inventory, whole(corpus, "train", step.types), dev, test, step.adopted)
                continue
            require_types(step.types, corpus, f"scenario.protocol.steps.{index}.types")
            dev += (whole(corpus, "dev", step.types),)
            test += (whole(corpus, "test", step.types),)
            yield Experience(index, inventory, whole(corpus, "train", step.types), dev, test)

    def key(self, experiences: Sequence[Experience], index: int, *, joint: bool) -> ListedKey:
        del joint
        fingerprints = tuple(experience.train.corpus.fingerprint for experience in experiences[: index + 1])
        inventory = experiences[index].inventory
        return ListedKey(corpora=fingerprints, types=inventory.types, sizes=inventory.sizes)
