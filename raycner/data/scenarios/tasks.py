"""Tasks: groups of types, learned one after another. The protocols of SpanKL, whose setups are named train-test.

    split     the sentences are shuffled and cut into as many equal parts as there are tasks, the rest to the last;
              each task sees its own part, sentences without its types included
    filter    each task sees every sentence that has an entity of its types, and no other; tasks overlap
    test=all      all test sentences, annotated with every type so far
    test=filter   those that have an entity of a type so far

Dev is divided like the training sentences, and comes in one part per task so far, annotated with that task's types:
`optim.select=new` scores the newest part alone, as published. Which sentences a task sees does not depend on the order
in which tasks are learned. Source: SpanKL's data preparation; published with split_seed=1 and shuffle=python.
"""

import random
import re
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from raycner.data.corpora import Corpus
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.experience import Experience, Rows, Split, whole
from raycner.data.scenarios.protocol import PROTOCOLS, OneCorpusProtocol, SeededProtocol, require_types
from raycner.data.sources import Part
from raycner.errors import InputError

Tasks = Sequence[tuple[str, ...]]
PERMUTATION = re.compile(r"P[1-9]\d{0,5}")
ORDERS = (
    {
        "P1": ("ORG", "PERSON", "GPE", "DATE", "CARDINAL", "NORP"),
        "P2": ("DATE", "NORP", "PERSON", "CARDINAL", "ORG", "GPE"),
        "P3": ("GPE", "CARDINAL", "ORG", "NORP", "DATE", "PERSON"),
        "P4": ("NORP", "ORG", "DATE", "PERSON", "GPE", "CARDINAL"),
        "P5": ("CARDINAL", "GPE", "NORP", "ORG", "PERSON", "DATE"),
        "P6": ("PERSON", "DATE", "CARDINAL", "GPE", "NORP", "ORG"),
    },
    {
        "P1": ("location", "person", "organization", "other", "product", "building", "art", "event"),
        "P2": ("organization", "product", "art", "event", "other", "person", "location", "building"),
        "P3": ("product", "event", "other", "person", "art", "location", "building", "organization"),
        "P4": ("building", "other", "product", "person", "organization", "location", "art", "event"),
    },
)
"""The published orders of OntoNotes5's six types and of Few-NERD's eight coarse ones."""


@dataclass(frozen=True, kw_only=True)
class TaskProtocol(OneCorpusProtocol):
    """A protocol that learns a group of types at each step."""

    tasks: Literal["types", "coarse"] | tuple[tuple[str, ...], ...] = "types"
    """What is learned at each step: types, every type by itself; coarse, all fine types of a coarse one (the part
    before the dash of `person-actor`); or the groups of types listed here. Every type to learn belongs to one task."""
    permutation: str = "P1"
    """The order in which tasks are learned: the published one of that name if the tasks are SpanKL's; of others, P1 is
    the order they are listed in, and P2 and so on are drawn from the number. It does not change what a task sees."""
    test: Literal["all", "filter"] = "all"
    """Which test sentences are scored: all, or those with an entity of a type seen so far."""

    def __post_init__(self) -> None:
        if not PERMUTATION.fullmatch(self.permutation):
            raise ValueError(f"permutation {self.permutation!r}: write P1, P2, P3 or the like")

    @abstractmethod
    def rows(self, corpus: Corpus, part: Part, tasks: Tasks) -> list[Rows]:
        """The sentences of a part that each task sees."""

    def experiences(self, corpus: Corpus, types: tuple[str, ...]) -> Iterator[Experience]:
        tasks = self._tasks(corpus, types)
        train, dev = self.rows(corpus, "train", tasks), self.rows(corpus, "dev", tasks)
        inventory = TypeInventory()
        dev_parts: tuple[Split, ...] = ()
        for index, task in enumerate(_order(self.permutation, tasks)):
            inventory, own = inventory.grow(tasks[task]), frozenset(tasks[task])
            dev_parts += (Split(corpus, "dev", dev[task], own),)
            test = self._test(corpus, inventory)
            yield Experience(index, inventory, Split(corpus, "train", train[task], own), dev_parts, (test,))

    def _test(self, corpus: Corpus, inventory: TypeInventory) -> Split:
        if self.test == "all":
            return whole(corpus, "test", inventory.types)
        return Split(corpus, "test", _having(corpus, "test", inventory.types), frozenset(inventory.types))

    def _tasks(self, corpus: Corpus, types: tuple[str, ...]) -> Tasks:
        """The tasks as they are listed, which decides which part of the sentences each one sees."""
        if self.tasks == "types":
            return [(kind,) for kind in types]
        if self.tasks == "coarse":
            grouped: dict[str, list[str]] = defaultdict(list)
            for kind in types:
                grouped[_coarse(kind)].append(kind)
            return [tuple(fine) for fine in grouped.values()]
        for number, task in enumerate(self.tasks):
            location = f"scenario.protocol.tasks.{number}"
            require_types(task, corpus, location)
            if not task:
                raise InputError("a task without types", location=location, hint="name some or remove it")
        _require_partition(self.tasks, types)
        return self.tasks


def _shuffled_by_python(total: int, seed: int) -> Rows:
    order = list(range(total))
    random.Random(seed).shuffle(order)
    return np.asarray(order, dtype=np.int64)


SHUFFLES: dict[str, Callable[[int, int], Rows]] = {
    "numpy": lambda total, seed: np.random.RandomState(seed).permutation(total),
    "python": _shuffled_by_python,
}


@PROTOCOLS.register("split")
class SplitTasks(TaskProtocol, SeededProtocol):
    """Disjoint equal parts, each annotated with its own task's types only."""

    shuffle: Literal["numpy", "python"] = "numpy"
    """What shuffles the sentences of train and of dev, each from split_seed: numpy's generator, or Python's, as in the
    published code."""

    def __post_init__(self) -> None:
        TaskProtocol.__post_init__(self)
        SeededProtocol.__post_init__(self)

    def rows(self, corpus: Corpus, part: Part, tasks: Tasks) -> list[Rows]:
        total, size = len(corpus[part]), len(corpus[part]) // len(tasks)
        if not size:
            line = f"{total} sentences of {part} are too few to cut into {len(tasks)} parts"
            raise InputError(line, location="scenario.corpus", hint="give more sentences, or fewer tasks")
        order = SHUFFLES[self.shuffle](total, self.split_seed)
        return [np.sort(rows) for rows in np.split(order, range(size, size * len(tasks), size))]


@PROTOCOLS.register("filter")
class FilteredTasks(TaskProtocol):
    """Every sentence with an entity of the task, annotated with the task's types only."""

    def rows(self, corpus: Corpus, part: Part, tasks: Tasks) -> list[Rows]:
        return [_having(corpus, part, task) for task in tasks]


def _having(corpus: Corpus, part: Part, types: Sequence[str]) -> Rows:
    """The sentences of a part that have an entity of one of these types. Raises `InputError` when there is none."""
    rows = corpus[part].having(types)
    if not len(rows):
        line = f"no sentence of {part} has an entity of {', '.join(types)}"
        hint = "join the task with another in scenario.protocol.tasks, or leave its types out of scenario.order"
        raise InputError(line, location="scenario.protocol.tasks", hint=hint)
    return rows


def _require_partition(tasks: Tasks, types: tuple[str, ...]) -> None:
    """Raise `InputError` if the listed tasks are not exactly the types to learn."""
    location = "scenario.protocol.tasks"
    claimed = {kind for task in tasks for kind in task}
    if unclaimed := [kind for kind in types if kind not in claimed]:
        hint = "give each to a task, or list in scenario.order only the types to learn"
        raise InputError(f"no task claims {', '.join(unclaimed)}", location=location, hint=hint)
    if unlearned := sorted(claimed.difference(types)):
        hint = "name them there too, or take them out of the tasks"
        raise InputError(f"{', '.join(unlearned)} not in scenario.order", location=location, hint=hint)


def _order(permutation: str, tasks: Tasks) -> list[int]:
    """The order in which listed tasks are learned."""
    names = [task[0] if len(task) == 1 else _coarse(task[0]) for task in tasks]
    for orders in ORDERS:
        if sorted(names) == sorted(orders["P1"]):
            if permutation not in orders:
                hint = f"of these tasks there are {', '.join(orders)}"
                raise InputError(
                    f"no order is called {permutation!r}", location="scenario.protocol.permutation", hint=hint
                )
            return [names.index(name) for name in orders[permutation]]
    return drawn_order(permutation, len(tasks))


def drawn_order(permutation: str, number: int) -> list[int]:
    """An order of so many tasks or types: P1 as they are listed; P2 and so on drawn from the number."""
    seed = int(permutation[1:])
    drawn: list[int] = np.random.RandomState(seed).permutation(number).tolist()
    return sorted(drawn) if seed == 1 else drawn


def _coarse(kind: str) -> str:
    return kind.partition("-")[0]
