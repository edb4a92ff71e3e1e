"""AddNER (AAAI 2021): a block of tags per step; the newest learns, and every older one says what it always said.

    L = CE(z_new, y) on all words  +  kd_weight * mean over old blocks k of KL( softmax(z'_k / T) || softmax(z_k / T) )
                                                                                                        on all words

Old blocks are held on new-type words too, which are O to them. Two versions are published: the paper's (T 2) is the
layer jobs/variants/add_ner_paper.yaml, the SpanKL code's (T 1) the defaults. That code divides both losses by the
padded size of the batch, so they weigh less the more padding there is: a defect, not reproduced here.
Shapes: B sentences, T words, C columns over all blocks.
"""

import torch

from raycner.methods.method import METHODS, Method, Student, Teacher
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.stepwise import StepwiseHead
from raycner.networks.losses import IGNORE, LossSum


@METHODS.register("add_ner")
class AddNER(Method):
    """CE on the newest block, KD on every older one."""

    heads = (StepwiseHead,)

    kd_weight: float = 1.0
    """The weight of distillation beside CE. Published: 1."""
    temperature: float = 1.0
    """T, of both sides. Published: 2 (paper), 1 (SpanKL code)."""

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.kd_weight < 0:
            raise ValueError("temperature is above 0, and kd_weight is not negative")

    @property
    def teacher_outputs(self) -> tuple[str, ...]:
        return ("logits",)

    def losses(self, student: Student, teacher: Teacher, batch: Batch) -> dict[str, LossSum]:
        said, z_old = student(batch), teacher(batch).logits
        words = batch.targets != IGNORE
        held = [
            losses.distillation(
                said.logits[..., block],
                z_old[..., block],
                where=words,
                student_temperature=self.temperature,
                teacher_temperature=self.temperature,
            )
            for block in said.blocks
            if block.stop <= z_old.size(-1)
        ]
        kd = LossSum(torch.stack([block.total for block in held]).mean(), words.sum())
        return {"ce": student.head.loss(said, batch), "kd": self.kd_weight * kd}
