"""ICE (ACL Findings 2023): the rows of a step are trained among themselves and O; nothing else changes.

    L = mean over the words of O and of new types of  -log softmax( [z_O, z of the new tags] )[y]

Published on an encoder that is never trained (`model.encoder.frozen=always`), with old rows frozen
(`model.growth.freeze_old=true`) and the constant 0 as the logit of O (`model.head.zero_outside=true`), so that the
scores of old types never move, and steps meet at prediction alone: ICE_O. ICE_PLO puts all rows into the softmax:
finetuning with the same settings. Both are rows of jobs/rows/frozen_encoder.yaml.
Source: the paper and its code. Shapes: B sentences, T words, C tags.
"""

import torch

from raycner.methods.method import METHODS, Method, Student, Teacher
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tag_head import TagHead, TagOutput
from raycner.networks.heads.tag_set import O
from raycner.networks.losses import LossSum


@METHODS.register("ice")
class ICE(Method[TagOutput]):
    """CE among O and the new tags."""

    heads = (TagHead,)

    def losses(self, student: Student[TagOutput], teacher: Teacher[TagOutput], batch: Batch) -> dict[str, LossSum]:  # noqa: ARG002
        z, num_old, y = student(batch).logits, student.head.num_old, batch.targets
        own = torch.cat([z[..., : O + 1], z[..., num_old:]], dim=-1)
        is_new = y >= num_old
        targets = torch.where(is_new, y - num_old + 1, y)
        return {"ce": losses.cross_entropy(own, targets, where=is_new | (y == O))}
