"""Finetuning: the head's own loss on what is annotated now. The lower bound, and the first step of every run.

    L = mean over all words of CE(z, y)

The published baseline of the CFNER family also freezes O and the old rows and imprints the new ones; that is
`model.growth`, a value of the model, and off here.
"""

from raycner.methods.method import METHODS, Method, Student, Teacher
from raycner.networks.batch import Batch
from raycner.networks.losses import LossSum


@METHODS.register("finetuning")
class Finetuning(Method):
    """Nothing resists forgetting."""

    def losses(self, student: Student, teacher: Teacher, batch: Batch) -> dict[str, LossSum]:  # noqa: ARG002
        return {"ce": student.head.loss(student(batch), batch)}
