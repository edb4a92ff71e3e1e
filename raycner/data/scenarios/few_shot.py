"""Few-shot steps: many sentences for the first types, and a few for each type that comes later.

    step 1     `base_share` of the training sentences, annotated with the first types
    step t     of the other sentences, `shots` with an entity of each new type, annotated with the new types

The sentences of the first step do not depend on `shots` and `draw`, so all of these share that step. Later steps draw
one after another, and no sentence twice; a sentence may count for several new types of its step. Few sentences vary
much: report several draws (`raycner compare --orders P1,P2,P3` makes draws 1, 2 and 3). Dev and test are whole, with
all types so far annotated; whoever has a few sentences has no dev, so use `optim.select: last` with it.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from raycner.data.corpora import Corpus
from raycner.data.scenarios.experience import Experience, Rows, Split, whole_dev_and_test
from raycner.data.scenarios.protocol import PROTOCOLS, SeededProtocol, in_steps
from raycner.errors import InputError


@PROTOCOLS.register("few_shot")
class FewShot(SeededProtocol):
    """A large first step, then a few sentences for each new type."""

    first: int = 1
    """How many types the first step learns."""
    per_step: int = 1
    """How many types each later step adds; `first` and `per_step` must use up all types."""
    shots: int = 5
    """K: how many sentences with an entity of each new type a later step sees, as far as there are any. Usual: 5, 20,
    50."""
    draw: int = 1
    """Which draw of these sentences, from 1."""
    base_share: float = 0.5
    """The share of the training sentences that the first step sees; later steps draw from the others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.first, self.per_step, self.shots, self.draw) < 1:
            raise ValueError("first, per_step, shots and draw are at least 1")
        if self.draw >= 2**32:
            raise ValueError(f"draw {self.draw}: below 2**32")
        if not 0 < self.base_share < 1:
            raise ValueError(f"base_share {self.base_share}: above 0 and below 1")

    @property
    def label(self) -> str:
        return f"{self.name}{self.shots}"

    def experiences(self, corpus: Corpus, types: tuple[str, ...]) -> Iterator[Experience]:
        inventories = in_steps(types, self.first, self.per_step)
        base, others = self._base_and_others(corpus)
        shuffled = np.random.RandomState(self.draw).permutation(others)
        for index, inventory in enumerate(inventories):
            rows = base if index == 0 else self._drawn(corpus, shuffled, inventory.new)
            shuffled = shuffled[~np.isin(shuffled, rows)]
            train = Split(corpus, "train", np.sort(rows), frozenset(inventory.new))
            yield Experience(index, inventory, train, *whole_dev_and_test(corpus, inventory))

    def notes(self, experiences: Sequence[Experience]) -> tuple[str, ...]:
        """The new types of which there are fewer sentences than shots."""
        return tuple(
            f"step {experience.index + 1} has {number} of {self.shots} sentences with {kind}"
            for experience in experiences[1:]
            for kind in experience.inventory.new
            if (number := _number(experience.train, kind)) < self.shots
        )

    def _base_and_others(self, corpus: Corpus) -> tuple[Rows, Rows]:
        """The sentences of the first step, and those from which later steps draw."""
        total = len(corpus["train"])
        size = round(self.base_share * total)
        if not 0 < size < total:
            line = f"base_share={self.base_share} of {total} training sentences leaves none for the first step or later"
            raise InputError(line, location="scenario.protocol.base_share", hint="set it nearer to 0.5")
        order = np.random.RandomState(self.split_seed).permutation(total)
        return order[:size], order[size:]

    def _drawn(self, corpus: Corpus, shuffled: Rows, new: Sequence[str]) -> Rows:
        """The first sentences of each new type, as many as there are shots. Raises `InputError` where there is none."""
        drawn: set[int] = set()
        for kind in new:
            having = shuffled[np.isin(shuffled, corpus["train"].having([kind]))]
            if not len(having):
                line = f"no sentence with an entity of {kind!r} is left to draw"
                hint = "learn it in the first step, lower base_share or shots, or leave it out of scenario.order"
                raise InputError(line, location="scenario.protocol", hint=hint)
            drawn.update(having[: self.shots].tolist())
        return np.array(sorted(drawn), dtype=np.int64)


def _number(split: Split, kind: str) -> int:
    """How many sentences of a split have an entity of a type."""
    return int(np.isin(split.rows, split.corpus[split.part].having([kind])).sum())
