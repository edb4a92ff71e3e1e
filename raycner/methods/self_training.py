"""Self-Training: the teacher's confident entities become labels of the step's sentences.

    L = mean over all words of CE(z, y'),  y' = gold entities, and the teacher's entities with confidence >= tau

It works on entities, so it trains every head by the head's own loss (for spans: BCE over all spans and types). The
published token-level form (every O word receives the teacher's best old tag) is `extend_ner` with
teacher_temperature=0.01 and student_temperature=2.
Source: systems of the CFNER family, where hard pseudo-labels without threshold are called "CE over all words".
"""

from collections.abc import Collection, Mapping
from dataclasses import field
from typing import ClassVar

from raycner.data.scenarios.scenario import Split
from raycner.methods.method import METHODS, Method, Student, Teacher
from raycner.networks.batch import Batch
from raycner.networks.heads.head import Output
from raycner.networks.losses import LossSum


@METHODS.register("self_training")
class SelfTraining(Method[Output]):
    """Pseudo-labels above a confidence threshold."""

    learns_labels_alone: ClassVar[bool] = True

    threshold: float = 0.0
    """tau: the least confidence of a teacher's entity. The confidence of an entity is that of its least confident word,
    or of its span."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """tau for single types, where it differs: `method.thresholds.person=0.7`."""

    def __post_init__(self) -> None:
        for name, value in {"threshold": self.threshold, **self.thresholds}.items():
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} {value} is no confidence: choose from 0 to 1")

    @property
    def types(self) -> Collection[str]:
        return self.thresholds.keys()

    def annotate(self, split: Split, teacher: Teacher[Output]) -> Split:
        taus = {kind: self.thresholds.get(kind, self.threshold) for kind in teacher.inventory.types}
        return split.with_pseudo_labels(teacher.predictions(split), taus)

    def losses(self, student: Student[Output], teacher: Teacher[Output], batch: Batch) -> dict[str, LossSum]:  # noqa: ARG002
        return {"ce": student.head.loss(student(batch), batch)}
