"""CPFD (EMNLP 2023): pseudo-labels of words about which the teacher is more certain than usual for their tag.

    L = mean over kept words of a_s b_i CE(z_i, y~_i)  +  kd_weight * w * KL( softmax(z') || softmax(z) ) on O words

    y~_i  y_i on entity words; on O words u_i = argmax_c p'_ic, kept if e_i <= tau_u
    e_i   -sum_c p'_ic log p'_ic / log C', the teacher's entropy from 0 to 1
    tau_c the quantile of e over the step's O words with u = c
    a_s   kept O words / O words of the sentence, on all of its words
    b_i   0.5 + sigmoid(old entity words / new ones, of the sentence) on words of old types, else 1
    w     sqrt(old types / new types) if adaptive, else 1

The published code differs: it drops O words by the median too, so half of all words without an entity have no label
(`spare_outside: false`), and distils pooled attention maps. A third of that term is always zero and the rest is small
next to the KL; it is left out. Report CPFD with `quantile: 1`, which keeps every pseudo-label.
Source: its code and configurations. Shapes: B sentences, T words, C tags, C' old tags.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from raycner.data.scenarios.scenario import Split
from raycner.methods.method import METHODS, Method, Student, StudentLoader, Teacher, TeacherOutputs, balance
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tag_head import TagHead, TagOutput
from raycner.networks.heads.tag_set import O
from raycner.networks.losses import LossSum

ROUNDING = 1e-6
"""By how much a word may exceed its threshold, which is the entropy of a word: its last digits depend on its batch."""


class Thresholds(NamedTuple):
    """A column of the split, and of each batch."""

    entropies: Tensor
    """tau of each old tag, up to the last one that a word is given; 1 for a tag that none is given."""


@METHODS.register("cpfd")
class CPFD(Method[TagOutput]):
    """Pseudo-labels by the entropy that is usual for a tag, and KD on O."""

    heads = (TagHead,)

    quantile: float = 0.5
    """The share of a tag's words that keep it. Published: 0.5."""
    spare_outside: bool = True
    """Keep all words whose best tag is O. Published code: false."""
    kd_weight: float = 2.0
    """lambda, the weight of distillation. Published: 2."""
    adaptive: bool = True
    """Multiply it by sqrt(old types / new types), as published."""

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 1 or self.kd_weight < 0:
            raise ValueError("quantile is above 0 and at most 1, and kd_weight is not negative")

    @property
    def teacher_outputs(self) -> TeacherOutputs[TagOutput]:
        return {"logits": lambda output: output.logits}

    def annotate(self, split: Split, teacher: Teacher[TagOutput]) -> Split:
        """Compute the threshold of each tag over all O words."""
        best, entropies = (torch.cat(parts) for parts in zip(*teacher.survey(split, _outside), strict=True))
        of_tag = [entropies[best == tag] for tag in range(int(best.max()) + 1 if len(best) else 1)]
        limits = [float(own.quantile(self.quantile)) if len(own) else 1.0 for own in of_tag]
        if self.spare_outside:
            limits[O] = math.inf
        return split.with_column(Thresholds(torch.tensor(limits, dtype=torch.float64)))

    def collate(self, loader: StudentLoader[TagOutput], positions: Sequence[int]) -> Batch:
        """The batch with the thresholds as a column."""
        entropies = loader.split.column(Thresholds).entropies
        return loader.batch(positions).with_column(Thresholds(entropies))

    def losses(self, student: Student[TagOutput], teacher: Teacher[TagOutput], batch: Batch) -> dict[str, LossSum]:
        z, z_old, num_old = student(batch).logits, teacher(batch).logits, student.head.num_old
        inside, outside = batch.targets > O, batch.targets == O
        best, limits = z_old.argmax(-1), batch.column(Thresholds).entropies.to(z_old)
        certain = outside & (uncertainty(z_old) <= limits[best.clamp(max=len(limits) - 1)] + ROUNDING)
        labels = batch.targets.where(~outside, best)
        share = certain.sum(-1).to(z) / outside.sum(-1).clamp(min=1)  # [B] a_s
        old, new = (inside | certain) & (labels > O) & (labels < num_old), labels >= num_old
        ratio = old.sum(-1).to(z) / new.sum(-1).clamp(min=1)
        weights = share[:, None] * torch.where(old, 0.5 + ratio.sigmoid()[:, None], 1.0)
        learned = inside | certain
        losses.index_words(learned, outside)
        ce = losses.weighted_cross_entropy(z, labels, weights, where=learned)
        kd = losses.distillation(z, z_old, where=outside)
        return {"ce": ce, "kd": self.kd_weight * (balance(student.inventory) if self.adaptive else 1.0) * kd}


def uncertainty(logits: Tensor) -> Tensor:
    """[..., C] -> [...] the entropy of softmax(z) over log C: from 0 to 1."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1) / math.log(logits.size(-1))


def _outside(batch: Batch, output: TagOutput) -> tuple[Tensor, Tensor]:
    """The teacher's best tag of each O word, and its entropy."""
    logits = output.logits[batch.targets == O]
    return logits.argmax(-1).cpu(), uncertainty(logits).double().cpu()
