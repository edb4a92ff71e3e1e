"""ExtendNER (AAAI 2021): cross-entropy on the words of annotated entities, distillation of the teacher on O words.

    L = CE(z, y) on entity words  +  kd_weight * KL( softmax(z' / T_teacher) || softmax(z / T_student) ) on O words
      + prototype_weight * mean over old tags c of CE(W m_c, c)

    m_c   the mean of the unit features f / |f| of the words of tag c, at the end of its step; B and I apart, O has none

Three versions are published; each is a config file under jobs/variants:
    CFNER code   T_student 2, T_teacher 1, weighting mean, cosine head, old rows frozen, new rows imprinted
    paper        T 2 / 2, weighting mean, linear head, constrained decoding
    SpanKL code  T 1 / 1, weighting mean, linear head
Entities of old types are annotated in a memory, in the protocol progressive, and where a step's source annotates them.
Where a new type is annotated in part, its tags are left out of the student's softmax on O words.
Prototypes and a smaller gradient of CE on old rows are IS3 (ACL Findings 2024): weighting mean, kd_weight 2,
old_row_gradient 0.6, prototype_weight 0.1. A row with a bias reads [m_c, 1].
The defaults are the recipe that measured best: T 1 / 1, and every word has the same weight.
Shapes: B sentences, T words, C tags.
"""

from typing import Literal

from torch import Tensor

from raycner.hashing import omit_default_from_hash
from raycner.methods.method import METHODS, Method, Student, Teacher, TeacherOutputs, balance
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tag_head import TagHead, TagOutput
from raycner.networks.heads.tag_set import O
from raycner.networks.losses import LossSum


@METHODS.register("extend_ner")
class ExtendNER(Method[TagOutput]):
    """CE on new types, KD on O."""

    heads = (TagHead,)

    kd_weight: float = 1.0
    """lambda, the weight of distillation. Published: 1."""
    student_temperature: float = 1.0
    """Published: 2 (paper and CFNER code), 1 (SpanKL code)."""
    teacher_temperature: float = 1.0
    """Published: 2 (paper), 1 (CFNER and SpanKL code)."""
    weighting: Literal["word", "mean"] = "word"
    """word: both losses are divided by the number of all labelled words, so every word has the same weight. mean: each
    is a mean over its own words, as published."""
    adaptive: bool = False
    """Multiply distillation by sqrt(old types / new types), as CFNER does: the control that its comparison lacks."""
    old_row_gradient: float = omit_default_from_hash(1.0)
    """The factor of the gradient that cross-entropy has on the rows of old types: below 1, learning new types pushes
    old ones down less. Published: 0.6 (IS3, ACL Findings 2024, with kd_weight 2)."""
    prototype_weight: float = omit_default_from_hash(0.0)
    """Of the cross-entropy of the prototypes of old tags, which each step then stores, and no text. Published: 0.1
    (IS3)."""

    def __post_init__(self) -> None:
        if self.prototype_weight < 0:
            raise ValueError(f"prototype_weight {self.prototype_weight}: not negative")
        if not 0 <= self.old_row_gradient <= 1:
            raise ValueError(f"old_row_gradient {self.old_row_gradient}: from 0 to 1")
        if min(self.student_temperature, self.teacher_temperature) <= 0 or self.kd_weight < 0:
            raise ValueError("temperatures are above 0, and kd_weight is not negative")

    @property
    def needs_prototypes(self) -> bool:
        return self.prototype_weight > 0

    @property
    def learns_partly(self) -> bool:
        return True

    @property
    def teacher_outputs(self) -> TeacherOutputs[TagOutput]:
        return {"logits": lambda output: output.logits}

    def losses(self, student: Student[TagOutput], teacher: Teacher[TagOutput], batch: Batch) -> dict[str, LossSum]:
        output, z_old = student(batch), teacher(batch).logits
        z, z_damped = output.logits, self.damped(output, student.head.num_old)
        inside, outside = batch.targets > O, batch.targets == O
        losses.index_words(inside, outside)
        ce = losses.cross_entropy(z_damped, batch.targets, where=inside)
        may_be = z if batch.unknown is None else z.masked_fill(batch.unknown[:, None], float("-inf"))
        kd = losses.distillation(
            may_be,
            z_old,
            where=outside,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
        if self.weighting == "word":
            ce, kd = ce.over(inside | outside), kd.over(inside | outside)
        terms = {"ce": ce, "kd": self.kd_weight * (balance(student.inventory) if self.adaptive else 1.0) * kd}
        if self.needs_prototypes:
            m, tags = student.statistics.prototypes_of(student.head.tags, like=output.weight)
            terms["prototypes"] = self.prototype_weight * losses.prototype_cross_entropy(output.weight, m, tags)
        return terms

    def damped(self, output: TagOutput, num_old: int) -> Tensor:
        """The logits, with a smaller gradient in the rows of old types: same values, W = sg(W) + g (W - sg(W))."""
        if self.old_row_gradient == 1:
            return output.logits
        fixed, old = output.weight.detach(), slice(O + 1, num_old)
        weight = output.weight.clone()
        weight[old] = fixed[old] + self.old_row_gradient * (output.weight[old] - fixed[old])
        return output.features @ weight.T
