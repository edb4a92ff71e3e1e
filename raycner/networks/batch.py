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


class RememberedStates(NamedTuple):
    """A column of a batch: the states that a memory keeps of words whose text it does not have."""

    words: Tensor
    """[B, T, H]"""
    where: Tensor
    """[B, 1, 1] true for the sentences of the memory: the encoder's states of the others count."""


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on a device. A copy to a GPU is from pinned memory, so the host does not wait for it."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


@dataclass(frozen=True, eq=False)
class Batch:
    """Shapes: B sentences, T words, C tags."""

    positions: Tensor
    """[B] the position of each sentence in its split, in the memory of the host: the key of what is cached there."""
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
    host_mask: Tensor | None = None
    """The mask in the memory of the host, where the batch is on another device."""

    def column(self, kind: type[Column]) -> Column:
        """The column of this type. Raises `KeyError` if the batch has none."""
        column: Column = self.columns[kind]
        return column

    def with_column(self, column: object) -> "Batch":
        """The same batch with a further column, which `column(type(column))` returns."""
        return replace(self, columns={**self.columns, type(column): column})

    @property
    def mask_on_host(self) -> Tensor:
        """[B, T] the mask, which is read without waiting for a device."""
        return self.mask.cpu() if self.host_mask is None or self.mask.is_cpu else self.host_mask

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device. Positions and columns are left where they are."""
        return replace(
            self,
            inputs={name: to_device(tensor, device) for name, tensor in self.inputs.items()},
            mask=to_device(self.mask, device),
            targets=to_device(self.targets, device),
            unknown=None if self.unknown is None else to_device(self.unknown, device),
            companion=self.companion and self.companion.to(device),
            host_mask=self.mask_on_host,
        )

    def masked(self) -> "Batch":
        """The same sentences without targets: the batch of a rank for which a global batch has no sentence."""
        targets = torch.full_like(self.targets, IGNORE)
        return replace(self, targets=targets, companion=self.companion and self.companion.masked())
