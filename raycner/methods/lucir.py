"""LUCIR (CVPR 2019), as the CFNER family brought it to NER: hold the direction of features, part new tags from O.

    L = CE(z, y) on new-type words
      + feature_weight * a * mean over O words of ( 1 - cos(f, f') )
      + margin_weight * mean over O words, and over their `top` strongest new tags c, of max(0, margin - z_O + z_c)
    a = sqrt( C' / (C - C') ), in tags, O among the old ones

No logits are distilled and nothing is pseudo-labelled. Both terms on O words are of what is annotated O, although the
README that came with the code speaks of all types. Without replay the margin can only hold O above the new tags.
It was published with a cosine head (`model.head.name=cosine`), on which `margin` is measured: z counts the scale.
Source: the CFNER code, whose values are the defaults. Shapes: B sentences, T words, C tags (C' old ones), H width.
"""

from raycner.methods.method import METHODS, Method, Student, Teacher, num_old_tags, tag_balance
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tags import O, TagHead
from raycner.networks.losses import LossSum


@METHODS.register("lucir")
class LUCIR(Method):
    """CE on new types, feature distillation and a margin on O."""

    heads = (TagHead,)

    feature_weight: float = 50.0
    """lambda_f, before the factor a. Published: 50."""
    margin_weight: float = 1.0
    """lambda_mr. Published: 1."""
    margin: float = 0.5
    """m, in logits. Published: 0.5."""
    top: int = 1
    """K, how many new tags O is held above. Published: 1."""

    def __post_init__(self) -> None:
        if min(self.feature_weight, self.margin_weight, self.margin) < 0 or self.top < 1:
            raise ValueError("weights and margin are not negative, and top is at least 1")

    @property
    def teacher_outputs(self) -> tuple[str, ...]:
        return ("states",)

    def losses(self, student: Student, teacher: Teacher, batch: Batch) -> dict[str, LossSum]:
        said, z = student(batch), student(batch).logits
        num_old = num_old_tags(student.inventory, z.size(-1))
        new, outside = batch.targets >= num_old, batch.targets == O
        held = losses.cosine_distance(said.states, teacher(batch).states, where=outside)
        parted = losses.margin_ranking(z[..., O], z[..., num_old:], where=outside, margin=self.margin, top=self.top)
        return {
            "ce": losses.cross_entropy(z, batch.targets, where=new),
            "features": self.feature_weight * tag_balance(num_old, z.size(-1)) * held,
            "margin": self.margin_weight * parted,
        }
