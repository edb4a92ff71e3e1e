"""One batch of sentences, seen alike by student and teacher."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from raycner.networks.losses import IGNORE


@dataclass(frozen=True, eq=False)
class Batch:
    """Shapes: B sentences, T words, C tags."""

    positions: Tensor
    """[B] where each sentence stands in its split: the key of what was computed once for the whole split."""
    inputs: Mapping[str, Tensor]
    """What the encoder reads; its own business."""
    mask: Tensor
    """[B, T] true where there is a word that the encoder has a state for."""
    targets: Tensor
    """What the head is to say ([B, T] tag ids for tag heads); IGNORE where no loss may look."""
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    """What a method's `collate` added for its `losses`."""
    beside: tuple["Batch", ...] = ()
    """Other sentences of the split that a method wants looked at along with these."""
    epoch: int = 0
    """How many epochs of the step are over: what a curriculum goes by."""

    def to(self, device: torch.device) -> "Batch":
        def there(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}

        return Batch(
            **there({"positions": self.positions, "mask": self.mask, "targets": self.targets}),
            inputs=there(self.inputs),
            columns=there(self.columns),
            beside=tuple(batch.to(device) for batch in self.beside),
            epoch=self.epoch,
        )

    def masked(self) -> "Batch":
        """The same sentences with nothing to learn: what a rank works on when a batch has no sentence left for it."""
        return replace(self, targets=torch.full_like(self.targets, IGNORE))
