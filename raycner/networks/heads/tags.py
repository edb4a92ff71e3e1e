"""Tag heads: one tag per word, linear or cosine, that grow a few rows with each step.

Shapes: B sentences, T words, C tags, H width (of the effective features: a linear head counts its bias as one more).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from raycner.data.entities import OUTSIDE, Sentence, TypeInventory, decode, split_tag
from raycner.errors import InputError
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.head import HEADS, HeadConfig, Output, Prediction
from raycner.networks.heads.rows import Rows
from raycner.networks.losses import IGNORE, LossSum

O = 0  # noqa: E741  # the field's name for "no entity"
"""The tag of a word outside every entity."""
PREFIXES = {"BIO": ("B", "I"), "BIOES": ("B", "I", "E", "S")}


@dataclass(frozen=True, eq=False)
class TagOutput:
    """What a tag head says, as features and weights with logits == features @ weight.T exactly.

    Both are the EFFECTIVE ones (normalised, scaled, bias as one more column), so distillation losses need nothing else.
    """

    logits: Tensor
    """[B, T, C]"""
    features: Tensor
    """[B, T, H]"""
    weight: Tensor
    """[C, H]"""
    source: States
    """The encoder's states that the features were made of."""

    @property
    def states(self) -> Tensor:
        """[B, T, H] the encoder's state of each word, before any normalisation of the head's."""
        return self.source.words


class TagRows(Rows[Output]):
    """One row of weights per tag: how tags spell entities, and how rows are imprinted."""

    def __init__(self, width: int, scheme: Literal["BIO", "BIOES"]) -> None:
        self.scheme, self.width = scheme, width
        self.prefixes = PREFIXES[scheme]
        super().__init__()

    @abstractmethod
    def columns(self, inventory: TypeInventory) -> list[str]:
        """The tag of each row, were `inventory` all there is; the first is O, and growing only appends."""

    def count(self, inventory: TypeInventory) -> int:
        return len(self.columns(inventory))

    @cached_property
    def tags(self) -> list[str]:
        return self.columns(self.inventory)

    def targets(self, sentences: Sequence[Sentence]) -> Tensor:
        return pad_sequence([self._spell(s) for s in sentences], batch_first=True, padding_value=IGNORE)

    def _spell(self, sentence: Sentence) -> Tensor:
        tags = torch.full((len(sentence.words),), O)
        for entity in sentence.labelled():
            if entity.type not in self._begins:
                tags[entity.start : entity.end] = IGNORE  # a teacher cannot say what was learned after it
                continue
            begin = self._begins[entity.type]
            tags[entity.start : entity.end] = begin + 1
            if self.scheme == "BIO":
                tags[entity.start] = begin
            else:
                tags[entity.start], tags[entity.end - 1] = begin, begin + 2
                if entity.end - entity.start == 1:
                    tags[entity.start] = begin + 3
        return tags

    @cached_property
    def _begins(self) -> dict[str, int]:
        """The row of each type's B-; those of its other tags follow in the scheme's order."""
        return {kind: self.tags.index(f"B-{kind}") for kind in self.inventory.types}

    def _read(self, best: list[int], confidence: list[float]) -> Prediction:
        if not any(best):
            return {}
        found = decode([self.tags[tag] for tag in best])
        return {entity: min(confidence[entity.start : entity.end]) for entity in found}

    def _adopt(self, inventory: TypeInventory, frozen: Tensor, rows: Tensor) -> None:
        super()._adopt(inventory, frozen, rows)
        for cached in ("tags", "_begins"):
            self.__dict__.pop(cached, None)

    def class_means(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        labelled = batch.targets != IGNORE
        features = F.normalize(states.words[labelled], dim=-1)
        said = F.one_hot(batch.targets[labelled], len(self.tags)).to(features.dtype)  # [N, C]
        return said.T @ features, said.sum(0)

    def imprint(self, sums: Tensor, counts: Tensor) -> None:
        kinds = [split_tag(tag)[1] for tag in self.tags]
        norm = self.weight[[row for row in range(self.num_old) if kinds[row]], : self.width].norm(dim=-1).mean()
        with torch.no_grad():
            for row in range(self.num_old, len(kinds)):
                of_its_type = (other for other, kind in enumerate(kinds) if kind == kinds[row])
                source = next((other for other in (row, *of_its_type) if counts[other]), None)
                if source is None:
                    hint = "set model.growth.imprint=none, or give the step sentences with that type"
                    line = f"type {kinds[row]!r} never occurs, so its row cannot be imprinted"
                    raise InputError(line, hint=hint)
                direction = F.normalize(sums[source], dim=-1)
                self.rows[row - len(self.frozen), : self.width] = norm * direction


class TagHead(TagRows[TagOutput]):
    """One tag per word. O is tag 0; the k-th type's tags follow in the scheme's order (BIO: B = 2k + 1, I = 2k + 2)."""

    supports_calibration: ClassVar[bool] = True

    def __init__(self, width: int, scheme: Literal["BIO", "BIOES"], decoding: Literal["argmax", "constrained"]) -> None:
        super().__init__(width, scheme)
        self.decoding = decoding
        self.register_load_state_dict_pre_hook(_drop_shift)  # type: ignore[no-untyped-call]

    @abstractmethod
    def effective(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features [B, T, H] and weight [C, H] whose product is the logits."""

    def linear(self, new_type_bias: float = 0.0) -> tuple[Tensor, Tensor] | None:  # noqa: ARG002
        """A weight [C, H] and a bias [C] whose highest logit is this head's for every state; None where there are none.

        The probabilities are this head's too, if it is linear itself.
        """
        return None

    def columns(self, inventory: TypeInventory) -> list[str]:
        return [OUTSIDE, *(f"{prefix}-{kind}" for kind in inventory.types for prefix in self.prefixes)]

    def forward(self, states: States, batch: Batch) -> TagOutput:
        features, weight = self.effective(states, batch)
        return TagOutput(features @ weight.T, features, weight, states)

    def loss(self, output: TagOutput, batch: Batch) -> LossSum:
        return losses.cross_entropy(output.logits, batch.targets, where=batch.targets != IGNORE)

    def predict(self, states: States, batch: Batch, *, new_type_bias: float = 0.0) -> list[Prediction]:
        best, confidence = self.path(states, batch, new_type_bias)
        best = best.where(batch.mask, O)
        return [self._read(b, c) for b, c in zip(best.tolist(), confidence.tolist(), strict=True)]

    def path(self, states: States, batch: Batch, new_type_bias: float = 0.0) -> tuple[Tensor, Tensor]:
        """The best tag of each word, and its probability: two of [B, T]."""
        probabilities = self.lowered(self.forward(states, batch).logits, new_type_bias).softmax(-1)
        if self.decoding == "argmax":
            confidence, best = probabilities.max(-1)
        else:
            best = viterbi(probabilities.clamp_min(1e-12).log(), batch.mask, self._allowed.to(probabilities.device))
            confidence = probabilities.gather(-1, best[..., None])[..., 0]
        return best, confidence

    @cached_property
    def _allowed(self) -> Tensor:
        """[C, C] which tag may follow which: I (and E) only inside an entity of its type, which in BIOES needs an E."""
        follows = torch.zeros(len(self.tags), len(self.tags), dtype=torch.bool)
        closed = ("O", "E", "S") if self.scheme == "BIOES" else ("O", "B", "I")
        for i, one in enumerate(self.tags):
            for j, two in enumerate(self.tags):
                if two[0] in ("I", "E"):
                    follows[i, j] = one[0] in ("B", "I") and one[1:] == two[1:]
                else:
                    follows[i, j] = one[0] in closed
        return follows

    def lowered(self, logits: Tensor, new_type_bias: float) -> Tensor:
        """[..., C] the logits, those of the newest types lowered by `new_type_bias`."""
        is_new = torch.arange(logits.size(-1), device=logits.device) >= self.num_old
        return logits - new_type_bias * is_new

    def _adopt(self, inventory: TypeInventory, frozen: Tensor, rows: Tensor) -> None:
        super()._adopt(inventory, frozen, rows)
        self.__dict__.pop("_allowed", None)


class LinearTags(TagHead):
    """z = W f + b."""

    def __init__(self, width: int, config: "Linear") -> None:
        self._std = config.init_std
        super().__init__(width, config.scheme, config.decoding)

    def draw(self, count: int) -> Tensor:
        return drawn(count, self.width, self._std)

    def effective(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return F.pad(states.words, (0, 1), value=1.0), self.weight

    def linear(self, new_type_bias: float = 0.0) -> tuple[Tensor, Tensor]:
        weight = self.weight.detach()
        return weight[:, :-1], self.lowered(weight[:, -1], new_type_bias)

    def bake_in(self, delta: float) -> None:
        with torch.no_grad():
            self.weight[self.num_old :, -1] -= delta


class CosineTags(TagHead):
    """z = scale * cos(f, w), with one learned scale."""

    def __init__(self, width: int, config: "Cosine") -> None:
        super().__init__(width, config.scheme, config.decoding)
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

    def linear(self, new_type_bias: float = 0.0) -> tuple[Tensor, Tensor] | None:
        if self.norm_axis == "sequence" or new_type_bias:
            return None
        norm = self.width**0.5  # about that of a state that was layer-normed
        weight = self.scale.detach() / norm * F.normalize(self.weight.detach(), dim=-1)
        return weight, weight.new_zeros(len(weight))


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


@HEADS.register("cosine")
class Cosine(HeadConfig):
    """Cosine similarity to one direction per tag, the head of the CFNER family."""

    module: ClassVar[type[CosineTags]] = CosineTags
    scheme: Literal["BIO", "BIOES"] = "BIO"
    decoding: Literal["argmax", "constrained"] = "argmax"
    scale: float = 16.0
    """Where the learned scale begins. Published: 1.0, too small for a true cosine, whose logits lie within it."""
    norm_axis: Literal["hidden", "sequence"] = "hidden"
    """sequence: each hidden channel is scaled to unit norm along the padded sentence, as the published code does; a
    word's logits then depend on what shares its batch, and one process must see the whole batch."""

    def build(self, width: int) -> CosineTags:
        return CosineTags(width, self)


def _drop_shift(head: nn.Module, weights: dict[str, Tensor], prefix: str, *_: Any) -> None:  # noqa: ARG001
    """Checkpoints of version 0.1 hold the calibration of their read-out, which is no weight."""
    weights.pop(f"{prefix}shift", None)


def drawn(count: int, width: int, std: float) -> Tensor:
    """[count, width + 1] fresh rows of a linear layer: weights from N(0, std), and a bias of zero."""
    return torch.cat([std * torch.randn(count, width), torch.zeros(count, 1)], dim=1)


def viterbi(scores: Tensor, mask: Tensor, allowed: Tensor) -> Tensor:
    """The best path of tags on which every step is allowed; a sentence begins as after O and ends as before O.

    Shapes: scores [B, T, C] log-probabilities, mask [B, T], allowed [C, C] -> [B, T] tags.
    """
    forbidden = torch.where(allowed, 0.0, float("-inf")).to(scores)
    best, pointers = scores[:, 0] + forbidden[O], []
    for t in range(1, scores.size(1)):
        reached, pointer = (best[:, :, None] + forbidden).max(dim=1)
        here = mask[:, t, None]
        best = torch.where(here, reached + scores[:, t], best)
        stay = torch.arange(scores.size(2), device=scores.device).expand_as(pointer)
        pointers.append(torch.where(here, pointer, stay))
    path = [(best + forbidden[:, O]).argmax(-1)]
    for pointer in reversed(pointers):
        path.append(pointer.gather(1, path[-1][:, None])[:, 0])
    return torch.stack(path[::-1], dim=1)
