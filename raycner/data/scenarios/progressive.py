"""Progressive NER: one new type arrives with a smaller corpus in which the old types are annotated too.

    step 1    `share` of the training sentences, annotated with all types but `target`
    step 2    the other sentences, annotated with all types; those of step 1 are gone

Dev and test are whole, with the types known by then. Reported for the published tables are step 1 (Init.), step 2
(Sub.), and the protocol `scratch` (Rand.): step 2 by a network that never saw step 1. The paper draws another division
for each target; here `split_seed` draws it, the same for all targets.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from raycner.data.corpora import Corpus
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.scenario import Experience, ScenarioConfig, Split, both, bound, learned, protocol
from raycner.errors import InputError
from raycner.registry import suggest


@protocol("progressive")
def progressive(config: ScenarioConfig, corpora: Sequence[Corpus]) -> Iterator[Experience]:
    """All types but the target, then all of them on the rest of the sentences."""
    (corpus,) = corpora
    inventory = TypeInventory().grow(_others(config, corpus))
    total = len(corpus["train"])
    initial = round(config.share * total)
    if not 0 < initial < total:
        found = f"share={config.share} leaves one of the two steps without any of {total} training sentences"
        raise InputError(found, location="scenario.share", hint="set it nearer to 0.5")
    drawn = np.random.RandomState(config.split_seed).permutation(total)
    for index, rows in enumerate(np.split(drawn, [initial])):
        inventory = inventory.grow((config.target,)) if index else inventory
        train = Split(corpus, "train", np.sort(rows), frozenset(inventory.types))
        yield Experience(index, inventory, train, *both(corpus, inventory))


@protocol("joint_progressive", bounds="progressive")
def joint_progressive(config: ScenarioConfig, corpora: Sequence[Corpus]) -> Iterator[Experience]:
    """The upper bound of progressive: the second step has all sentences, all types annotated."""
    return bound(progressive(config, corpora))


@protocol("scratch")
def scratch(config: ScenarioConfig, corpora: Sequence[Corpus]) -> Iterator[Experience]:
    """The random-initialisation baseline: the second step of progressive, and nothing before it."""
    _, second = progressive(config, corpora)
    yield replace(second, index=0, inventory=TypeInventory().grow(second.inventory.types))


def _others(config: ScenarioConfig, corpus: Corpus) -> tuple[str, ...]:
    types = learned(config, corpus)
    if config.target not in types:
        what = f"{config.target!r} is none of the types that are learned" if config.target else "no type is chosen"
        raise InputError(what, location="scenario.target", hint=suggest(config.target, types))
    if len(types) == 1:
        what, hint = f"{config.target!r} is the only type that is learned", "name others in scenario.order"
        raise InputError(what, location="scenario.target", hint=hint)
    return tuple(kind for kind in types if kind != config.target)
