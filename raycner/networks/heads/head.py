"""Head: how entities become targets, how states become entities, and how the output layer grows."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.data.metrics import conlleval
from raycner.hashing import omit_default_from_hash
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import Encoder, States
from raycner.networks.losses import IGNORE, LossSum
from raycner.registry import Registry

Prediction = dict[Entity, float]
"""Entities and the confidence in each, in (0, 1]."""
Output = TypeVar("Output")


@dataclass(frozen=True, kw_only=True)
class GrowthConfig:
    """How an output layer grows when new types arrive."""

    freeze_old: bool = False
    """Neither train nor decay the rows of O and of the old types (published for every system of the CFNER family)."""
    init: Literal["normal", "moments", "standard", "zeros", "reset"] = "normal"
    """New rows: normal, as the head draws its first ones; moments, from N(m, s^2), where m and s are the mean and the
    standard deviation of all trained weights (progressive NER); standard, from N(0, 1); zeros. reset draws every row
    again, so that the trained ones are lost, as the published code of progressive NER does."""
    imprint: Literal["none", "train", "dev"] = "none"
    """Replace the new rows by the mean direction of the features of words with the new tags, at the old rows' mean
    norm; from the step's training sentences, or from dev as the CFNER code does."""

    align: bool = omit_default_from_hash(default=False)
    """End a step by scaling the new rows to the mean norm of the old ones (tag heads), which holds new types back that
    grew large. Source: weight aligning (CVPR 2020)."""

    def __post_init__(self) -> None:
        if self.init == "reset" and self.freeze_old:
            raise ValueError("init=reset leaves no trained row that freeze_old could hold")

    def extend(self, trained: Tensor, count: int, draw: Callable[[int], Tensor]) -> Tensor:
        """[C', H] trained rows -> [C' + count, H]; `draw(n)` returns n rows as the head's first ones are drawn."""
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


class LinearLayer(NamedTuple):
    """A head as a linear layer over the words' states: logits = weight @ state + bias."""

    labels: Sequence[str]
    """[C] a BIO tag per row."""
    weight: Tensor
    """[C, H]"""
    bias: Tensor
    """[C]"""
    differences: Sequence[str] = ()
    """What the layer computes differently than the head, in sentences for a model card."""


class Head(nn.Module, ABC, Generic[Output]):
    """How entities become targets, how states become entities, and how the output layer grows.

    Contract: `predict` inverts `targets` on a perfect output; growing keeps old columns bit for bit; a teacher's head
    accepts the student's batch; every parameter gets a gradient; one output tensor covers the whole inventory.
    """

    inventory: TypeInventory
    supports_calibration: ClassVar[bool] = False
    """Whether `predict` can lower the logits of the newest types."""
    can_bake_in: ClassVar[bool] = False
    """Whether `bake_in` can lower them in every output."""
    allows_overlap: ClassVar[bool] = True
    """Whether the entities of a sentence may overlap."""
    reads_slots: ClassVar[bool] = False
    """Whether it reads other states than those of the words."""
    lowest_threshold: ClassVar[float] = 0.0
    """No lower threshold is chosen on dev: a head that scores every span would have too many candidates."""
    prior_threshold: ClassVar[float] = 0.0
    """The threshold where dev is too small to choose one; 0 keeps every entity of `predict`."""
    is_solved: ClassVar[bool] = False
    """Whether it has `sums` and `solve`: it is computed from sums over a step's words, without gradient descent."""
    replays_features: ClassVar[bool] = False
    """Whether it has `tags`, `row_features` and `row_weights`: one row per tag, over features of words."""
    can_imprint: ClassVar[bool] = False
    """Whether it has `class_means` and `imprint`."""
    refused_inits: ClassVar[Mapping[str, str]] = {}
    """Values of `growth.init` that it cannot be trained from, and the reason of each."""

    @property
    @abstractmethod
    def num_old(self) -> int:
        """The number of output columns before the newest step: those of the teacher's head."""

    @property
    def limit(self) -> str:
        """Which entities it neither learns nor predicts, as in "wider than 8 words"; empty where there are none."""
        return ""

    def left_out(self, sentence: Sentence) -> int:  # noqa: ARG002
        """How many entities of a sentence are beyond `limit`."""
        return 0

    @abstractmethod
    def targets(self, sentences: Sequence[Sentence]) -> Tensor:
        """[B, T] or a shape of its own; IGNORE where there is no word."""

    def output_mask(self, mask: Tensor) -> Tensor:
        """[B, P] the places of the output whose words have a state. Shapes: mask [B, T].

        The places are the words, unless the head overrides this.
        """
        return mask

    def mask_targets(self, targets: Tensor, mask: Tensor) -> Tensor:
        """The targets, with IGNORE for words without a state. Shapes: mask [B, T]."""
        return targets.where(mask, IGNORE)

    def unknown_tags(self, sentences: Sequence[Sentence]) -> Tensor:  # noqa: ARG002
        """[B, C] the tags that words outside every annotation may have: those of the sentence's open types."""
        raise TypeError(f"{type(self).__name__} has no tags")

    @abstractmethod
    def forward(self, states: States, batch: Batch) -> Output: ...

    @abstractmethod
    def loss(self, output: Output, batch: Batch) -> LossSum:
        """The head's supervised loss over everything that is labelled."""

    @abstractmethod
    def predict(self, states: States, batch: Batch, *, new_type_bias: float = 0.0) -> list[Prediction]:
        """One prediction per sentence, from the states: a generator does not decode the output of `forward`.

        The logits of the newest types are lowered by `new_type_bias`, where the head supports calibration.
        """

    def predict_each(self, states: States, batch: Batch, biases: Sequence[float]) -> list[list[Prediction]]:
        """`predict` under each of several new-type biases; a head that decodes logits computes them once."""
        return [self.predict(states, batch, new_type_bias=bias) for bias in biases]

    def chunks(self, states: States, batch: Batch, *, new_type_bias: float = 0.0) -> list[set[Entity]]:
        """What the conlleval script of 2004 reads in the prediction of each sentence, written as BIOES tags."""
        return [conlleval(entities) for entities in self.predict(states, batch, new_type_bias=new_type_bias)]

    def candidates(
        self, states: States, batch: Batch, lowest: float, *, new_type_bias: float = 0.0
    ) -> list[Prediction]:
        """All that thresholds of at least `lowest` may make an entity, by sentence; candidates may overlap."""
        predictions = self.predict(states, batch, new_type_bias=new_type_bias)
        return [{entity: p for entity, p in prediction.items() if p >= lowest} for prediction in predictions]

    def type_probabilities(self, states: States, batch: Batch, *, new_type_bias: float = 0.0) -> Tensor:
        """[B, T, E] the probability of each type at each word; the rest to 1 is that of no entity.

        The confidence of the predicted entity that covers the word, unless the head has a distribution per word.
        """
        numbers = {kind: number for number, kind in enumerate(self.inventory.types)}
        probabilities = torch.zeros(*batch.mask.shape, len(numbers), device=batch.mask.device)
        for row, prediction in enumerate(self.predict(states, batch, new_type_bias=new_type_bias)):
            for entity, confidence in prediction.items():
                probabilities[row, entity.start : entity.end, numbers[entity.type]].clamp_(min=confidence)
        return probabilities / probabilities.sum(-1, keepdim=True).clamp(min=1)

    def select(self, candidates: Prediction, thresholds: Mapping[str, float]) -> Prediction:
        """The entities that thresholds, one per type, make of the candidates of one sentence.

        With equal thresholds, raising them removes entities and adds none.
        """
        return {entity: p for entity, p in candidates.items() if p >= thresholds[entity.type]}

    @abstractmethod
    def grow(self, inventory: TypeInventory, growth: GrowthConfig) -> None:
        """Add output columns for the new types of `inventory`; its old types are those of this head.

        The first `grow` makes the first columns.
        """

    def init_from_type_names(self, encoder: Encoder) -> None:
        """Initialise the new types by the encoder's vectors of their names, after a `grow` with init=normal."""

    def sums(self, states: States, batch: Batch) -> Tensor:  # noqa: ARG002
        """What `solve` needs of a batch, as float64; sums of batches are those of all their words."""
        raise TypeError(f"{type(self).__name__} is trained by gradients")

    def solve(self, sums: Tensor) -> None:  # noqa: ARG002
        """Compute the rows from the sums over the words of a step, and of all steps before."""
        raise TypeError(f"{type(self).__name__} is trained by gradients")

    def class_means(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """The sums of unit features per tag [C, H], and their number [C]: what `imprint` needs of a batch."""
        raise TypeError(f"{type(self).__name__} has no rows to imprint")

    def imprint(self, sums: Tensor, counts: Tensor) -> None:  # noqa: ARG002
        """Set the direction of each new row to the mean feature of its tag."""
        raise TypeError(f"{type(self).__name__} has no rows to imprint")

    @property
    def tags(self) -> tuple[str, ...]:
        """The tag of each row."""
        raise TypeError(f"{type(self).__name__} has no tags")

    def row_features(self, states: States, batch: Batch) -> Tensor:  # noqa: ARG002
        """[B, T, H] what the rows read of each word."""
        raise TypeError(f"{type(self).__name__} has no rows over features of words")

    @property
    def row_weights(self) -> Tensor:
        """[C, H + 1] the rows over these features, the bias last."""
        raise TypeError(f"{type(self).__name__} has no rows over features of words")

    @row_weights.setter
    def row_weights(self, rows: Tensor) -> None:  # noqa: ARG002
        raise TypeError(f"{type(self).__name__} has no rows over features of words")

    def align(self) -> None:
        """Scale the new rows to the mean norm of the old ones."""
        raise TypeError(f"{type(self).__name__} has no rows to align")

    @abstractmethod
    def load_shape(self, inventory: TypeInventory) -> None:
        """Take the shape of a checkpoint over `inventory`, whose weights are loaded next."""

    @abstractmethod
    def finalize(self) -> None:
        """Forget which rows were new or frozen, so that `state_dict` depends on the inventory alone."""

    def as_linear(self, new_type_bias: float = 0.0) -> LinearLayer | None:  # noqa: ARG002
        """A linear layer with the same best tag of every state; None if there is none."""
        return None

    def bake_in(self, delta: float) -> None:
        """Lower the logits of the newest types by `delta` in every output, not in one read-out alone."""
        raise TypeError(f"{type(self).__name__} has no bias to lower by {delta}")


HEADS = Registry("head", group="raycner.heads")


class HeadConfig(ABC):
    """The settings of a head. `model.head.name` chooses the kind."""

    family: ClassVar[Registry] = HEADS
    name: ClassVar[str]
    module: ClassVar[type[Head[Any]]]

    @property
    def batch_dependent(self) -> str:
        """The setting that makes the logits of a word depend on the other sentences of its batch; empty if none."""
        return ""

    @property
    def is_linear(self) -> bool:
        """Whether `Head.as_linear` has a layer, unless a calibration prevents it."""
        return False

    @property
    def has_spare_rows(self) -> bool:
        """Whether rows for types to come share the softmax of the head's own loss."""
        return False

    def without_spare_rows(self) -> "HeadConfig":
        """The settings of a head in which no rows wait for types to come."""
        return self

    @abstractmethod
    def build(self, width: int) -> Head[Any]:
        """A head over states of `width` numbers, without types. `Head.grow` makes its first output columns."""

    def identity(self) -> str:
        """A digest of the pretrained weights that it starts from; empty if there are none."""
        return ""
