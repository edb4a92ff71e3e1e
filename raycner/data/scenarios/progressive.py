"""Progressive NER: one new type arrives with a smaller corpus in which the old types are annotated too.

    step 1    `share` of the training sentences, annotated with all types but `target`
    step 2    the other sentences, annotated with all types; those of step 1 are gone

Dev and test are whole, with all types so far annotated. The published tables report step 1 (Init.), step 2 (Sub.), and
step 2 by a network that never saw step 1 (Rand.: `scratch`). The paper draws another division for each target; here
`split_seed` draws it, the same for all targets.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from raycner.data.corpora import Corpus
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.experience import Experience, Rows, Split, whole_dev_and_test
from raycner.data.scenarios.protocol import PROTOCOLS, SeededProtocol
from raycner.errors import InputError
from raycner.registry import suggest


@PROTOCOLS.register("progressive")
class Progressive(SeededProtocol):
    """All types but the target, then all of them on the rest of the sentences."""

    target: str = ""
    """The type that is learned last."""
    share: float = 0.8
    """The share of the training sentences that the first step sees; the rest is the second step."""
    scratch: bool = False
    """The second step alone, by a network that never saw the first: the baseline of random initialisation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share < 1:
            raise ValueError(f"share {self.share}: above 0 and below 1")

    @property
    def label(self) -> str:
        return "scratch" if self.scratch else self.name

    def experiences(self, corpus: Corpus, types: tuple[str, ...]) -> Iterator[Experience]:
        inventory = TypeInventory().grow(self._others(types))
        total = len(corpus["train"])
        initial = round(self.share * total)
        if not 0 < initial < total:
            line = f"share={self.share} leaves one of the two steps without any of {total} training sentences"
            raise InputError(line, location="scenario.protocol.share", hint="set it nearer to 0.5")
        order = np.random.RandomState(self.split_seed).permutation(total)
        first, second = (
            self._experience(index, inventory if index == 0 else inventory.grow((self.target,)), corpus, np.sort(rows))
            for index, rows in enumerate(np.split(order, [initial]))
        )
        if self.scratch:
            yield replace(second, index=0, inventory=TypeInventory().grow(second.inventory.types))
        else:
            yield from (first, second)

    def _experience(self, index: int, inventory: TypeInventory, corpus: Corpus, rows: Rows) -> Experience:
        train = Split(corpus, "train", rows, frozenset(inventory.types))
        return Experience(index, inventory, train, *whole_dev_and_test(corpus, inventory))

    def _others(self, types: tuple[str, ...]) -> tuple[str, ...]:
        """All types but the target."""
        location = "scenario.protocol.target"
        if self.target not in types:
            line = f"{self.target!r} is none of the types to learn" if self.target else "no type is chosen"
            raise InputError(line, location=location, hint=suggest(self.target, types))
        if len(types) == 1:
            line, hint = f"{self.target!r} is the only type to learn", "name others in scenario.order"
            raise InputError(line, location=location, hint=hint)
        return tuple(kind for kind in types if kind != self.target)
