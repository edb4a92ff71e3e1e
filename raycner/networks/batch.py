"""One batch of sentences, seen alike by student and teacher."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

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

    def to(self, device: torch.device) -> "Batch":
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()}
        kept = {name: getattr(self, name).to(device, non_blocking=True) for name in ("positions", "mask", "targets")}
        return Batch(inputs=moved, **kept)

    def silenced(self) -> "Batch":
        """The same sentences with nothing to learn: what a rank works on when a batch has no sentence left for it."""
        return replace(self, targets=torch.full_like(self.targets, IGNORE))
