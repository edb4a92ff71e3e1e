"""Wrapper: a method around another one, which it extends by further losses."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from raycner.data.scenarios.scenario import Split
from raycner.methods.method import Method, Student, StudentLoader, Teacher, TeacherOutputs
from raycner.networks.batch import Batch
from raycner.networks.heads.head import Output
from raycner.networks.losses import LossSum


@dataclass(frozen=True, kw_only=True)
class Wrapper(Method[Output]):
    """Delegates every hook of `Method` to `base`. A subclass overrides the hooks that it extends."""

    base: Method[Output]

    @property
    def first(self) -> Method[Any]:
        return self.base.first

    @property
    def label(self) -> str:
        return f"{self.name}({self.base.label})"

    @property
    def teacher_outputs(self) -> TeacherOutputs[Output]:
        return self.base.teacher_outputs

    @property
    def reads_layers(self) -> bool:
        return self.base.reads_layers

    @property
    def batch_dependent(self) -> bool:
        return self.base.batch_dependent

    @property
    def needs_trained_encoder(self) -> bool:
        return self.base.needs_trained_encoder

    @property
    def needs_kept_logits(self) -> bool:
        return self.base.needs_kept_logits

    @property
    def needs_prototypes(self) -> bool:
        return self.base.needs_prototypes

    @property
    def learns_partly(self) -> bool:
        return self.base.learns_partly

    @property
    def types(self) -> Collection[str]:
        return self.base.types

    def annotate(self, split: Split, teacher: Teacher[Output]) -> Split:
        return self.base.annotate(split, teacher)

    def on_epoch_start(self, loader: StudentLoader[Output]) -> Split:
        return self.base.on_epoch_start(loader)

    def collate(self, loader: StudentLoader[Output], positions: Sequence[int]) -> Batch:
        return self.base.collate(loader, positions)

    def losses(self, student: Student[Output], teacher: Teacher[Output], batch: Batch) -> dict[str, LossSum]:
        return self.base.losses(student, teacher, batch)
