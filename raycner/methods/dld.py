"""Decomposed logits distillation (SIGIR 2023), wrapped around any tag method.

    L = L_base + a * ( weight_positive * D(z+', z+) + weight_negative * D(z-', z-) )
    z+ = sum_h max(0, W_h f_h),  z- = sum_h min(0, W_h f_h):  what speaks for a tag, and what speaks against it
    a = sqrt(old types / new types) if adaptive, else 1

The paper's formula was not available: the decomposition, the form of D, its words, its weights and the factor a are
INFERRED, and each is a value here. The reading nearest to the paper (KL on O words, both weights 2) is the layer
jobs/variants/dld_paper.yaml; the defaults are what measured best (squared error on all words, weights 1).
The control to carry whenever DLD is reported is `decomposition: none`: the plain logits, held at the same weight.
Shapes: B sentences, T words, C tags.
"""

from collections.abc import Collection, Sequence
from typing import Literal

from torch import Tensor

from raycner.data.scenarios.scenario import Split
from raycner.methods.method import METHODS, Method, SplitLoader, Student, Teacher, balance
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tags import O, TagHead
from raycner.networks.losses import IGNORE, LossSum

PARTS = {
    "product": {"positive": "product_positive", "negative": "product_negative"},
    "weight": {"positive": "weight_positive", "negative": "weight_negative"},
    "none": {"positive": "logits"},
}
"""Which fields of a tag head's output each decomposition compares."""


@METHODS.register("dld")
class DLD(Method):
    """Hold the support for each tag and the support against it apart."""

    heads = (TagHead,)

    base: Method
    """The method that is made more careful; required: `method.base.name=extend_ner`."""
    weight_positive: float = 1.0
    """lambda_p, on the terms that speak for a tag."""
    weight_negative: float = 1.0
    """lambda_n, on the terms that speak against a tag."""
    decomposition: Literal["product", "weight", "none"] = "product"
    """product: by the sign of weight times feature, so z+ >= 0 >= z-. weight: by the sign of the weight alone, the
    literal transfer of DKD. none: no decomposition, the control (weight_positive is then the weight)."""
    form: Literal["mse", "kl", "bce"] = "mse"
    """D: squared error, KL of softmaxes (over all C tags, cut to the old ones), or BCE of sigmoids (DKD)."""
    words: Literal["all", "outside"] = "all"
    """On all labelled words, or on O words only. All words also hold the old logits where a new type is learned."""
    temperature: float = 1.0
    """Of both sides, for kl and bce."""
    adaptive: bool = False

    def __post_init__(self) -> None:
        if self.temperature <= 0 or min(self.weight_positive, self.weight_negative) < 0:
            raise ValueError("temperature is above 0, and weights are not negative")
        if not issubclass(TagHead, self.base.heads):
            raise ValueError(f"{self.base.name} does not train tag heads, so dld cannot wrap it")

    @property
    def label(self) -> str:
        return f"dld({self.base.label})"

    @property
    def teacher_outputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.base.teacher_outputs, *PARTS[self.decomposition].values())))

    @property
    def types(self) -> Collection[str]:
        return self.base.types

    def annotate(self, split: Split, teacher: Teacher) -> Split:
        return self.base.annotate(split, teacher)

    def on_epoch_start(self, feed: SplitLoader) -> Split:
        return self.base.on_epoch_start(feed)

    def collate(self, feed: SplitLoader, positions: Sequence[int]) -> Batch:
        return self.base.collate(feed, positions)

    def losses(self, student: Student, teacher: Teacher, batch: Batch) -> dict[str, LossSum]:
        z, z_old = student(batch), teacher(batch)
        where = batch.targets == O if self.words == "outside" else batch.targets != IGNORE
        scale = balance(student.inventory) if self.adaptive else 1.0
        weights = {"positive": self.weight_positive, "negative": self.weight_negative}
        held = {
            f"dld_{side}": scale * weights[side] * self._divergence(getattr(z, part), getattr(z_old, part), where)
            for side, part in PARTS[self.decomposition].items()
        }
        return self.base.losses(student, teacher, batch) | held

    def _divergence(self, student: Tensor, teacher: Tensor, where: Tensor) -> LossSum:
        if self.form == "mse":
            return losses.squared_error(student, teacher, where)
        divergence = losses.distillation if self.form == "kl" else losses.bernoulli
        return divergence(
            student, teacher, where, student_temperature=self.temperature, teacher_temperature=self.temperature
        )
