"""Tag heads: one tag per word, with a row of weights per tag.

A new tag head says how it draws rows and how features and rows become logits:

    class MyTags(TagHead):
        def __init__(self, width, config):
            super().__init__(width)
            self.layer = nn.Linear(width, width)

        def draw(self, count):
            return linear_rows(count, self.width, 0.01)

        def effective(self, states, batch):
            return F.pad(self.layer(states.words).relu(), (0, 1), value=1.0), self.weight

Shapes: B sentences, T words, C tags, H width (of the effective features: a linear head counts its bias as one more).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from raycner.data.entities import Entity, Sentence, TypeInventory, split_tag
from raycner.data.metrics import conlleval_chunks
from raycner.errors import InputError
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.decoding import Decoding, decode
from raycner.networks.heads.growing_rows import GrowingRows
from raycner.networks.heads.head import LinearLayer, Output, Prediction
from raycner.networks.heads.tag_set import O, Scheme, TagSet
from raycner.networks.losses import IGNORE, LossSum


@dataclass(frozen=True, eq=False)
class TagOutput:
    """The output of a tag head: features and weights with logits == features @ weight.T exactly.

    Both are the EFFECTIVE ones (normalised, scaled, the bias as one more column), as distillation losses need them.
    """

    logits: Tensor
    """[B, T, C]"""
    features: Tensor
    """[B, T, H]"""
    weight: Tensor
    """[C, H]"""
    source: States
    """The encoder's states from which the features were computed."""
    spare: Tensor | None = None
    """[B, T, S] the logits of rows for types to come, which share the softmax of the head's own loss."""

    @property
    def states(self) -> Tensor:
        """[B, T, H] the encoder's state of each word, before any normalisation by the head."""
        return self.source.words


class TagRows(GrowingRows[Output]):
    """One row of weights per tag: encoding of entities as tags, and imprinting of rows."""

    allows_overlap: ClassVar[bool] = False
    can_imprint: ClassVar[bool] = True

    def __init__(self, width: int, tag_set: TagSet) -> None:
        super().__init__()
        self.width, self.tag_set = width, tag_set

    def count(self, inventory: TypeInventory) -> int:
        return len(self.tag_set.over(inventory))

    @property
    def tags(self) -> tuple[str, ...]:
        """The tag of each row."""
        return self.tag_set.tags

    def targets(self, sentences: Sequence[Sentence]) -> Tensor:
        return pad_sequence([self.tag_set.encode(s) for s in sentences], batch_first=True, padding_value=IGNORE)

    def unknown_tags(self, sentences: Sequence[Sentence]) -> Tensor:
        kinds = [split_tag(tag)[1] for tag in self.tags]
        return torch.tensor([[kind in sentence.open for kind in kinds] for sentence in sentences])

    def _decode(self, tags: Tensor, confidences: Tensor, batch: Batch) -> list[Prediction]:
        """The entities of each sentence's tags. Shapes: two of [B, T]."""
        rows = zip(tags.where(batch.mask, O).tolist(), confidences.tolist(), strict=True)
        return [self.tag_set.decode(tags, confidences) for tags, confidences in rows]

    def _replace(self, inventory: TypeInventory, frozen: Tensor, rows: Tensor) -> None:
        super()._replace(inventory, frozen, rows)
        self.tag_set = self.tag_set.over(inventory)

    def imprint_features(self, states: States, batch: Batch) -> Tensor:  # noqa: ARG002
        """[B, T, width] the features whose direction a row is imprinted with."""
        return states.words

    def class_means(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        labelled = batch.targets != IGNORE
        features = F.normalize(self.imprint_features(states, batch)[labelled], dim=-1)
        one_hot = F.one_hot(batch.targets[labelled], len(self.tags)).to(features.dtype)  # [N, C]
        return one_hot.T @ features, one_hot.sum(0)

    def align(self) -> None:
        norms = self.weight.detach()[:, : self.width].norm(dim=-1)
        with torch.no_grad():
            self.rows[self.num_old - len(self.frozen) :] *= norms[: self.num_old].mean() / norms[self.num_old :].mean()

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
    """One tag per word, from a linear function of features. `width` is the width of a row, without a bias."""

    supports_calibration: ClassVar[bool] = True

    def __init__(
        self,
        width: int,
        scheme: Scheme = "BIO",
        decoding: Decoding = "constrained",
        extra_rows: tuple[str, ...] = (),
    ) -> None:
        super().__init__(width, TagSet(scheme=scheme, extra_rows=extra_rows))
        self.decoding = decoding
        self.register_load_state_dict_pre_hook(_drop_shift)  # type: ignore[no-untyped-call]

    @abstractmethod
    def effective(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features [B, T, H] and weight [C, H] whose product is the logits."""

    def forward(self, states: States, batch: Batch) -> TagOutput:
        features, weight = self.effective(states, batch)
        return TagOutput(features @ weight.T, features, weight, states)

    def loss(self, output: TagOutput, batch: Batch) -> LossSum:
        z = output.logits if output.spare is None else torch.cat([output.logits, output.spare], dim=-1)
        return losses.cross_entropy(z, batch.targets, where=batch.targets != IGNORE)

    def predict(self, states: States, batch: Batch, *, new_type_bias: float = 0.0) -> list[Prediction]:
        return self._decode(*self.path(states, batch, new_type_bias), batch)

    def predict_each(self, states: States, batch: Batch, biases: Sequence[float]) -> list[list[Prediction]]:
        return [self._decode(*path, batch) for path in zip(*self.paths(states, batch, biases), strict=True)]

    def path(self, states: States, batch: Batch, new_type_bias: float = 0.0) -> tuple[Tensor, Tensor]:
        """The best tag of each word, and its probability: two of [B, T]."""
        best, confidence = self.paths(states, batch, [new_type_bias])
        return best[0], confidence[0]

    def paths(self, states: States, batch: Batch, biases: Sequence[float]) -> tuple[Tensor, Tensor]:
        """The best tag of each word under each of D biases, and its probability: two of [D, B, T].

        The logits are computed once, and the paths of all biases are decoded together.
        """
        logits = self.forward(states, batch).logits
        lowered = torch.stack([self.lowered(logits, bias) for bias in biases])  # [D, B, T, C]
        masks = batch.mask.expand(len(biases), -1, -1)
        best, confidence = decode(lowered.flatten(0, 1).softmax(-1), masks.flatten(0, 1), self.tag_set, self.decoding)
        return best.view(masks.shape), confidence.view(masks.shape)

    def type_probabilities(self, states: States, batch: Batch, *, new_type_bias: float = 0.0) -> Tensor:
        """The softmax over tags, summed over the tags of each type."""
        tags = self.lowered(self.forward(states, batch).logits, new_type_bias).softmax(-1)
        types = [self.inventory.types.index(split_tag(tag)[1]) for tag in self.tags[O + 1 :]]
        sums = tags.new_zeros(*tags.shape[:-1], len(self.inventory))
        return sums.index_add(-1, torch.tensor(types, device=tags.device), tags[..., O + 1 :])

    def chunks(self, states: States, batch: Batch, *, new_type_bias: float = 0.0) -> list[set[Entity]]:
        """From the tags of BIOES themselves, which need not be well-formed."""
        if self.tag_set.scheme != "BIOES":
            return super().chunks(states, batch, new_type_bias=new_type_bias)
        best, _ = self.path(states, batch, new_type_bias)
        return [conlleval_chunks([self.tags[tag] for tag in row]) for row in best.where(batch.mask, O).tolist()]

    def lowered(self, logits: Tensor, new_type_bias: float) -> Tensor:
        """[..., C] the logits, those of the newest types lowered by `new_type_bias`."""
        is_new = torch.arange(logits.size(-1), device=logits.device) >= self.num_old
        return logits - new_type_bias * is_new

    def imprint_features(self, states: States, batch: Batch) -> Tensor:
        features, _ = self.effective(states, batch)
        return features[..., : self.width]

    def _linear_layer(self, weight: Tensor, bias: Tensor, *differences: str) -> LinearLayer:
        """A layer over the word's state with BIO labels, which read the tags of BIOES alike."""
        if self.decoding != "argmax":
            differences = (*differences, _READ_BY_A_PIPELINE[self.decoding])
        if self.tag_set.scheme == "BIOES":
            line = "The tags were BIOES: of S- and E- rows the labels here are B- and I-, so some labels occur twice."
            differences = (*differences, line)
        if self.tag_set.extra_rows:
            differences = (*differences, "Types were merged: their labels occur once for each type of before.")
        return LinearLayer([_as_bio(tag) for tag in self.tags], weight, bias, differences)


_READ_BY_A_PIPELINE = {
    "constrained": "raycner reads the best path of tags that may follow one another, a pipeline each word by itself.",
    "strict": "raycner reads an I- that continues no entity as O, a pipeline as the beginning of an entity.",
}


def _as_bio(tag: str) -> str:
    prefix, kind = split_tag(tag)
    return f"{ {'S': 'B', 'E': 'I'}.get(prefix, prefix) }-{kind}" if kind else tag


def _drop_shift(head: nn.Module, weights: dict[str, Tensor], prefix: str, *_: Any) -> None:  # noqa: ARG001
    """Checkpoints of version 0.1 hold the calibration of their read-out, which is no weight."""
    weights.pop(f"{prefix}shift", None)
