"""RDP (CIKM 2023): pseudo-labels weighed by prototypes, distillation, and soft targets from the teacher's sigmoids.

    L = CE(z, y~) + soft_weight * S + entropy_weight * H    on all words    +    kd_weight * KL(p' || p)    on O words

    y~ = y on entity words, elsewhere argmax_c w_c p'_c over the old tags,   w = softmax_c( -|| f' - eta_c || )
    S  = -mean_c t_c log p_c,  t = softmax( [sigmoid(z'), one-hot(y) of the new tags] )
    H  = -mean_c p_c log p_c
    eta_c = the mean state f' of the step's words to which the teacher gives tag c, O included

Two ideas of the paper do little in its code. Its prototypes mix the channels of different words, so that y~ is about
the teacher's best tag: `prototypes: none`. And t, a softmax of sigmoids, is nearly uniform: S smooths labels and
distils no relation. Report RDP with `soft_weight: 0`, and with `prototypes: none`.
Source: its code and the configurations of all ten settings; it takes backbone, head and optimiser from CFNER.
Shapes: B sentences, T words, C tags, C' old tags, H width.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from raycner.data.scenarios.scenario import Split
from raycner.methods.method import METHODS, Method, Student, StudentLoader, Teacher, TeacherOutputs
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tag_head import TagHead, TagOutput
from raycner.networks.heads.tag_set import O
from raycner.networks.losses import IGNORE, LossSum


class Prototypes(NamedTuple):
    """A column of the split, and of each batch."""

    means: Tensor
    """[C', H] the mean state of each old tag; a tag that the teacher gives to no word is infinitely far."""


@METHODS.register("rdp")
class RDP(Method[TagOutput]):
    """Pseudo-labels by prototypes, KD on O, soft targets."""

    heads = (TagHead,)

    kd_weight: float = 2.0
    """Published: 2."""
    soft_weight: float = 0.3
    """Of S. Published: 0.3."""
    entropy_weight: float = 0.1
    """Of H. Published: 0.1."""
    prototypes: Literal["mean", "none"] = "mean"
    """none: y~ is the teacher's best tag."""

    def __post_init__(self) -> None:
        if min(self.kd_weight, self.soft_weight, self.entropy_weight) < 0:
            raise ValueError("weights are not negative")

    @property
    def teacher_outputs(self) -> TeacherOutputs[TagOutput]:
        states: TeacherOutputs[TagOutput] = {"states": lambda output: output.states}
        return {"logits": lambda output: output.logits, **(states if self.prototypes == "mean" else {})}

    def annotate(self, split: Split, teacher: Teacher[TagOutput]) -> Split:
        """Compute the prototypes."""
        if self.prototypes == "none":
            return split
        sums, counts = (torch.stack(parts).sum(0) for parts in zip(*teacher.survey(split, _by_tag), strict=True))
        means = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], torch.inf)
        return split.with_column(Prototypes(means))

    def collate(self, loader: StudentLoader[TagOutput], positions: Sequence[int]) -> Batch:
        """The batch with the prototypes as a column."""
        batch = loader.batch(positions)
        if self.prototypes == "none":
            return batch
        return batch.with_column(Prototypes(loader.split.column(Prototypes).means.to(batch.mask.device)))

    def losses(self, student: Student[TagOutput], teacher: Teacher[TagOutput], batch: Batch) -> dict[str, LossSum]:
        z, z_old = student(batch).logits, teacher(batch).logits
        words, outside = batch.targets != IGNORE, batch.targets == O
        pseudo = batch.targets.where(~outside, self.pseudo_tags(teacher, batch))
        new_tags = torch.arange(z_old.size(-1), z.size(-1), device=z.device)
        one_hot = batch.targets[..., None] == new_tags  # [B, T, C - C']
        losses.index_words(words, outside)
        soft = torch.cat([z_old.sigmoid(), one_hot.to(z_old)], dim=-1).softmax(-1)
        return {
            "ce": losses.cross_entropy(z, pseudo, where=words),
            "kd": self.kd_weight * losses.distillation(z, z_old, where=outside),
            "soft": self.soft_weight * losses.soft_cross_entropy(z, soft, where=words),
            "entropy": self.entropy_weight * losses.entropy(z, where=words),
        }

    def pseudo_tags(self, teacher: Teacher[TagOutput], batch: Batch) -> Tensor:
        """[B, T] argmax_c w_c p'_c, or argmax_c p'_c without prototypes."""
        log_p = teacher(batch).logits.log_softmax(-1)
        if self.prototypes == "none":
            return log_p.argmax(-1)
        means = batch.column(Prototypes).means.to(log_p)
        by_difference = "donot_use_mm_for_euclid_dist"  # a product with an infinite mean is no number
        distance = torch.cdist(teacher(batch).states, means, compute_mode=by_difference)  # [B, T, C']
        return (log_p - distance).argmax(-1)  # the logarithm of w p', up to a constant of the word


def _by_tag(batch: Batch, output: TagOutput) -> tuple[Tensor, Tensor]:
    """The sums of the states of the words to which the teacher gives each tag [C', H], and their number [C']."""
    states = output.states[batch.mask]
    best = F.one_hot(output.logits[batch.mask].argmax(-1), output.logits.size(-1)).to(states)  # [N, C']
    return (best.T @ states).cpu(), best.sum(0).cpu()
