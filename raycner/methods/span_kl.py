"""SpanKL (AAAI 2023): new types are learned and old ones are held, each in columns of its own.

    L = BCE(z, y) on the new types  +  kd_weight * KL( Bern(s(z' / T)) || Bern(s(z / T)) ) on the old ones, on all spans

What is not annotated is not said to be O: the new types' loss does not look at the old ones' columns, nor the other way
round. How both losses are divided among spans and sentences, and the weight of entities, are the head's, so that the
first step is no exception (`model.head`). `kd_weight: 0` is the control: new columns alone are learned.
Source: the SpanKL code, whose values are the defaults. Shapes: B sentences, P spans, E types.
"""

from typing import cast

from raycner.methods.method import METHODS, Method, Student, Teacher
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.spans import SpanHead
from raycner.networks.losses import LossSum


@METHODS.register("span_kl")
class SpanKL(Method):
    """BCE on new types, Bernoulli KL on old ones."""

    heads = (SpanHead,)

    kd_weight: float = 1.0
    """lambda, the weight of distillation beside BCE. Published: 1."""
    temperature: float = 1.0
    """T, of both sides. Published: 1."""

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.kd_weight < 0:
            raise ValueError("temperature is above 0, and kd_weight is not negative")

    @property
    def teacher_outputs(self) -> tuple[str, ...]:
        return ("kept",)

    def losses(self, student: Student, teacher: Teacher, batch: Batch) -> dict[str, LossSum]:
        head, said, z_old = cast(SpanHead, student.head), student(batch), teacher(batch).kept
        kd = losses.bernoulli_divergence(said.logits, z_old, head.asked(batch), temperature=self.temperature)
        return {"bce": head.learn(said, batch, first=z_old.size(-1)), "kd": self.kd_weight * head.shared(kd, batch)}
