"""Analytic head: ridge regression on random features, in closed form.

    phi = relu( R [f, 1] ),  R [M, H + 1] drawn once from N(0, 1 / H)
    G = sum phi phi^T,  Q_c = sum of phi over the words of tag c,    W = Q (G + ridge I)^-1,    z = scale * W phi

G and Q are sums over all words of all steps (see `solved_rows.py`), in a frozen encoder: every step is exact, and the
result is that of one regression over everything that was learned. G has M^2 numbers, which a step's checkpoint holds.
Source: RanPAC (NeurIPS 2023) and first-session adaptation (ICCV 2023), whose M are 2,000 to 10,000.
Shapes: C tags, H width of a state, M random features.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.decoding import Decoding
from raycner.networks.heads.head import HEADS, HeadConfig
from raycner.networks.heads.solved_rows import SolvedTags
from raycner.networks.losses import IGNORE


class AnalyticTags(SolvedTags):
    """z = scale * W phi, with W of least squares."""

    projection: Tensor
    """[M, H + 1] R."""
    gram: Tensor
    """[M, M] G."""

    def __init__(self, width: int, config: "Analytic") -> None:
        super().__init__(config.features, config.features, config.scheme, config.decoding)
        self.ridge, self.scale = config.ridge, config.scale
        self.register_buffer("projection", torch.randn(config.features, width + 1) / width**0.5)
        self.register_buffer("gram", torch.zeros(config.features, config.features))

    def draw(self, count: int) -> Tensor:
        return 0.01 * torch.randn(count, self.width)

    def effective(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        features = (F.pad(states.words, (0, 1), value=1.0) @ self.projection.T).relu()
        return features, self.scale * self.weight

    def sums(self, states: States, batch: Batch) -> Tensor:
        """[C + M, M] the rows of Q, then those of G."""
        features = self.effective(states, batch)[0][batch.targets != IGNORE]
        return torch.cat([super().sums(states, batch), (features.T @ features).double()])

    def solve(self, sums: Tensor) -> None:
        of_tags, gram = sums.tensor_split([len(self.tags)])
        self.gram += gram.to(self.gram)
        super().solve(of_tags)

    def solution(self) -> Tensor:
        identity = torch.eye(self.width, dtype=torch.float64, device=self.gram.device)
        rows: Tensor = torch.linalg.solve(self.gram.double() + self.ridge * identity, self.sums_of_tags.double().T)
        return rows.T


@HEADS.register("analytic")
class Analytic(HeadConfig):
    """Ridge regression on random features of the word's state; for a frozen encoder."""

    module: ClassVar[type[AnalyticTags]] = AnalyticTags
    scheme: Literal["BIO", "BIOES"] = "BIO"
    decoding: Decoding = "constrained"
    """constrained: the best path on which I- follows only B- or I- of its type (Viterbi); argmax: each word's best tag,
    where a stray I- begins an entity (the code of the CFNER family); strict: a stray I- is O (the SpanKL code)."""
    features: int = 2000
    """M. Published: 2,000 to 10,000. A checkpoint grows with its square: 16 MB for 2,000."""
    ridge: float = 100.0
    """What is added to the diagonal of G. Published: chosen on held-out words, from 0.01 to 10,000."""
    scale: float = 10.0
    """What a regressed value of 1 is worth in logits. It changes confidences, and no tag."""

    def __post_init__(self) -> None:
        if self.features < 1 or self.ridge <= 0 or self.scale <= 0:
            raise ValueError("features is at least 1, ridge and scale are above 0")

    def build(self, width: int) -> AnalyticTags:
        return AnalyticTags(width, self)
