"""Finetuning: the head's own loss on the current annotations. The lower bound, and the first step of every run.

    L = mean over all words of CE(z, y)

The published baseline of the CFNER family also freezes O and the old rows and imprints the new ones. These are settings
of the model (`model.growth`), off by default.
"""

from typing import ClassVar

from raycner.methods.method import METHODS, Method, Student, Teacher
from raycner.networks.batch import Batch
from raycner.networks.heads.head import Output
from raycner.networks.losses import LossSum


@METHODS.register("finetuning")
class Finetuning(Method[Output]):
    """Supervised training only, without any measure against forgetting."""

    learns_labels_alone: ClassVar[bool] = True

    def losses(self, student: Student[Output], teacher: Teacher[Output], batch: Batch) -> dict[str, LossSum]:  # noqa: ARG002
        return {"ce": student.head.loss(student(batch), batch)}
