"""Linear head: z = W f + b. The head of the original ExtendNER."""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.growing_rows import linear_rows
from raycner.networks.heads.head import HEADS, HeadConfig, LinearLayer
from raycner.networks.heads.tag_head import TagHead


class LinearTags(TagHead):
    """z = W f + b."""

    can_bake_in: ClassVar[bool] = True

    def __init__(self, width: int, config: "Linear") -> None:
        super().__init__(width, config.scheme, config.decoding)
        self.init_std = config.init_std

    def draw(self, count: int) -> Tensor:
        return linear_rows(count, self.width, self.init_std)

    def effective(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return F.pad(states.words, (0, 1), value=1.0), self.weight

    def imprint_features(self, states: States, batch: Batch) -> Tensor:  # noqa: ARG002
        return states.words

    def as_linear(self, new_type_bias: float = 0.0) -> LinearLayer:
        weight = self.weight.detach()
        return self._linear_layer(weight[:, :-1], self.lowered(weight[:, -1], new_type_bias))

    def bake_in(self, delta: float) -> None:
        with torch.no_grad():
            self.weight[self.num_old :, -1] -= delta


@HEADS.register("linear")
class Linear(HeadConfig):
    """One linear layer over the word's state, the head of the original ExtendNER."""

    module: ClassVar[type[LinearTags]] = LinearTags
    scheme: Literal["BIO", "BIOES"] = "BIO"
    decoding: Literal["argmax", "constrained"] = "argmax"
    """constrained: the best path on which I- follows only B- or I- of its type (Viterbi)."""
    init_std: float = 0.01
    """New rows are drawn from N(0, init_std), with zero bias."""

    def build(self, width: int) -> LinearTags:
        return LinearTags(width, self)
