"""PODNet (ECCV 2020), as the CFNER family adapted it to NER: distil final features and pooled states of all layers.

    L = NCA(z, y) on new-type words
      + flat_weight * a * mean over O words of ( 1 - cos(f, f') )
      + spatial_weight * mean over layers l and O words of | sum_h u_lh - sum_h u'_lh |
    u_l = the word's unit state after layer l (embeddings are layer 0),  a = sqrt( C' / (C - C') ), in tags, O among the
    old ones

One row per tag: the adaptation has no several proxies per class. The published code lacks the margin of NCA and the
gradient of the spatial term; both are present here, and a setting of each removes it.
It was published with a cosine head (`model.head.name=cosine`); `margin` is measured on logits that include its scale.
Source: https://arxiv.org/abs/2004.13513 and the code of CFNER, whose values are the defaults.
Shapes: B sentences, T words, C tags (C' old ones), H width.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from raycner.methods.method import METHODS, Method, Student, Teacher, TeacherOutputs, tag_balance
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States, pick
from raycner.networks.heads.tag_head import TagHead, TagOutput
from raycner.networks.heads.tag_set import O
from raycner.networks.losses import LossSum


@METHODS.register("podnet")
class PODNet(Method[TagOutput]):
    """NCA on new types, distillation of every layer's features on O."""

    heads = (TagHead,)

    nca: Literal["margin", "cancelled"] = "margin"
    """margin: subtracted from the correct tag alone, as in the paper. cancelled: subtracted from every tag, so without
    effect, as in the code."""
    scale: float = 1.0
    """Of the logits in NCA. Published: 1."""
    margin: float = 0.6
    """In logits; used by nca=margin only. Published: 0.6."""
    flat_weight: float = 1.0
    """Of the final features, before the factor a. Published: 1."""
    spatial_weight: float = 1.0
    """Of the pooled layers. Published: 1."""
    spatial_gradient: bool = True
    """Published: false, which makes the term a constant without effect."""

    def __post_init__(self) -> None:
        if min(self.flat_weight, self.spatial_weight, self.margin) < 0 or self.scale <= 0:
            raise ValueError("weights and margin are not negative, and scale is above 0")

    @property
    def reads_layers(self) -> bool:
        return True

    @property
    def teacher_outputs(self) -> TeacherOutputs[TagOutput]:
        return {"states": lambda output: output.states, "pooled": lambda output: pooled(output.source)}

    def losses(self, student: Student[TagOutput], teacher: Teacher[TagOutput], batch: Batch) -> dict[str, LossSum]:
        output, num_old = student(batch), student.head.num_old
        inside, outside = batch.targets > O, batch.targets == O
        losses.index_words(inside, outside)
        if self.nca == "margin":
            nca = losses.nca(output.logits, batch.targets, where=inside, scale=self.scale, margin=self.margin)
        else:
            nca = losses.nca_cancelled(output.logits, batch.targets, where=inside, scale=self.scale)
        flat = losses.cosine_distance(output.states, teacher(batch).states, where=outside)
        layers = pooled(output.source) if self.spatial_gradient else pooled(output.source).detach()
        spatial = losses.absolute_difference(layers, teacher.recall("pooled", batch), where=outside)
        return {
            "nca": nca,
            "flat": self.flat_weight * tag_balance(num_old, output.logits.size(-1)) * flat,
            "spatial": self.spatial_weight * spatial,
        }


def pooled(states: States) -> Tensor:
    """[B, T, layers] the sum over hidden units of each word's unit state, after every layer."""
    words = (pick(layer.to(states.words.dtype), states.starts) for layer in states.layers)
    return torch.stack([F.normalize(layer, dim=-1).sum(-1) for layer in words], dim=-1)
