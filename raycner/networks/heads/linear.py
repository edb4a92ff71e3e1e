"""Linear head: z = W f + b, or with a hidden layer z = W relu(V f + v) + b. The head of the original ExtendNER.

Rows for types to come may share the softmax from the first step on (`preallocate`); their logits are in no prediction:

    L = mean over all words of -log softmax( [z, z_spare] )[y],    z_spare = W_spare f + b_spare

The types of later steps take them over as they were trained. Source: SEQ*+P (ACL 2024). Shapes: S spare rows, H width.
"""

from dataclasses import replace
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raycner.data.entities import TypeInventory
from raycner.hashing import omit_default_from_hash
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.decoding import Decoding
from raycner.networks.heads.growing_rows import linear_rows
from raycner.networks.heads.head import HEADS, GrowthConfig, HeadConfig, LinearLayer
from raycner.networks.heads.tag_head import TagHead, TagOutput
from raycner.networks.heads.tag_set import O


class LinearTags(TagHead):
    """z = W f + b, with f the word's state or a hidden layer over it."""

    can_bake_in: ClassVar[bool] = True
    replays_features: ClassVar[bool] = True
    spare: nn.Parameter | None
    """[S, H + 1] the rows of types to come, those of the next types first; None without any."""

    def __init__(self, width: int, config: "Linear") -> None:
        super().__init__(config.hidden or width, config.scheme, config.decoding, config.extra_rows)
        self.init_std, self.zero_outside = config.init_std, config.zero_outside
        self.preallocate = config.preallocate
        self.register_parameter("spare", None)
        self.hidden = nn.Linear(width, config.hidden) if config.hidden else None

    def draw(self, count: int) -> Tensor:
        return linear_rows(count, self.width, self.init_std)

    def forward(self, states: States, batch: Batch) -> TagOutput:
        output = super().forward(states, batch)
        return output if self.spare is None else replace(output, spare=output.features @ self.spare.T)

    def grow(self, inventory: TypeInventory, growth: GrowthConfig) -> None:
        is_first = not len(self.weight)
        super().grow(inventory, growth)
        if is_first and self.num_spare:
            self.spare = nn.Parameter(self.draw(self.num_spare).to(self.weight))
        elif self.spare is not None:
            self._take_over(self.spare.detach())

    def _take_over(self, spare: Tensor) -> None:
        """Give the rows of the new types the values of the first spare ones."""
        new = self.rows.detach()[self.num_old - len(self.frozen) :]
        taken = min(len(new), len(spare))
        new[:taken] = spare[:taken]
        self.spare = nn.Parameter(spare[taken:].clone()) if taken < len(spare) else None

    def load_shape(self, inventory: TypeInventory) -> None:
        super().load_shape(inventory)
        self.spare = nn.Parameter(torch.zeros_like(self.draw(self.num_spare))) if self.num_spare else None

    @property
    def num_spare(self) -> int:
        """S, as it follows from the types so far."""
        return len(self.tag_set.prefixes) * max(0, self.preallocate - len(self.inventory))

    def effective(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return F.pad(self.features(states), (0, 1), value=1.0), self.effective_weight

    @property
    def effective_weight(self) -> Tensor:
        """[C, width + 1] the rows, that of O zero if it is constant."""
        if not self.zero_outside:
            return self.weight
        return self.weight * (torch.arange(len(self.weight), device=self.weight.device) != O)[:, None]

    def features(self, states: States) -> Tensor:
        """[B, T, width] what the rows read of each word."""
        return states.words if self.hidden is None else self.hidden(states.words).relu()

    def imprint_features(self, states: States, batch: Batch) -> Tensor:  # noqa: ARG002
        return self.features(states)

    def row_features(self, states: States, batch: Batch) -> Tensor:  # noqa: ARG002
        return self.features(states)

    @property
    def row_weights(self) -> Tensor:
        return self.weight.detach()

    @row_weights.setter
    def row_weights(self, rows: Tensor) -> None:
        with torch.no_grad():
            self.rows.copy_(rows[len(self.frozen) :])

    def as_linear(self, new_type_bias: float = 0.0) -> LinearLayer | None:
        if self.hidden is not None:
            return None
        weight = self.effective_weight.detach()
        return self._linear_layer(weight[:, :-1], self.lowered(weight[:, -1], new_type_bias))

    def bake_in(self, delta: float) -> None:
        with torch.no_grad():
            self.weight[self.num_old :, -1] -= delta


@HEADS.register("linear")
class Linear(HeadConfig):
    """One linear layer over the word's state, the head of the original ExtendNER."""

    module: ClassVar[type[LinearTags]] = LinearTags
    scheme: Literal["BIO", "BIOES"] = "BIO"
    decoding: Decoding = "constrained"
    """constrained: the best path on which I- follows only B- or I- of its type (Viterbi); argmax: each word's best tag,
    where a stray I- begins an entity (the code of the CFNER family); strict: a stray I- is O (the SpanKL code)."""
    init_std: float = 0.01
    """New rows are drawn from N(0, init_std), with zero bias."""
    hidden: int = omit_default_from_hash(0)
    """Units of a hidden layer with ReLU between state and rows; 0 is none. Published: none in the papers; as many as
    the BiLSTM has per direction, 128, in the code of the progressive taggers."""
    extra_rows: tuple[str, ...] = omit_default_from_hash(())
    """A type for each further set of rows that it has: merging types sets it."""
    zero_outside: bool = omit_default_from_hash(False)
    """The logit of O is the constant 0 (published: ICE)."""
    preallocate: int = omit_default_from_hash(0)
    """Rows for so many types in all share the softmax from the first step on, and the types of later steps take them
    over; types beyond have new rows. 0: each step draws its own. Published: all types of the run (SEQ*, ACL 2024)."""

    def __post_init__(self) -> None:
        for name in ("hidden", "preallocate"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)}: not negative")

    @property
    def has_spare_rows(self) -> bool:
        return self.preallocate > 0

    def without_spare_rows(self) -> HeadConfig:
        without: HeadConfig = replace(cast(Any, self), preallocate=0)
        return without

    @property
    def is_linear(self) -> bool:
        return not self.hidden

    def build(self, width: int) -> LinearTags:
        return LinearTags(width, self)
