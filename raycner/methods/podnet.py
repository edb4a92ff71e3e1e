"""PODNet (ECCV 2020), as the CFNER family brought it to NER: hold the final features, and a pooling of every layer's.

    L = NCA(z, y) on new-type words
      + flat_weight * a * mean over O words of ( 1 - cos(f, f') )
      + spatial_weight * mean over layers l and O words of | sum_h u_lh - sum_h u'_lh |
    u_l = the word's unit state after layer l (embeddings are layer 0),  a = sqrt( C' / (C - C') ), in tags, O among the
    old ones

One row per tag: PODNet's several proxies per class were not brought along. The margin of NCA and the gradient of the
spatial term are missing from the published code; here they are there, and their absence is a value of each.
It was published with a cosine head (`model.head.name=cosine`), on which `margin` is measured: z counts the scale.
Source: the CFNER code, whose values are the defaults. Shapes: B sentences, T words, C tags (C' old ones), H width.
"""

from typing import Literal

from raycner.methods.method import METHODS, Method, Student, Teacher, num_old_tags, tag_balance
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tags import O, TagHead
from raycner.networks.losses import LossSum


@METHODS.register("podnet")
class PODNet(Method):
    """NCA on new types, features of every layer held on O."""

    heads = (TagHead,)

    nca: Literal["margin", "cancelled"] = "margin"
    """margin: taken off the right tag alone, as in the paper. cancelled: off every tag, so off none, as in the code."""
    scale: float = 1.0
    """Of the logits in NCA. Published: 1."""
    margin: float = 0.6
    """In logits; read by nca=margin only. Published: 0.6."""
    flat_weight: float = 1.0
    """Of the final features, before the factor a. Published: 1."""
    spatial_weight: float = 1.0
    """Of the pooled layers. Published: 1."""
    spatial_gradient: bool = True
    """Published: false, a constant that is added and trains nothing."""

    def __post_init__(self) -> None:
        if min(self.flat_weight, self.spatial_weight, self.margin) < 0 or self.scale <= 0:
            raise ValueError("weights and margin are not negative, and scale is above 0")

    @property
    def teacher_outputs(self) -> tuple[str, ...]:
        return ("states", "pooled")

    def losses(self, student: Student, teacher: Teacher, batch: Batch) -> dict[str, LossSum]:
        said, held = student(batch), teacher(batch)
        num_tags = said.logits.size(-1)
        num_old = num_old_tags(student.inventory, num_tags)
        new, outside = batch.targets >= num_old, batch.targets == O
        if self.nca == "margin":
            nca = losses.nca(said.logits, batch.targets, where=new, scale=self.scale, margin=self.margin)
        else:
            nca = losses.nca_cancelled(said.logits, batch.targets, where=new, scale=self.scale)
        flat = losses.cosine_distance(said.states, held.states, where=outside)
        pooled = said.pooled if self.spatial_gradient else said.pooled.detach()
        spatial = losses.absolute_difference(pooled, held.pooled, where=outside)
        return {
            "nca": nca,
            "flat": self.flat_weight * tag_balance(num_old, num_tags) * flat,
            "spatial": self.spatial_weight * spatial,
        }
