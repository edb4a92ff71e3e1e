"""Method: how a network resists forgetting, and the typed roles (student, teacher, loader) that a method works with.

A method is a frozen value whose fields are its hyper-parameters. It owns no tensor, no loop and no optimiser.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from raycner.data.entities import TypeInventory
from raycner.data.scenarios.scenario import Split
from raycner.networks.batch import Batch
from raycner.networks.class_statistics import ClassStatistics
from raycner.networks.heads.head import Head, Output, Prediction
from raycner.networks.losses import LossSum
from raycner.registry import Registry

T = TypeVar("T")
Output_co = TypeVar("Output_co", covariant=True)
TeacherOutputs = Mapping[str, Callable[[Output], Tensor]]
"""Tensors computed from a head's output, by name: [B, P, ...], P the places of `Head.output_mask`."""
METHODS = Registry("method", group="raycner.methods")


class Student(Protocol[Output]):
    """The network in training. Composed methods share one forward pass: it keeps the output of the batch."""

    @property
    def head(self) -> Head[Output]: ...

    @property
    def inventory(self) -> TypeInventory: ...

    @property
    def statistics(self) -> ClassStatistics:
        """What is stored of the words of earlier steps' tags."""

    def __call__(self, batch: Batch) -> Output: ...

    def forward_eval(self, batch: Batch) -> Output:
        """The output in eval mode and without gradient. It is not kept."""


class Teacher(Protocol[Output_co]):
    """The network at the end of the previous step, frozen.

    What the method lists in `teacher_outputs` is computed once per step and read from a cache. Any other attribute of
    the output costs a forward pass; the values are the same. A head whose output depends on the batch has no cache.
    """

    @property
    def inventory(self) -> TypeInventory: ...

    @property
    def device(self) -> torch.device: ...

    def __call__(self, batch: Batch) -> Output_co:
        """The output for a batch, without gradient."""

    def recall(self, name: str, batch: Batch) -> Tensor:
        """The entry `name` of the method's `teacher_outputs` for a batch. Raises `KeyError` if there is none."""

    def predictions(self, split: Split) -> Sequence[Prediction]:
        """The entities predicted in each sentence of a split. All ranks share the work and return the same."""

    def survey(self, split: Split, look: Callable[[Batch, Output_co], T]) -> Sequence[T]:
        """`look(batch, output)` for each batch of a split. All ranks share the work and return the same."""


class StudentLoader(Protocol[Output_co]):
    """The training split of the step, tokenised for the student. Every rank can read every sentence."""

    @property
    def split(self) -> Split: ...

    @property
    def lengths(self) -> Any:
        """[sentences] the number of slots of each sentence."""

    @property
    def words(self) -> Any:
        """[sentences] the number of words of each sentence."""

    def batch(self, positions: Sequence[int] | Any) -> Batch:
        """One batch of the sentences at these positions."""

    def batches_of(self, positions: Any) -> Iterable[tuple[Any, Batch]]:
        """The sentences at these positions in evaluation batches, grouped by length."""

    def survey(self, look: Callable[[Batch, Output_co], T]) -> Iterable[T]:
        """`look(batch, output)` for each batch, by the student. All ranks share the work and return the same."""


class Method(ABC, Generic[Output]):
    """How a network resists forgetting. `Output` is the output type of the heads that it trains.

    Per step: `annotate`, then the teacher's outputs are cached; per epoch: `on_epoch_start`; per batch: `collate` and
    `losses`.
    """

    family: ClassVar[Registry] = METHODS
    name: ClassVar[str]
    heads: ClassVar[tuple[type[Head[Any]], ...]] = (Head,)
    """The heads that it can train."""
    learns_labels_alone: ClassVar[bool] = False
    """Whether all it learns are the labels of its split, pseudo-labels included, by the head's own loss."""

    @classmethod
    def trains(cls, head: type[Head[Any]]) -> bool:
        """Whether it can train a head."""
        return issubclass(head, cls.heads) and (cls.learns_labels_alone or not head.is_solved)

    @property
    def first(self) -> "Method[Any]":
        """The method of step 0, which has no teacher. It is the same for all methods, so that they share that step."""
        first: Method[Any] = METHODS["finetuning"]()
        return first

    @property
    def label(self) -> str:
        """The name in tables."""
        return self.name

    @property
    def teacher_outputs(self) -> TeacherOutputs[Output]:
        """What `losses` reads of the teacher, by name. Each is computed once per step, for every sentence.

        A name that is also an attribute of the output replaces it in `teacher(batch)`.
        """
        return {}

    @property
    def reads_layers(self) -> bool:
        """Whether `losses` reads the states of the encoder's layers, or of its slots."""
        return False

    @property
    def batch_dependent(self) -> bool:
        """Whether the loss of a word depends on the other sentences of its batch."""
        return False

    @property
    def needs_trained_encoder(self) -> bool:
        """Whether what `losses` adds acts on the encoder alone, so that nothing is left of it where that is frozen."""
        return False

    @property
    def needs_kept_logits(self) -> bool:
        """Whether `losses` reads the logits that a memory keeps."""
        return False

    @property
    def needs_prototypes(self) -> bool:
        """Whether `losses` reads the prototypes of old tags.

        Every step of the run then stores those of its tags, the first one too, which is another step than without.
        """
        return False

    @property
    def learns_partly(self) -> bool:
        """Whether `losses` leaves the tags in `batch.unknown` alone on words without annotation."""
        return False

    @property
    def types(self) -> Collection[str]:
        """The entity types named in its settings. Each must be a type that the run learns."""
        return ()

    def annotate(self, split: Split, teacher: Teacher[Output]) -> Split:  # noqa: ARG002
        """The training split with pseudo-labels or columns added. Called once per step."""
        return split

    def on_epoch_start(self, loader: StudentLoader[Output]) -> Split:
        """The training split with the columns that depend on the student. Called before each epoch."""
        return loader.split

    def collate(self, loader: StudentLoader[Output], positions: Sequence[int]) -> Batch:
        """The batch of the sentences at these positions, with the columns that `losses` reads."""
        return loader.batch(positions)

    @abstractmethod
    def losses(self, student: Student[Output], teacher: Teacher[Output], batch: Batch) -> dict[str, LossSum]:
        """The loss terms of a batch. Their names depend on the method and the step, never on the batch."""


def balance(inventory: TypeInventory) -> float:
    """sqrt(n_old / n_new): distillation weighs more as the old types increase. Source: the adaptive weight of CFNER."""
    return math.sqrt(inventory.num_old / len(inventory.new))


def tag_balance(num_old: int, num_tags: int) -> float:
    """sqrt(C_old / (C - C_old)): `balance` counted in tags, with O among the old. Source: LUCIR, PODNet."""
    return math.sqrt(num_old / (num_tags - num_old))
