"""Span head: scores every span of words for every type, independently of all others.

    z_ije = < s_e(i), t_e(j) > / sqrt(K),  s_e(i) = W_e x_i + b_e,  t_e(j) = V_e x_j + c_e,  i <= j
    p_ije = sigmoid(z_ije)

One matrix product computes the start and end vectors of all types; a type that is not learned yet has no rows, no
scores and no cost. Only pairs i <= j are scored: the spans of a sentence are ordered by last word, then by first word,
so the spans of a shorter sentence are a prefix of those of a longer one, and padding is at the end.
Source: SpanKL (AAAI 2023), https://arxiv.org/abs/2302.12200.
Shapes: B sentences, T words, P spans, E types, K vector width, H width, L the maximal number of types of one span.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.networks import losses
from raycner.networks.batch import Batch, to_device
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.growing_rows import GrowingRows
from raycner.networks.heads.head import HEADS, HeadConfig, Prediction
from raycner.networks.losses import IGNORE, LossSum

NOTHING = 0
"""The target of a span that is no entity."""
BLOCK = 32
"""The number of last words whose spans are scored at once, so that few cells below the diagonal are computed."""


@dataclass(frozen=True, eq=False)
class SpanOutput:
    """The output of a span head."""

    logits: Tensor
    """[B, P, E]"""


class SpanHead(GrowingRows[SpanOutput]):
    """Start and end vectors per type. A target lists the types of a span, from 1, padded with NOTHING."""

    lowest_threshold: ClassVar[float] = 0.01
    prior_threshold: ClassVar[float] = 0.05
    """The best of WNUT17 in Split-All, by final macro-F1."""
    refused_inits: ClassVar[Mapping[str, str]] = {"zeros": "gives a span head vectors whose products have no gradient"}

    def __init__(self, width: int, config: "Spans") -> None:
        super().__init__()
        self.width, self.config = width, config

    def count(self, inventory: TypeInventory) -> int:
        return len(inventory)

    @property
    def limit(self) -> str:
        return f"wider than {self.config.max_width} words" if self.config.max_width else ""

    def left_out(self, sentence: Sentence) -> int:
        return sum(0 < self.config.max_width < entity.end - entity.start for entity in sentence.entities)

    def draw(self, count: int) -> Tensor:
        """[count, 2 K (H + 1)] from N(0, 2 / H), as in the published code, with a bias of zero."""
        rows = torch.zeros(count, 2 * self.config.vector, self.width + 1)
        rows[..., :-1].normal_(std=(2 / self.width) ** 0.5)
        return rows.flatten(1)

    def targets(self, sentences: Sequence[Sentence]) -> Tensor:
        """[B, P, L] types of each span; IGNORE past a sentence's end, and on types that are not in the inventory."""
        sizes = [num_spans(len(sentence.words), self.config.max_width) for sentence in sentences]
        labelled = [self._types_by_span(sentence) for sentence in sentences]
        depth = max((len(types) for spans in labelled for types in spans.values()), default=1)
        targets = torch.full((len(sentences), max(sizes), depth), IGNORE)
        for row, (size, spans) in enumerate(zip(sizes, labelled, strict=True)):
            targets[row, :size] = NOTHING
            for span, types in spans.items():
                targets[row, span, : len(types)] = torch.tensor(types) if IGNORE not in types else IGNORE
        return targets

    def _types_by_span(self, sentence: Sentence) -> dict[int, list[int]]:
        """The types of each span that has any, by the span's index."""
        numbers = {kind: number for number, kind in enumerate(self.inventory.types, start=1)}
        nested = self.config.decoding == "nested"
        entities = sentence.entities | sentence.pseudo if nested else sentence.labelled()
        types: dict[int, list[int]] = {}
        for entity in sorted(entities):
            if not 0 < self.config.max_width < entity.end - entity.start:
                span = num_spans(entity.end, self.config.max_width) - (entity.end - entity.start)
                types.setdefault(span, []).append(numbers.get(entity.type, IGNORE))
        return types

    def output_mask(self, mask: Tensor) -> Tensor:
        first, last = pairs(mask.size(1), self.config.max_width)
        return mask[:, first] & mask[:, last]

    def mask_targets(self, targets: Tensor, mask: Tensor) -> Tensor:
        return targets.where(self.output_mask(mask)[..., None], IGNORE)

    def forward(self, states: States, batch: Batch) -> SpanOutput:  # noqa: ARG002
        size, length, _ = states.words.shape
        weight = self.weight.view(-1, self.width + 1)  # [2 E K, H + 1]
        vectors = F.linear(F.pad(states.words, (0, 1), value=1.0), weight)
        starts, ends = vectors.view(size, length, -1, 2, self.config.vector).permute(3, 0, 2, 1, 4)  # [B, E, T, K] each
        logits = scores(starts * self.config.vector**-0.5, ends, self.config.max_width)
        return SpanOutput(logits.transpose(1, 2))

    def loss(self, output: SpanOutput, batch: Batch, *, first: int = 0) -> LossSum:
        """BCE of the types from number `first` on; the columns of the others are ignored."""
        labels = batch.targets - NOTHING - 1 - first
        bce = losses.multi_label(
            output.logits[..., first:], labels, self.labelled(batch), positive_weight=self.config.positive_weight
        )
        return self.reduce(bce, batch)

    def labelled(self, batch: Batch) -> Tensor:
        """[B, P] the spans that have a target."""
        return batch.targets[..., 0] != IGNORE

    def reduce(self, loss: LossSum, batch: Batch) -> LossSum:
        """A loss summed over spans, divided by the number of spans or of sentences as `reduction` says."""
        spans = self.labelled(batch)
        return loss.over(spans.any(-1) if self.config.reduction == "sentence" else spans)

    def predict(self, states: States, batch: Batch, *, new_type_bias: float = 0.0) -> list[Prediction]:  # noqa: ARG002
        thresholds = dict.fromkeys(self.inventory.types, self.config.threshold)
        return [
            self.select(candidates, thresholds) for candidates in self.candidates(states, batch, self.config.threshold)
        ]

    def candidates(
        self,
        states: States,
        batch: Batch,
        lowest: float,
        *,
        new_type_bias: float = 0.0,  # noqa: ARG002
    ) -> list[Prediction]:
        confidence = self.forward(states, batch).logits.sigmoid()
        chosen = (confidence >= lowest) & self.output_mask(batch.mask)[..., None]
        rows, spans, types = (places.tolist() for places in chosen.nonzero(as_tuple=True))
        first, last = (words[spans].tolist() for words in pairs(batch.mask.size(1), self.config.max_width))
        candidates: list[Prediction] = [{} for _ in range(len(batch.mask))]
        for row, start, end, kind, p in zip(rows, first, last, types, confidence[chosen].tolist(), strict=True):
            candidates[row][Entity(start, end + 1, self.inventory.types[kind])] = p
        return candidates

    def select(self, candidates: Prediction, thresholds: Mapping[str, float]) -> Prediction:
        """A threshold is an offset of the logits: of overlapping spans, flat keeps the one farthest above its own.

        margin(e) = odds(p_e) / odds(threshold of e's type),  odds(p) = p / (1 - p)
        """
        entities = super().select(candidates, thresholds)
        if self.config.decoding == "nested":
            return entities
        margins = {entity: odds(p) / odds(thresholds[entity.type]) for entity, p in entities.items()}
        return without_overlaps(entities, margins)


def num_spans(words: int, widest: int = 0) -> int:
    """The number of spans of a sentence, with at most `widest` words each unless that is 0.

    T (T + 1) / 2, less the spans that are too wide.
    """
    narrow = min(words, widest or words)
    return narrow * (narrow + 1) // 2 + (words - narrow) * narrow


@lru_cache(maxsize=256)
def pairs(words: int, widest: int = 0) -> tuple[Tensor, Tensor]:
    """The first and the last word of every span, in their order: two of [P]."""
    last, first = band(range(words), 0, widest).nonzero(as_tuple=True)
    return first, last


def band(last: range, begin: int, widest: int) -> Tensor:
    """[last words, first words from `begin` to the end of `last`] true where a pair is a span."""
    ends = torch.arange(last.start, last.stop)[:, None]
    starts = torch.arange(begin, last.stop)
    return (starts <= ends) & (starts > ends - (widest or last.stop))


@lru_cache(maxsize=256)
def cells_of_spans(last: range, begin: int, widest: int) -> Tensor:
    """[spans] the places of the spans in the flattened `band`."""
    return band(last, begin, widest).flatten().nonzero()[:, 0]


def scores(starts: Tensor, ends: Tensor, widest: int = 0) -> Tensor:
    """The products of each start with each end that is not before it. Shapes: two of [B, E, T, K] -> [B, E, P]."""
    size, types, length, _ = starts.shape
    starts, ends = starts.flatten(0, 1), ends.flatten(0, 1)
    parts = []
    for at in range(0, length, BLOCK):
        last = range(at, min(at + BLOCK, length))
        begin = max(0, at + 1 - (widest or length))
        cells = torch.bmm(ends[:, at : last.stop], starts[:, begin : last.stop].transpose(1, 2))
        spans = cells_of_spans(last, begin, widest)
        parts.append(cells.flatten(1).index_select(1, to_device(spans, cells.device)))
    return torch.cat(parts, dim=1).view(size, types, -1)


def odds(p: float) -> float:
    """p / (1 - p)."""
    return p / (1 - p) if p < 1 else float("inf")


def without_overlaps(prediction: Prediction, margins: Mapping[Entity, float]) -> Prediction:
    """Entities that do not overlap, chosen greedily by falling margin, then by falling confidence."""
    taken: set[int] = set()
    flat: Prediction = {}
    for entity in sorted(prediction, key=lambda entity: (-margins[entity], -prediction[entity], entity)):
        words = range(entity.start, entity.end)
        if taken.isdisjoint(words):
            taken.update(words)
            flat[entity] = prediction[entity]
    return flat


@HEADS.register("spans")
class Spans(HeadConfig):
    """A score for every span and type, the head of SpanKL. The published values are the defaults."""

    module: ClassVar[type[SpanHead]] = SpanHead
    vector: int = 50
    """K, the width of start and end vectors. Published: 50."""
    max_width: int = 0
    """The maximal number of words of a span; 0 is no limit, as published. Wider entities are neither learned nor
    predicted."""
    threshold: float = 0.5
    """The probability that makes a span an entity. Published: 0.5."""
    decoding: Literal["flat", "nested"] = "flat"
    """flat: of overlapping spans the most confident is kept. nested: all are kept, and pseudo-entities are learned
    along with gold ones."""
    positive_weight: float = 1.0
    """The weight of an entity in the loss, relative to other spans. Published: 1."""
    reduction: Literal["sentence", "span"] = "sentence"
    """A loss is a mean over types, summed over a sentence's spans and averaged over sentences, as published: long
    sentences dominate. span: averaged over spans. Distillation is divided in the same way."""

    def __post_init__(self) -> None:
        if self.vector < 1 or self.max_width < 0:
            raise ValueError("vector is at least 1, and max_width is not negative")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold {self.threshold}: a probability above 0 and below 1")
        if self.positive_weight <= 0:
            raise ValueError(f"positive_weight {self.positive_weight}: above 0")

    def build(self, width: int) -> SpanHead:
        return SpanHead(width, self)
