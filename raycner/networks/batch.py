"""One batch of sentences, read by student and teacher alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from raycner.networks.losses import IGNORE

Column = TypeVar("Column")


class WordStates(NamedTuple):
    """A column of a batch: the states of its words, computed once as long as the encoder is frozen."""

    words: Tensor
    """[B, T, H]"""


@dataclass(frozen=True, eq=False)
class Batch:
    """Shapes: B sentences, T words, C tags."""

    positions: Tensor
    """[B] the position of each sentence in its split: the key of what is cached per sentence."""
    inputs: Mapping[str, Tensor]
    """The encoder's own inputs."""
    mask: Tensor
    """[B, T] true where a word has a state of the encoder."""
    targets: Tensor
    """The head's targets ([B, T] tag ids for tag heads); IGNORE where no loss applies."""
    columns: Mapping[type[Any], Any] = field(default_factory=dict)
    """What a method's `collate` added for its `losses`, by type, on the device of the batch."""
    epoch: int = 0
    """The number of finished epochs of the step."""
    unknown: Tensor | None = None
    """[B, C] the tags that words outside every annotation may have, as only some of their entities are annotated; None
    where no sentence has such."""
    companion: "Batch | None" = None
    """Sentences of `Split.companions` that a method reads next to these."""

    def column(self, kind: type[Column]) -> Column:
        """The column of this type. Raises `KeyError` if the batch has none."""
        column: Column = self.columns[kind]
        return column

    def with_column(self, column: object) -> "Batch":
        """The same batch with a further column, which `column(type(column))` returns."""
        return replace(self, columns={**self.columns, type(column): column})

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device. Columns are left where they are."""
        return replace(
            self,
            positions=self.positions.to(device, non_blocking=True),
            inputs={name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()},
            mask=self.mask.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            unknown=None if self.unknown is None else self.unknown.to(device, non_blocking=True),
            companion=self.companion and self.companion.to(device),
        )

    def masked(self) -> "Batch":
        """The same sentences without targets: the batch of a rank for which a global batch has no sentence."""
        targets = torch.full_like(self.targets, IGNORE)
        return replace(self, targets=targets, companion=self.companion and self.companion.masked())
