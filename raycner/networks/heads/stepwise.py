"""Stepwise head: each step adds a block of tags with an O of its own; the output is the concatenation of the blocks.

    z = W f + b,  p_k = softmax(z over the columns of block k)

The blocks are independent, so a new one takes no probability from older ones; they are merged when entities are
decoded. Source: AddNER (AAAI 2021), and its form in the SpanKL code.
Shapes: B sentences, T words, C columns over all blocks, K blocks, H width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from raycner.data.entities import OUTSIDE, TypeInventory
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.decoding import decode
from raycner.networks.heads.growing_rows import linear_rows
from raycner.networks.heads.head import HEADS, HeadConfig, Prediction
from raycner.networks.heads.tag_head import TagRows
from raycner.networks.heads.tag_set import O, TagSet
from raycner.networks.losses import IGNORE, LossSum


@dataclass(frozen=True, eq=False)
class StepwiseOutput:
    """The output of a stepwise head."""

    logits: Tensor
    """[B, T, C] the blocks, oldest first: the teacher's are the first ones of the student's."""
    blocks: tuple[slice, ...]
    """The columns of each block."""


class BlockTagSet(TagSet):
    """BIO tags in a block per step: O, then the tags of the step's types."""

    @cached_property
    def tags(self) -> tuple[str, ...]:
        blocks = [self.inventory.block(step) for step in range(len(self.inventory.sizes))]
        named = [(OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in self.prefixes)) for types in blocks]
        return tuple(tag for block in named for tag in block)

    @cached_property
    def of_blocks(self) -> tuple[TagSet, ...]:
        """The tags of each step's block as a tag set of its own."""
        steps = range(len(self.inventory.sizes))
        return tuple(TagSet(TypeInventory().grow(self.inventory.block(step)), self.scheme) for step in steps)

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The columns of each step's block."""
        return tuple(slice(*ends) for ends in pairwise(accumulate(map(len, self.of_blocks), initial=0)))


class StepwiseHead(TagRows[StepwiseOutput]):
    """One block of BIO tags per step. A target is the column of a word's tag; 0 is O, in every block.

    Only the newest block is supervised, and words of older types are O to it. So labels of old types have no effect
    (`self_training` and the protocol `joint` equal finetuning); old blocks are preserved by a method.
    """

    tag_set: BlockTagSet

    def __init__(self, width: int, config: "Stepwise") -> None:
        super().__init__(width, BlockTagSet())
        self.init_std, self.decoding = config.init_std, config.decoding

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The columns of each step's block."""
        return self.tag_set.blocks

    def draw(self, count: int) -> Tensor:
        return linear_rows(count, self.width, self.init_std)

    def forward(self, states: States, batch: Batch) -> StepwiseOutput:  # noqa: ARG002
        weight = self.weight
        return StepwiseOutput(F.linear(states.words, weight[:, :-1], weight[:, -1]), self.blocks)

    def loss(self, output: StepwiseOutput, batch: Batch) -> LossSum:
        newest = output.blocks[-1]
        targets = batch.targets.clamp(min=newest.start) - newest.start
        return losses.cross_entropy(output.logits[..., newest], targets, where=batch.targets != IGNORE)

    def predict(self, states: States, batch: Batch, *, new_type_bias: float = 0.0) -> list[Prediction]:  # noqa: ARG002
        output, tag_sets = self.forward(states, batch), self.tag_set.of_blocks
        probabilities = [output.logits[..., block].softmax(-1) for block in output.blocks]
        decoded = [decode(p, batch.mask, tags, self.decoding) for p, tags in zip(probabilities, tag_sets, strict=True)]
        return self._decode(*merge(decoded, output.blocks), batch)

    def class_means(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        newest = batch.targets.clamp(min=self.num_old).where(batch.targets != IGNORE, IGNORE)
        return super().class_means(states, replace(batch, targets=newest))


def merge(decoded: Sequence[tuple[Tensor, Tensor]], blocks: Sequence[slice]) -> tuple[Tensor, Tensor]:
    """One tag per word from the decoded tags of all blocks, from left to right.

    An I that continues the entity of the previous word has priority; then, of all B, the most probable; else O. At most
    one block can continue, since a type is in one block only. Shapes: tags and confidences per block, two of [B, T]
    -> columns [B, T], confidences [B, T].
    """
    best, confidences = (torch.stack(parts, dim=-1) for parts in zip(*decoded, strict=True))  # [B, T, K]
    starts = torch.tensor([block.start for block in blocks], device=best.device)
    columns, begins, inside = best + starts, best % 2 == 1, (best > 0) & (best % 2 == 0)
    merged, confidence = [], []
    previous = torch.zeros_like(columns[:, 0, 0])
    for t in range(columns.size(1)):
        continues = inside[:, t] & ((columns[:, t] == previous[:, None]) | (columns[:, t] - 1 == previous[:, None]))
        priority, block = (begins[:, t] * confidences[:, t] + 2 * continues).max(-1, keepdim=True)
        previous = columns[:, t].gather(-1, block)[:, 0].where(priority[:, 0] > 0, O)
        merged.append(previous)
        confidence.append(confidences[:, t].gather(-1, block)[:, 0])
    return torch.stack(merged, dim=1), torch.stack(confidence, dim=1)


@HEADS.register("stepwise")
class Stepwise(HeadConfig):
    """A block of tags per step, each with its own O: the head of AddNER. Always BIO: blocks are merged by B and I."""

    module: ClassVar[type[StepwiseHead]] = StepwiseHead
    decoding: Literal["argmax", "constrained"] = "constrained"
    """How the tags of each block are chosen before the blocks are merged, which reads a stray I- as O: constrained, the
    best path on which I- follows only B- or I- of its type (Viterbi); argmax, as published, each word's best tag."""
    init_std: float = 0.01
    """New rows are drawn from N(0, init_std), with zero bias."""

    def build(self, width: int) -> StepwiseHead:
        return StepwiseHead(width, self)
