"""DER++ (NeurIPS 2020), around any tag method: remembered words keep the logits that they had when they were learned.

    L = L_base  +  logit_weight * mean over words of the memory of 1/C_s sum_{c < C_s} ( z_c - h_c )^2

    h     the logits of the word under the network of its own step s, which has C_s tags; later tags are free

`L_base` learns the sentences of the memory with their own annotations, next to those of the step: that is the ++, and
with logit_weight 0 all there is (experience replay, ER). The teacher is the network of the step before, and what that
has forgotten it cannot hold; h is older. Published around finetuning, for images, with a weight for each data set.
It needs `scenario.memory.size` and `scenario.memory.keep=logits`.
Source: https://arxiv.org/abs/2004.07211. Shapes: B sentences, T words, C tags, S the most tags that a memory has.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raycner.data.scenarios.memory import KeptLogits
from raycner.data.scenarios.scenario import Split
from raycner.methods.method import METHODS, Student, StudentLoader, Teacher
from raycner.methods.wrapper import Wrapper
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tag_head import TagHead, TagOutput
from raycner.networks.losses import IGNORE, LossSum


class RememberedLogits(NamedTuple):
    """A column of a batch."""

    values: Tensor
    """[B, T, S] h, NaN where there is none: outside the memory, and for tags that came after the memory."""


@METHODS.register("der")
class DER(Wrapper[TagOutput]):
    """Remembered words keep the logits of their own step."""

    heads = (TagHead,)
    logit_weight: float = 0.5
    """alpha. The logits of a tag head are a few units apart, and so is what a difference of one costs."""

    def __post_init__(self) -> None:
        if self.logit_weight < 0:
            raise ValueError(f"logit_weight {self.logit_weight}: not negative")
        if isinstance(self.base, DER):
            raise ValueError("the logits are held once, so der cannot wrap itself")

    @property
    def needs_kept_logits(self) -> bool:
        return self.logit_weight > 0 or self.base.needs_kept_logits

    def collate(self, loader: StudentLoader[TagOutput], positions: Sequence[int]) -> Batch:
        """The batch with the column `RememberedLogits`."""
        batch = self.base.collate(loader, positions)
        own = _kept(loader.split, positions)
        width = max(rows.shape[1] for rows in own)
        values = np.full((*batch.mask.shape, width), np.nan, np.float32)
        for sentence, rows in enumerate(own):
            values[sentence, : rows.shape[0], : rows.shape[1]] = rows
        return batch.with_column(RememberedLogits(torch.from_numpy(values).to(batch.mask.device)))

    def losses(self, student: Student[TagOutput], teacher: Teacher[TagOutput], batch: Batch) -> dict[str, LossSum]:
        z, h = student(batch).logits, batch.column(RememberedLogits).values
        held = losses.squared_error_where_given(z, h.to(z), where=batch.targets != IGNORE)
        return self.base.losses(student, teacher, batch) | {"held_logits": self.logit_weight * held}


def _kept(split: Split, positions: Sequence[int]) -> list[NDArray[np.float32]]:
    """[words, C] the kept logits of each sentence; of shape [0, 0] outside the memory."""
    none = np.zeros((0, 0), np.float32)
    remembered: list[NDArray[np.float32]] = []
    for source in split.further:
        is_memory = KeptLogits in source.columns
        remembered += source.column(KeptLogits).of_sentences if is_memory else [none] * len(source)
    first = len(split.sources[0])
    return [remembered[i - first] if 0 <= i - first < len(remembered) else none for i in map(int, positions)]
