"""FG-a-PG-b: the training sentences are shared out among the steps; `first` types, then `per_step` more each time."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from raycner.data.corpora import Corpus
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.scenario import (
    Experience,
    Rows,
    Scenario,
    ScenarioConfig,
    ScenarioKey,
    Split,
    both,
    bound,
    learned,
    protocol,
)
from raycner.errors import InputError


@dataclass(frozen=True, kw_only=True)
class DealtKey(ScenarioKey):
    """A step named by how the sentences were dealt out: among all types that the scenario learns."""

    protocol: str
    sampling: str
    split_seed: int


def _key(scenario: Scenario, index: int) -> DealtKey:
    """Step 0 of joint is step 0 of fg_pg."""
    every = scenario[-1].inventory
    return DealtKey(
        protocol=scenario.config.protocol if index else "fg_pg",
        corpora=(scenario.corpora[0].fingerprint,),
        types=every.types,
        sizes=every.sizes,
        sampling=scenario.config.sampling,
        split_seed=scenario.config.split_seed,
    )


@protocol("fg_pg", key=_key)
def fg_pg(config: ScenarioConfig, corpora: Sequence[Corpus]) -> Iterator[Experience]:
    """FG-a-PG-b: disjoint slices of the training sentences, each annotated with its own step's types only.

    Dev and test are whole, with all types seen so far annotated. Source: CFNER protocol.
    """
    (corpus,) = corpora
    inventories = _inventories(config, corpus)
    slices = SAMPLING[config.sampling](corpus, inventories[-1], config.split_seed)
    for index, inventory in enumerate(inventories):
        train = Split(corpus, "train", slices[index], frozenset(inventory.new))
        yield Experience(index, inventory, train, *both(corpus, inventory))


@protocol("joint", key=_key, bounds="fg_pg")
def joint(config: ScenarioConfig, corpora: Sequence[Corpus]) -> Iterator[Experience]:
    """The upper bound of fg_pg."""
    return bound(fg_pg(config, corpora))


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
        hint = "give more sentences, or name fewer types in scenario.order"
        raise InputError(found, location="scenario.source", hint=hint)
    return quotas


def _inventories(config: ScenarioConfig, corpus: Corpus) -> list[TypeInventory]:
    types = learned(config, corpus)
    later, rest = divmod(len(types) - config.first, config.per_step)
    if later < 0 or rest:
        asked = f"first={config.first} and then per_step={config.per_step} do not divide {len(types)} types into steps"
        fitting = [f for f in range(1, len(types) + 1) if (len(types) - f) % config.per_step == 0]
        known = f"{len(types)} types: {', '.join(types)}"
        raise InputError(asked, location="scenario.first", hint=f"with this per_step, first may be {fitting} ({known})")
    grown = [TypeInventory().grow(types[: config.first])]
    for k in range(later):
        start = config.first + k * config.per_step
        grown.append(grown[-1].grow(types[start : start + config.per_step]))
    return grown
