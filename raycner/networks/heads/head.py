"""Heads: how entities become targets, how states become entities, and how both grow.

Dropping a file here registers it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import Encoder, States
from raycner.networks.losses import IGNORE, LossSum
from raycner.registry import Registry

Prediction = dict[Entity, float]
"""Entities and the confidence in each, in (0, 1]."""
Output = TypeVar("Output")


@dataclass(frozen=True, kw_only=True)
class GrowthConfig:
    """What becomes of an output layer when new types arrive."""

    freeze_old: bool = False
    """Hold O and the old types' rows still, weight decay included (published for every system of the CFNER family)."""
    init: Literal["normal", "moments", "standard", "zeros", "reset"] = "normal"
    """New rows: normal, as the head draws its first ones; moments, from N(m, s^2), where m and s are the mean and the
    standard deviation of all trained weights (progressive NER); standard, from N(0, 1); zeros. reset draws every row
    as the first ones, so that the trained ones are lost: what the published code of progressive NER does."""
    imprint: Literal["none", "train", "dev"] = "none"
    """Replace the new rows by the mean direction of the features that carry the new tags, at the old rows' mean norm;
    from the step's training sentences, or from dev as the CFNER code does."""

    def __post_init__(self) -> None:
        if self.init == "reset" and self.freeze_old:
            raise ValueError("init=reset leaves no trained row that freeze_old could hold")

    def extend(self, trained: Tensor, count: int, draw: Callable[[int], Tensor]) -> Tensor:
        """[C', H] trained rows -> [C' + count, H]: `draw` gives so many rows as a head's first ones are."""
        if self.init == "reset":
            return draw(len(trained) + count).to(trained)
        if self.init == "normal":
            fresh = draw(count)
        elif self.init == "zeros":
            fresh = torch.zeros(count, trained.size(1))
        else:
            fresh = torch.randn(count, trained.size(1))
        if self.init == "moments":
            fresh = trained.mean().cpu() + trained.std().cpu() * fresh
        return torch.cat([trained, fresh.to(trained)])


class Head(nn.Module, ABC, Generic[Output]):
    """How entities become targets, how states become entities, and how both grow.

    Contract: `predict` inverts `targets` on a perfect output; growing keeps old columns bit for bit; a teacher's head
    accepts the student's batch; every parameter gets a gradient; one output tensor covers the whole inventory.
    """

    inventory: TypeInventory
    supports_calibration: ClassVar[bool] = False
    """Whether `predict` can lower the logits of the newest types."""

    @property
    @abstractmethod
    def num_old(self) -> int:
        """The number of output columns before the newest step: those of the teacher's head."""

    @abstractmethod
    def targets(self, sentences: Sequence[Sentence]) -> Tensor:
        """[B, T] or the family's own shape; IGNORE where there is no word."""

    def output_mask(self, mask: Tensor) -> Tensor:
        """[B, P] the places of its output that are about words the encoder has a state for, of `mask` [B, T].

        Its places are the words, unless a head says otherwise.
        """
        return mask

    def mask_targets(self, targets: Tensor, mask: Tensor) -> Tensor:
        """The same targets, with nothing asked of words that the encoder has no state for. Shapes: mask [B, T]."""
        return targets.where(mask, IGNORE)

    @abstractmethod
    def forward(self, states: States, batch: Batch) -> Output: ...

    @abstractmethod
    def loss(self, output: Output, batch: Batch) -> LossSum:
        """The family's supervised loss over everything that is labelled."""

    @abstractmethod
    def predict(self, states: States, batch: Batch, *, new_type_bias: float = 0.0) -> list[Prediction]:
        """One prediction per sentence. No decoding of `forward`'s output: a generator predicts by its own forward.

        The logits of the newest types are lowered by `new_type_bias`, where the head supports calibration.
        """

    @abstractmethod
    def grow(self, inventory: TypeInventory, growth: GrowthConfig) -> None:
        """Make room for the new types of `inventory`, whose old types are this head's."""

    def init_from_type_names(self, encoder: Encoder) -> None:
        """Begin the new types at what the encoder knows of their names, where the head can: after a normal `grow`."""

    def class_means(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """What imprinting needs of a batch: summed unit features per tag [C, H], and how many there were [C]."""
        raise TypeError(f"{type(self).__name__} has no rows to imprint")

    def imprint(self, sums: Tensor, counts: Tensor) -> None:  # noqa: ARG002
        """Point the new rows at their tags' mean features."""
        raise TypeError(f"{type(self).__name__} has no rows to imprint")

    @abstractmethod
    def load_shape(self, inventory: TypeInventory) -> None:
        """Become the frame that a checkpoint over `inventory` fills."""

    @abstractmethod
    def finalize(self) -> None:
        """Forget which rows were new or frozen, so that `state_dict` depends on the inventory alone."""

    def bake_in(self, delta: float) -> None:
        """Lower the logits of the newest types by `delta` in every output, not in one read-out alone."""
        raise TypeError(f"{type(self).__name__} has no bias to lower by {delta}")


HEADS = Registry("head")


class HeadConfig(ABC):
    """How a head is made; a kind is chosen by `model.head.name`."""

    family: ClassVar[Registry] = HEADS
    name: ClassVar[str]
    module: ClassVar[type[Head[Any]]]

    @abstractmethod
    def build(self, width: int) -> Head[Any]:
        """A head over states of `width` numbers, with no types yet."""

    def identity(self) -> str:
        """A digest of the weights it starts from, wherever they lie; empty when the configuration says it all."""
        return ""
