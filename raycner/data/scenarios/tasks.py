"""Tasks: groups of types, learned one after another. The protocols of SpanKL, whose setups are named train-test.

    split     the sentences are shuffled and cut into as many equal parts as there are tasks, the rest to the last;
              each task sees its own part, sentences without its types included
    filter    each task sees every sentence that has an entity of its types, and no other; tasks overlap
    test=all      all test sentences, annotated with every type so far
    test=filter   those that have an entity of a type so far

Dev is shared out as the training sentences are, and comes in one part per task so far, annotated with that task's
types: `optim.select=new` looks at the newest part alone, as published. Which sentences a task sees does not depend on
the order in which tasks are learned. Source: SpanKL's data preparation; published with split_seed=1.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from raycner.data.corpora import Corpus, Part
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.scenario import (
    Experience,
    Rows,
    ScenarioConfig,
    Split,
    bound,
    known,
    learned,
    protocol,
    whole,
)
from raycner.errors import InputError

Tasks = Sequence[tuple[str, ...]]
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


@protocol("split")
def split(config: ScenarioConfig, corpora: Sequence[Corpus]) -> Iterator[Experience]:
    """Disjoint equal parts, each annotated with its own task's types only."""
    return _lay(config, corpora, _cut)


@protocol("filter")
def filtered(config: ScenarioConfig, corpora: Sequence[Corpus]) -> Iterator[Experience]:
    """Every sentence with an entity of the task, annotated with the task's types only."""
    return _lay(config, corpora, _filtered)


@protocol("joint_split", bounds="split")
def joint_split(config: ScenarioConfig, corpora: Sequence[Corpus]) -> Iterator[Experience]:
    """The upper bound of split: SpanKL's Non-CL."""
    return bound(split(config, corpora))


@protocol("joint_filter", bounds="filter")
def joint_filter(config: ScenarioConfig, corpora: Sequence[Corpus]) -> Iterator[Experience]:
    """The upper bound of filter."""
    return bound(filtered(config, corpora))


def _lay(
    config: ScenarioConfig,
    corpora: Sequence[Corpus],
    share: Callable[[ScenarioConfig, Corpus, Part, Tasks], list[Rows]],
) -> Iterator[Experience]:
    (corpus,) = corpora
    tasks = _tasks(config, corpus)
    train, dev = share(config, corpus, "train", tasks), share(config, corpus, "dev", tasks)
    inventory = TypeInventory()
    looked_at: tuple[Split, ...] = ()
    for index, task in enumerate(_order(config.permutation, tasks)):
        inventory, own = inventory.grow(tasks[task]), frozenset(tasks[task])
        looked_at += (Split(corpus, "dev", dev[task], own),)
        test = _test(config, corpus, inventory)
        yield Experience(index, inventory, Split(corpus, "train", train[task], own), looked_at, (test,))


def _cut(config: ScenarioConfig, corpus: Corpus, part: Part, tasks: Tasks) -> list[Rows]:
    total, room = len(corpus[part]), len(corpus[part]) // len(tasks)
    if not room:
        found = f"{total} sentences of {part} are too few to cut into {len(tasks)} parts"
        raise InputError(found, location="scenario.source", hint="give more sentences, or fewer tasks")
    order = np.random.RandomState(config.split_seed).permutation(total)
    return [np.sort(rows) for rows in np.split(order, range(room, room * len(tasks), room))]


def _filtered(_: ScenarioConfig, corpus: Corpus, part: Part, tasks: Tasks) -> list[Rows]:
    return [_with(corpus, part, task) for task in tasks]


def _test(config: ScenarioConfig, corpus: Corpus, inventory: TypeInventory) -> Split:
    if config.test == "all":
        return whole(corpus, "test", inventory.types)
    return Split(corpus, "test", _with(corpus, "test", inventory.types), frozenset(inventory.types))


def _with(corpus: Corpus, part: Part, types: Sequence[str]) -> Rows:
    """The sentences of a part that have an entity of one of these types; refused when there is none."""
    rows = corpus[part].having(types)
    if not len(rows):
        found = f"no sentence of {part} has an entity of {', '.join(types)}"
        hint = "join the task with another in scenario.tasks, or leave its types out of scenario.order"
        raise InputError(found, location="scenario.tasks", hint=hint)
    return rows


def _tasks(config: ScenarioConfig, corpus: Corpus) -> Tasks:
    """The tasks as they are listed, which decides whose part of the sentences is whose."""
    types = learned(config, corpus)
    if config.tasks == "types":
        return [(kind,) for kind in types]
    if config.tasks == "coarse":
        grouped: dict[str, list[str]] = defaultdict(list)
        for kind in types:
            grouped[_coarse(kind)].append(kind)
        return [tuple(fine) for fine in grouped.values()]
    for number, task in enumerate(config.tasks):
        known(task, corpus, f"scenario.tasks.{number}")
        if not task:
            raise InputError("a task without types", location=f"scenario.tasks.{number}", hint="name some or remove it")
    claimed = {kind for task in config.tasks for kind in task}
    if unclaimed := [kind for kind in types if kind not in claimed]:
        found, hint = f"no task claims {', '.join(unclaimed)}", "give each to a task, or list in scenario.order"
        raise InputError(found, location="scenario.tasks", hint=f"{hint} only the types that are to be learned")
    if unlearned := sorted(claimed.difference(types)):
        hint = "name them there too, or take them out of the tasks"
        raise InputError(f"{', '.join(unlearned)} not in scenario.order", location="scenario.tasks", hint=hint)
    return config.tasks


def _order(permutation: str, tasks: Tasks) -> list[int]:
    """The order in which listed tasks are learned."""
    names = [task[0] if len(task) == 1 else _coarse(task[0]) for task in tasks]
    for orders in ORDERS:
        if sorted(names) == sorted(orders["P1"]):
            if permutation not in orders:
                hint = f"of these tasks there are {', '.join(orders)}"
                raise InputError(f"no order is called {permutation!r}", location="scenario.permutation", hint=hint)
            return [names.index(name) for name in orders[permutation]]
    number = int(permutation[1:])
    drawn: list[int] = np.random.RandomState(number).permutation(len(tasks)).tolist()
    return sorted(drawn) if number == 1 else drawn


def _coarse(kind: str) -> str:
    return kind.partition("-")[0]
