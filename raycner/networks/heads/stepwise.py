"""Stepwise head: every step brings a block of tags of its own, with an O of its own; the output is the blocks in a row.

    z = W f + b,  p_k = softmax(z over the columns of block k)

A block knows nothing of the others, so a new one takes no mass from what was learned before; which of them is believed
is settled when entities are read. Source: AddNER (AAAI 2021), and its form in the SpanKL code.
Shapes: B sentences, T words, C columns over all blocks, K blocks, H width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from raycner.data.entities import OUTSIDE, TypeInventory
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.head import HEADS, HeadConfig, Prediction
from raycner.networks.heads.tags import O, TagRows, drawn
from raycner.networks.losses import IGNORE, LossSum


@dataclass(frozen=True, eq=False)
class StepwiseOutput:
    """What a stepwise head says."""

    logits: Tensor
    """[B, T, C] the blocks one after the other, oldest first: a teacher's are the student's first ones."""
    blocks: tuple[slice, ...]
    """The columns of each block."""


class StepwiseHead(TagRows[StepwiseOutput]):
    """One block of BIO tags per step. A target is the column of a word's tag; 0 says O, in every block.

    Only the newest block is supervised: what it does not know is O to it. So labels of old types teach nothing here
    (`self_training` and the protocol `joint` are no more than finetuning), and old blocks are for a method to hold.
    """

    def __init__(self, width: int, config: "Stepwise") -> None:
        self._std = config.init_std
        super().__init__(width, "BIO")

    def columns(self, inventory: TypeInventory) -> list[str]:
        blocks = map(inventory.block, range(len(inventory.sizes)))
        named = [[OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in self.prefixes)] for types in blocks]
        return [tag for block in named for tag in block]

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The columns of each step's block."""
        sizes = (1 + len(self.prefixes) * types for types in self.inventory.sizes)
        return tuple(slice(*ends) for ends in pairwise(accumulate(sizes, initial=0)))

    def draw(self, count: int) -> Tensor:
        return drawn(count, self.width, self._std)

    def forward(self, states: States, batch: Batch) -> StepwiseOutput:  # noqa: ARG002
        weight = self.weight
        return StepwiseOutput(F.linear(states.words, weight[:, :-1], weight[:, -1]), self.blocks)

    def loss(self, output: StepwiseOutput, batch: Batch) -> LossSum:
        newest = output.blocks[-1]
        targets = batch.targets.clamp(min=newest.start) - newest.start
        return losses.cross_entropy(output.logits[..., newest], targets, where=batch.targets != IGNORE)

    def predict(self, states: States, batch: Batch, *, new_type_bias: float = 0.0) -> list[Prediction]:  # noqa: ARG002
        said = self.forward(states, batch)
        tags, confidence = merge([said.logits[..., block].softmax(-1) for block in said.blocks])
        tags = tags.where(batch.mask, O)
        return [self._read(t, c) for t, c in zip(tags.tolist(), confidence.tolist(), strict=True)]

    def class_means(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        seen_by_newest = batch.targets.clamp(min=self.num_old).where(batch.targets != IGNORE, IGNORE)
        return super().class_means(states, replace(batch, targets=seen_by_newest))


def merge(blocks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """One tag per word from what every block says of it, from left to right.

    An I that continues the entity of the word before comes first; then, of all B, the surest; else O. At most one block
    can continue, since a type is in one block only. Shapes: [B, T, 1 + 2 types] probabilities per block
    -> columns [B, T], confidences [B, T].
    """
    sure, best = (torch.stack(said, dim=-1) for said in zip(*(block.max(-1) for block in blocks), strict=True))
    starts = torch.tensor([0, *accumulate(block.size(-1) for block in blocks[:-1])], device=best.device)
    columns, begins, inside = best + starts, best % 2 == 1, (best > 0) & (best % 2 == 0)  # [B, T, K]
    merged, confidence = [], []
    before = torch.zeros_like(columns[:, 0, 0])
    for t in range(columns.size(1)):
        continues = inside[:, t] & ((columns[:, t] == before[:, None]) | (columns[:, t] - 1 == before[:, None]))
        claim, block = (begins[:, t] * sure[:, t] + 2 * continues).max(-1, keepdim=True)
        before = columns[:, t].gather(-1, block)[:, 0].where(claim[:, 0] > 0, O)
        merged.append(before)
        confidence.append(sure[:, t].gather(-1, block)[:, 0])
    return torch.stack(merged, dim=1), torch.stack(confidence, dim=1)


@HEADS.register("stepwise")
class Stepwise(HeadConfig):
    """A block of tags per step, each with its own O: the head of AddNER. Always BIO: blocks merge by their B and I."""

    module: ClassVar[type[StepwiseHead]] = StepwiseHead
    init_std: float = 0.01
    """New rows are drawn from N(0, init_std), with zero bias."""

    def build(self, width: int) -> StepwiseHead:
        return StepwiseHead(width, self)
