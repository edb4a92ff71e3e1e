"""FG-a-PG-b: the training sentences are divided among the steps; `first` types, then `per_step` more each time."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from raycner.data.corpora import Corpus
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.experience import Experience, Rows, Split, whole_dev_and_test
from raycner.data.scenarios.protocol import PROTOCOLS, ScenarioKey, SeededProtocol, in_steps
from raycner.data.scenarios.slices import read_slices
from raycner.errors import InputError
from raycner.hashing import omit_default_from_hash


@dataclass(frozen=True, kw_only=True)
class DealtKey(ScenarioKey):
    """Names a step by how the sentences were divided among all types that the scenario learns."""

    protocol: str
    sampling: str
    split_seed: int


@PROTOCOLS.register("fg_pg")
class FgPg(SeededProtocol):
    """FG-a-PG-b: disjoint slices of the training sentences, each annotated with its own step's types only.

    Dev and test are whole, with all types seen so far annotated. Source: CFNER protocol.
    """

    first: int = 1
    """How many types the first step learns."""
    per_step: int = 1
    """How many types each later step adds; `first` and `per_step` must use up all types."""
    sampling: Literal["greedy", "random", "file"] = "greedy"
    """How sentences are divided into slices: greedy, by their rarest type, as the CFNER family does; at random; or as a
    file lists them."""
    slices: str = omit_default_from_hash("")
    """With sampling=file: a JSON file of one list per step of row ids, the numbers of training sentences from 0. Every
    node reads it; steps are named by the rows themselves."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.sampling == "file") != bool(self.slices):
            raise ValueError("sampling=file and slices=FILE go together")
        if self.first < 1 or self.per_step < 1:
            raise ValueError("first and per_step are at least 1")

    @property
    def joint_label(self) -> str:
        return "joint"

    def experiences(self, corpus: Corpus, types: tuple[str, ...]) -> Iterator[Experience]:
        inventories = in_steps(types, self.first, self.per_step)
        if self.sampling == "file":
            slices = read_slices(self.slices, len(inventories), len(corpus["train"]))
        else:
            slices = SAMPLING[self.sampling](corpus, inventories[-1], self.split_seed)
        for index, inventory in enumerate(inventories):
            train = Split(corpus, "train", slices[index], frozenset(inventory.new))
            yield Experience(index, inventory, train, *whole_dev_and_test(corpus, inventory))

    def key(self, experiences: Sequence[Experience], index: int, *, joint: bool) -> ScenarioKey:
        """Step 0 of the upper bound is step 0 of the protocol."""
        if self.sampling == "file":
            return super().key(experiences, index, joint=joint)
        every = experiences[-1].inventory
        return DealtKey(
            protocol="joint" if joint and index else "fg_pg",
            corpora=(experiences[0].train.corpus.fingerprint,),
            types=every.types,
            sizes=every.sizes,
            sampling=self.sampling,
            split_seed=self.split_seed,
        )


def greedy(corpus: Corpus, inventory: TypeInventory, seed: int) -> list[Rows]:
    """The greedy split of the CFNER protocol: a sentence goes to the slice of its rarest type that has room.

    Quotas are floor(sentences * types of the slice / types). A sentence whose slices are all full, or that has no
    entity, goes to a slice with room, uniformly at random; when none has room it is dropped. The reference draws from
    an unseeded generator; here `seed` decides.
    """
    sentences = corpus["train"]
    frequency = Counter(entity.type for entities in sentences.all_entities() for entity in entities)
    slice_of = {kind: k for k in range(len(inventory.sizes)) for kind in inventory.block(k)}
    rank = {kind: (frequency[kind], i) for i, kind in enumerate(inventory.types)}
    room = _quotas(len(sentences), inventory)
    draw = np.random.RandomState(seed)  # its stream is frozen across numpy's versions; default_rng's is not
    slices = [array("q") for _ in room]
    for row, entities in enumerate(sentences.all_entities()):
        kinds = {entity.type for entity in entities} & rank.keys()
        own = [slice_of[kind] for kind in sorted(kinds, key=rank.__getitem__)]
        chosen = next((k for k in own if room[k]), None)
        if chosen is None:
            open_slices = [k for k, left in enumerate(room) if left]
            if not open_slices:
                continue
            chosen = open_slices[draw.randint(len(open_slices))]
        room[chosen] -= 1
        slices[chosen].append(row)
    return [np.array(rows, dtype=np.int64) for rows in slices]


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
        line = f"{sentences} training sentences are too few to divide among {len(inventory)} types"
        hint = "give more sentences, or name fewer types in scenario.order"
        raise InputError(line, location="scenario.corpus", hint=hint)
    return quotas
