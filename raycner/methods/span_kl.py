"""SpanKL (AAAI 2023): new types are trained and old types are distilled, each in columns of their own.

    L = BCE(z, y) on the new types  +  kd_weight * KL( Bern(s(z' / T)) || Bern(s(z / T)) ) on the old ones, on all spans

A span without annotation is not taken for O: the loss of the new types ignores the columns of the old types, and vice
versa. The head decides how both losses are divided among spans and sentences, and the weight of entities, so that the
first step uses the same reduction (`model.head`). `kd_weight: 0` is the control: only new columns are trained.
Source: https://arxiv.org/abs/2302.12200 and its code, whose values are the defaults.
Shapes: B sentences, P spans, E types.
"""

from typing import cast

from raycner.methods.method import METHODS, Method, Student, Teacher, TeacherOutputs
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.spans import SpanHead, SpanOutput
from raycner.networks.losses import LossSum


@METHODS.register("span_kl")
class SpanKL(Method[SpanOutput]):
    """BCE on new types, Bernoulli KL on old ones."""

    heads = (SpanHead,)

    kd_weight: float = 1.0
    """lambda, the weight of distillation relative to BCE. Published: 1."""
    temperature: float = 1.0
    """T, for student and teacher. Published: 1."""

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.kd_weight < 0:
            raise ValueError("temperature is above 0, and kd_weight is not negative")

    @property
    def teacher_outputs(self) -> TeacherOutputs[SpanOutput]:
        """In half precision: there are many more spans than words."""
        return {"logits": lambda output: output.logits.half()}

    def losses(self, student: Student[SpanOutput], teacher: Teacher[SpanOutput], batch: Batch) -> dict[str, LossSum]:
        head, output, z_old = cast(SpanHead, student.head), student(batch), teacher(batch).logits
        bce = head.loss(output, batch, first=head.num_old)
        kd = losses.bernoulli_divergence(output.logits, z_old, head.labelled(batch), temperature=self.temperature)
        return {"bce": bce, "kd": self.kd_weight * head.reduce(kd, batch)}
