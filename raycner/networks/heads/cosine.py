"""Cosine head: z = scale * cos(f, w). The head of the CFNER family."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raycner.hashing import omit_default_from_hash
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.decoding import Decoding
from raycner.networks.heads.head import HEADS, HeadConfig, LinearLayer
from raycner.networks.heads.tag_head import TagHead


class CosineTags(TagHead):
    """z = scale * cos(f, w), with one learned scale."""

    refused_inits: ClassVar[Mapping[str, str]] = {
        "zeros": "gives a cosine head rows without a direction, which cannot be trained"
    }

    def __init__(self, width: int, config: "Cosine") -> None:
        super().__init__(width, config.scheme, config.decoding, config.extra_rows)
        self.scale = nn.Parameter(torch.tensor(config.scale))
        self.norm_axis = config.norm_axis

    def draw(self, count: int) -> Tensor:
        return torch.empty(count, self.width).uniform_(-(self.width**-0.5), self.width**-0.5)

    def effective(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        if self.norm_axis == "hidden":
            features = F.normalize(states.words, dim=-1)
        else:
            features = states.words / states.slots.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return features, self.scale * F.normalize(self.weight, dim=-1)

    def imprint_features(self, states: States, batch: Batch) -> Tensor:  # noqa: ARG002
        return states.words

    def as_linear(self, new_type_bias: float = 0.0) -> LinearLayer | None:
        """A layer with the same best tags, but other probabilities."""
        if self.norm_axis == "sequence" or new_type_bias:
            return None
        norm = self.width**0.5  # about that of a state that was layer-normed
        weight = self.scale.detach() / norm * F.normalize(self.weight.detach(), dim=-1)
        line = "The head compares directions; here it is a linear layer: the same tags, but other scores."
        return self._linear_layer(weight, weight.new_zeros(len(weight)), line)


@HEADS.register("cosine")
class Cosine(HeadConfig):
    """Cosine similarity to one direction per tag, the head of the CFNER family."""

    module: ClassVar[type[CosineTags]] = CosineTags
    scheme: Literal["BIO", "BIOES"] = "BIO"
    decoding: Decoding = "constrained"
    """constrained: the best path on which I- follows only B- or I- of its type (Viterbi); argmax: each word's best tag,
    where a stray I- begins an entity (the code of the CFNER family); strict: a stray I- is O (the SpanKL code)."""
    scale: float = 16.0
    """The initial value of the learned scale. Published: 1.0, too small for a true cosine, whose logits lie within
    it."""
    norm_axis: Literal["hidden", "sequence"] = "hidden"
    """sequence: each hidden channel is scaled to unit norm along the padded sentence, as in the published code; the
    logits of a word then depend on the other sentences of the batch, so that one process must see the whole batch, and
    the teacher reads each batch along with the student: a forward pass per update. What needs no gradient is read in
    batches of eight sentences, in the order of the corpus. Both as published."""
    extra_rows: tuple[str, ...] = omit_default_from_hash(())
    """A type for each further set of rows that it has: merging types sets it."""

    @property
    def batch_dependent(self) -> str:
        return "norm_axis" if self.norm_axis == "sequence" else ""

    @property
    def is_linear(self) -> bool:
        return self.norm_axis == "hidden"

    def build(self, width: int) -> CosineTags:
        return CosineTags(width, self)
