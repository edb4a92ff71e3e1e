"""Methods: how forgetting is resisted. One file a method; dropping a file here registers it.

A method is a frozen value whose fields are its hyper-parameters; it owns no tensor, no loop and no optimiser.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

import torch

from raycner.data.entities import TypeInventory
from raycner.data.scenarios.scenario import Split
from raycner.networks.batch import Batch
from raycner.networks.heads.head import Head, Prediction
from raycner.networks.losses import LossSum
from raycner.registry import Registry

T = TypeVar("T")
METHODS = Registry("method")


class Student(Protocol):
    """The network in training. Its answer to a batch is remembered for one forward, so composed methods share it."""

    @property
    def head(self) -> Head[Any]: ...

    @property
    def inventory(self) -> TypeInventory: ...

    def __call__(self, batch: Batch) -> Any: ...

    def forward_eval(self, batch: Batch) -> Any:
        """The answer in eval mode and without gradient, not remembered."""


class SplitLoader(Protocol):
    """The step's training split, made ready for the student: any rank can read any sentence of it."""

    @property
    def split(self) -> Split: ...

    @property
    def lengths(self) -> Any:
        """[sentences] slots of each sentence."""

    @property
    def words(self) -> Any:
        """[sentences] words of each sentence."""

    def batch(self, positions: Sequence[int] | Any) -> Batch: ...

    def batches_of(self, positions: Any) -> Iterable[tuple[Any, Batch]]:
        """These sentences in batches for what keeps no gradient, like lengths together."""

    def survey(self, look: Callable[[Batch, Any], T]) -> Iterable[T]:
        """What `look` keeps of each batch and the student's answer to it: one pass, shared among the ranks."""


class Teacher(Protocol):
    """The network as it stood when the previous step ended; whether it answers live or from a column does not show."""

    @property
    def inventory(self) -> TypeInventory: ...

    def __call__(self, batch: Batch) -> Any: ...

    @property
    def device(self) -> torch.device: ...

    def predictions(self, split: Split) -> Sequence[Prediction]: ...

    def survey(self, split: Split, look: Callable[[Batch, Any], T]) -> Sequence[T]:
        """What `look` keeps of each batch of a split and the answer to it: one pass, shared among the ranks."""


class Method(ABC):
    """How forgetting is resisted: annotation and losses."""

    family: ClassVar[Registry] = METHODS
    name: ClassVar[str]
    heads: ClassVar[tuple[type[Head[Any]], ...]] = (Head,)
    """Which output spaces it can train."""

    @property
    def first(self) -> "Method":
        """What trains step 0, where there is no past: one value for all methods, so all share that step."""
        first: Method = METHODS["finetuning"]()
        return first

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.name

    @property
    def teacher_outputs(self) -> tuple[str, ...]:
        """The fields of the teacher's output that `losses` reads: computed once per step, for every sentence."""
        return ()

    @property
    def types(self) -> Collection[str]:
        """The types that its settings name: each must be one that the run learns."""
        return ()

    def annotate(self, split: Split, teacher: Teacher) -> Split:  # noqa: ARG002
        """Add columns to the step's training split, once per step."""
        return split

    def on_epoch_start(self, feed: SplitLoader) -> Split:
        """The training split with the columns that follow the student: asked for before every epoch."""
        return feed.split

    def collate(self, feed: SplitLoader, positions: Sequence[int]) -> Batch:
        """The batch of these sentences, with whatever `losses` will want to look at beside it."""
        return feed.batch(positions)

    @abstractmethod
    def losses(self, student: Student, teacher: Teacher, batch: Batch) -> dict[str, LossSum]:
        """The step's loss terms. Their names depend on the method and the step, never on the batch."""


def balance(inventory: TypeInventory) -> float:
    """sqrt(n_old / n_new): distillation weighs more as the past grows. Source: the adaptive weight of CFNER."""
    return math.sqrt(inventory.num_old / len(inventory.new))


def num_old_tags(inventory: TypeInventory, num_tags: int) -> int:
    """How many of a tag head's C tags the steps before had: O, and the old types' share of the rest."""
    return 1 + (num_tags - 1) * inventory.num_old // len(inventory)


def tag_balance(num_old: int, num_tags: int) -> float:
    """sqrt(C_old / (C - C_old)), `balance` counted in tags, O among the old. Source: LUCIR, PODNet."""
    return math.sqrt(num_old / (num_tags - num_old))
