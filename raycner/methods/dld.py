"""Decomposed logits distillation (SIGIR 2023), wrapped around any tag method.

    L = L_base + a * ( weight_positive * D(z+', z+) + weight_negative * D(z-', z-) )
    z+ = sum_h max(0, W_h f_h),  z- = sum_h min(0, W_h f_h):  the evidence for a tag, and the evidence against it
    a = sqrt(old types / new types) if adaptive, else 1

The paper's formula was not available: the decomposition, the form of D, its words, its weights and the factor a are
INFERRED, and each is a setting. The reading closest to the paper (KL on O words, both weights 2) is the config file
jobs/variants/dld_paper.yaml; the defaults are what measured best (squared error on all words, weights 1).
Report DLD together with its control, `decomposition: none`: the plain logits, distilled at the same weight.
Shapes: B sentences, T words, C tags.
"""

from functools import partial
from typing import Literal

from torch import Tensor

from raycner.methods.method import METHODS, Method, Student, Teacher, TeacherOutputs, balance
from raycner.methods.wrapper import Wrapper
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tag_head import TagHead, TagOutput
from raycner.networks.heads.tag_set import O
from raycner.networks.losses import IGNORE, LossSum


@METHODS.register("dld")
class DLD(Wrapper[TagOutput]):
    """Distil the evidence for each tag and the evidence against it separately."""

    heads = (TagHead,)

    base: Method[TagOutput]
    """The wrapped method; required: `method.base.name=extend_ner`."""
    weight_positive: float = 1.0
    """lambda_p, of the evidence for a tag."""
    weight_negative: float = 1.0
    """lambda_n, of the evidence against a tag."""
    decomposition: Literal["product", "weight", "none"] = "product"
    """product: by the sign of weight times feature, so z+ >= 0 >= z-. weight: by the sign of the weight alone, the
    literal transfer of DKD. none: no decomposition, the control (weight_positive is then the weight)."""
    form: Literal["mse", "kl", "bce"] = "mse"
    """D: squared error, KL of softmaxes (over all C tags, cut to the old ones), or BCE of sigmoids (DKD)."""
    words: Literal["all", "outside"] = "all"
    """On all labelled words, or on O words only. All words also distils the old logits where a new type is trained."""
    temperature: float = 1.0
    """Of student and teacher, for kl and bce."""
    adaptive: bool = False

    def __post_init__(self) -> None:
        if self.temperature <= 0 or min(self.weight_positive, self.weight_negative) < 0:
            raise ValueError("temperature is above 0, and weights are not negative")
        if not issubclass(TagHead, self.base.heads):
            raise ValueError(f"{self.base.name} does not train tag heads, so dld cannot wrap it")

    @property
    def weights(self) -> dict[str, float]:
        """The loss terms, and the weight of each."""
        if self.decomposition == "none":
            return {"dld_positive": self.weight_positive}
        return {"dld_positive": self.weight_positive, "dld_negative": self.weight_negative}

    @property
    def learns_partly(self) -> bool:
        return self.base.learns_partly and self.form != "kl"  # the softmax of kl is over the new tags too

    def decompose(self, output: TagOutput) -> dict[str, Tensor]:
        """[B, T, C] the part of the logits that each loss term compares."""
        if self.decomposition == "none":
            return {"dld_positive": output.logits}
        by_product = self.decomposition == "product"
        decomposed = losses.decompose_by_product if by_product else losses.decompose_by_weight
        return dict(zip(self.weights, decomposed(output.features, output.weight), strict=True))

    @property
    def teacher_outputs(self) -> TeacherOutputs[TagOutput]:
        own = {term: partial(self._part, term) for term in self.weights}
        return {**self.base.teacher_outputs, **own}

    def _part(self, term: str, output: TagOutput) -> Tensor:
        return self.decompose(output)[term]

    def losses(self, student: Student[TagOutput], teacher: Teacher[TagOutput], batch: Batch) -> dict[str, LossSum]:
        where = batch.targets == O if self.words == "outside" else batch.targets != IGNORE
        scale = balance(student.inventory) if self.adaptive else 1.0
        kd = {
            term: scale * self.weights[term] * self.divergence(z, teacher.recall(term, batch), where)
            for term, z in self.decompose(student(batch)).items()
        }
        return self.base.losses(student, teacher, batch) | kd

    def divergence(self, student: Tensor, teacher: Tensor, where: Tensor) -> LossSum:
        """D, summed over the words of `where`."""
        if self.form == "mse":
            return losses.squared_error(student, teacher, where)
        divergence = losses.distillation if self.form == "kl" else losses.bernoulli_cross_entropy
        return divergence(
            student, teacher, where, student_temperature=self.temperature, teacher_temperature=self.temperature
        )
