"""A list of steps, each with a source of its own: for new types as they really arrive."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from raycner.data.corpora import Corpus
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.scenario import (
    Experience,
    Scenario,
    ScenarioConfig,
    ScenarioKey,
    Split,
    known,
    protocol,
    whole,
)


@dataclass(frozen=True, kw_only=True)
class ListedKey(ScenarioKey):
    """A step named by the corpora and the types of the list up to it: a longer list keeps its past."""

    protocol: str = "steps"
    sampling: str = ""
    split_seed: int = 0


def _key(scenario: Scenario, index: int) -> ListedKey:
    fingerprints = tuple(corpus.fingerprint for corpus in scenario.corpora[: index + 1])
    inventory = scenario[index].inventory
    return ListedKey(corpora=fingerprints, types=inventory.types, sizes=inventory.sizes)


@protocol("steps", key=_key)
def steps(config: ScenarioConfig, corpora: Sequence[Corpus]) -> Iterator[Experience]:
    """A list of steps, each with its own corpus and the types annotated there; scored on every corpus so far."""
    inventory = TypeInventory()
    dev: tuple[Split, ...] = ()
    test: tuple[Split, ...] = ()
    for index, (step, corpus) in enumerate(zip(config.steps, corpora, strict=True)):
        known(step.types, corpus, f"scenario.steps.{index}.types")
        inventory = inventory.grow(step.types)
        dev += (whole(corpus, "dev", step.types),)
        test += (whole(corpus, "test", step.types),)
        yield Experience(index, inventory, whole(corpus, "train", step.types), dev, test)
