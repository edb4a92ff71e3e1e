"""AddNER (AAAI 2021): a block of tags per step. The newest block is trained; every older one is distilled.

    L = CE(z_new, y) on all words  +  kd_weight * mean over old blocks k of KL( softmax(z'_k / T) || softmax(z_k / T) )
                                                                                                        on all words

Old blocks are distilled on new-type words too, which are O to them. Two versions are published: the paper's (T 2) is
the config file jobs/variants/add_ner_paper.yaml, the SpanKL code's (T 1) the defaults. That code divides both losses by
the padded size of the batch, so that their weight falls with the amount of padding: a defect, not reproduced here.
Shapes: B sentences, T words, C columns over all blocks.
"""

import torch

from raycner.methods.method import METHODS, Method, Student, Teacher, TeacherOutputs
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.stepwise import StepwiseHead, StepwiseOutput
from raycner.networks.losses import IGNORE, LossSum


@METHODS.register("add_ner")
class AddNER(Method[StepwiseOutput]):
    """CE on the newest block, KD on every older one."""

    heads = (StepwiseHead,)

    kd_weight: float = 1.0
    """The weight of distillation relative to CE. Published: 1."""
    temperature: float = 1.0
    """T, for student and teacher. Published: 2 (paper), 1 (SpanKL code)."""

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.kd_weight < 0:
            raise ValueError("temperature is above 0, and kd_weight is not negative")

    @property
    def teacher_outputs(self) -> TeacherOutputs[StepwiseOutput]:
        return {"logits": lambda output: output.logits}

    def losses(
        self, student: Student[StepwiseOutput], teacher: Teacher[StepwiseOutput], batch: Batch
    ) -> dict[str, LossSum]:
        output, words = student(batch), batch.targets != IGNORE
        kd = [
            losses.distillation(
                output.logits[..., block],
                teacher(batch).logits[..., block],
                where=words,
                student_temperature=self.temperature,
                teacher_temperature=self.temperature,
            )
            for block in output.blocks[: len(teacher.inventory.sizes)]
        ]
        mean = LossSum(torch.stack([block.total for block in kd]).mean(), words.sum())
        return {"ce": student.head.loss(output, batch), "kd": self.kd_weight * mean}
