"""Nearest-mean head: the tag whose mean is nearest, without gradient descent.

    z_c = -scale * ( || f - m_c ||^2 - 1 ),    f the word's unit state, m_c the mean of f over the words of tag c

The means are those of all words of all steps (see `solved_rows.py`), in a frozen encoder.
Source: nearest class mean in iCaRL (CVPR 2017) and first-session adaptation; OCILNER (ACL 2023) predicts so.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.decoding import Decoding
from raycner.networks.heads.growing_rows import linear_rows
from raycner.networks.heads.head import HEADS, HeadConfig
from raycner.networks.heads.solved_rows import SolvedTags


class NearestMeanTags(SolvedTags):
    """z = scale * (2 f m - |m|^2), as a row [2 m, -|m|^2] over [f, 1]."""

    def __init__(self, width: int, config: "NearestMean") -> None:
        super().__init__(width, width + 1, config.scheme, config.decoding)
        self.scale = config.scale

    def draw(self, count: int) -> Tensor:
        return linear_rows(count, self.width, 0.01)

    def effective(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return F.pad(F.normalize(states.words, dim=-1), (0, 1), value=1.0), self.scale * self.weight

    def solution(self) -> Tensor:
        """A tag without a word is as far as any can be, at distance 2: its row is [0, -3]."""
        sums, counts = self.sums_of_tags.double().tensor_split([self.width], dim=1)
        means = sums / counts.clamp(min=1)
        offsets = torch.where(counts > 0, -means.square().sum(1, keepdim=True), -3.0)
        return torch.cat([2 * means, offsets], dim=1)


@HEADS.register("nearest_mean")
class NearestMean(HeadConfig):
    """The tag of the nearest mean of unit states; for a frozen encoder."""

    module: ClassVar[type[NearestMeanTags]] = NearestMeanTags
    scheme: Literal["BIO", "BIOES"] = "BIO"
    decoding: Decoding = "constrained"
    """constrained: the best path on which I- follows only B- or I- of its type (Viterbi); argmax: each word's best tag,
    where a stray I- begins an entity (the code of the CFNER family); strict: a stray I- is O (the SpanKL code)."""
    scale: float = 16.0
    """What a squared distance of 1 is worth in logits. It changes confidences, and no tag."""

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError(f"scale {self.scale}: above 0")

    def build(self, width: int) -> NearestMeanTags:
        return NearestMeanTags(width, self)
