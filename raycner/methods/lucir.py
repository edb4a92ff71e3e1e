"""LUCIR (CVPR 2019), as the CFNER family adapted it to NER: distil the direction of features, separate new tags from O.

    L = CE(z, y) on new-type words
      + feature_weight * a * mean over O words of ( 1 - cos(f, f') )
      + margin_weight * mean over O words, and over their `top` strongest new tags c, of max(0, margin - z_O + z_c)
    a = sqrt( C' / (C - C') ), in tags, O among the old ones

No logits are distilled and nothing is pseudo-labelled. Both terms on O words read what is annotated O, although the
README of the published code mentions all types. Without replay the margin can only separate O from the new tags.
It was published with a cosine head (`model.head.name=cosine`); `margin` is measured on logits that include its scale.
Source: the code of CFNER, whose values are the defaults. Shapes: B sentences, T words, C tags (C' old ones), H width.
"""

from raycner.methods.method import METHODS, Method, Student, Teacher, TeacherOutputs, tag_balance
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tag_head import TagHead, TagOutput
from raycner.networks.heads.tag_set import O
from raycner.networks.losses import LossSum


@METHODS.register("lucir")
class LUCIR(Method[TagOutput]):
    """CE on new types, feature distillation and a margin on O."""

    heads = (TagHead,)

    feature_weight: float = 50.0
    """lambda_f, before the factor a. Published: 50."""
    margin_weight: float = 1.0
    """lambda_mr. Published: 1."""
    margin: float = 0.5
    """m, in logits. Published: 0.5."""
    top: int = 1
    """K, the number of strongest new tags in the margin term. Published: 1."""

    def __post_init__(self) -> None:
        if min(self.feature_weight, self.margin_weight, self.margin) < 0 or self.top < 1:
            raise ValueError("weights and margin are not negative, and top is at least 1")

    @property
    def teacher_outputs(self) -> TeacherOutputs[TagOutput]:
        return {"states": lambda output: output.states}

    def losses(self, student: Student[TagOutput], teacher: Teacher[TagOutput], batch: Batch) -> dict[str, LossSum]:
        output, num_old = student(batch), student.head.num_old
        z = output.logits
        inside, outside = batch.targets > O, batch.targets == O
        losses.index_words(inside, outside)
        features = losses.cosine_distance(output.states, teacher(batch).states, where=outside)
        margin = losses.margin_ranking(z[..., O], z[..., num_old:], where=outside, margin=self.margin, top=self.top)
        return {
            "ce": losses.cross_entropy(z, batch.targets, where=inside),
            "features": self.feature_weight * tag_balance(num_old, z.size(-1)) * features,
            "margin": self.margin_weight * margin,
        }
