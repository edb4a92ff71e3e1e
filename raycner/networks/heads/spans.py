"""Span head: every span of words is scored for every type, independently of all others.

    z_ije = < s_e(i), t_e(j) > / sqrt(K),  s_e(i) = W_e x_i + b_e,  t_e(j) = V_e x_j + c_e,  i <= j
    p_ije = sigmoid(z_ije)

One matrix product makes the start and end vectors of all types; a type that is not learned yet has no rows, no scores
and no cost. Only spans are scored: a sentence's are in one row, by their last word and then by their first, so that a
shorter sentence's are the first ones of a longer sentence's, and padding stands at the end.
Source: SpanKL (AAAI 2023).
Shapes: B sentences, T words, P spans, E types, K numbers a vector, H width, L types that one span has at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.head import HEADS, HeadConfig, Prediction
from raycner.networks.heads.rows import Rows
from raycner.networks.losses import IGNORE, LossSum

NOTHING = 0
"""The target of a span that is no entity."""
BLOCK = 32
"""Spans are scored for so many last words at once: of what is computed, little lies below the diagonal."""


@dataclass(frozen=True, eq=False)
class SpanOutput:
    """What a span head says."""

    logits: Tensor
    """[B, P, E]"""


class SpanHead(Rows[SpanOutput]):
    """Start and end vectors per type. A target names a span's types, the first being 1; NOTHING fills up."""

    def __init__(self, width: int, config: "Spans") -> None:
        self.width, self.config = width, config
        super().__init__()

    def count(self, inventory: TypeInventory) -> int:
        return len(inventory)

    def draw(self, count: int) -> Tensor:
        """[count, 2 K (H + 1)] from N(0, 2 / H), as the published code draws them, with a bias of zero."""
        fresh = torch.zeros(count, 2 * self.config.vector, self.width + 1)
        fresh[..., :-1].normal_(std=(2 / self.width) ** 0.5)
        return fresh.flatten(1)

    def targets(self, sentences: Sequence[Sentence]) -> Tensor:
        """[B, P, L] types of each span; IGNORE past a sentence's end, and where a type is unknown."""
        places = [num_spans(len(sentence.words), self.config.max_width) for sentence in sentences]
        named = [self._named(sentence) for sentence in sentences]
        deep = max((len(types) for spans in named for types in spans.values()), default=1)
        targets = torch.full((len(sentences), max(places), deep), IGNORE)
        for row, (size, spans) in enumerate(zip(places, named, strict=True)):
            targets[row, :size] = NOTHING
            for place, types in spans.items():
                known = IGNORE not in types  # a teacher cannot say what was learned after it
                targets[row, place, : len(types)] = torch.tensor(types) if known else IGNORE
        return targets

    def _named(self, sentence: Sentence) -> dict[int, list[int]]:
        """The types of each place that has any."""
        nested = self.config.decoding == "nested"
        said = sentence.entities | sentence.pseudo if nested else sentence.labelled()
        named: dict[int, list[int]] = {}
        for entity in sorted(said):
            if not 0 < self.config.max_width < entity.end - entity.start:
                place = num_spans(entity.end, self.config.max_width) - (entity.end - entity.start)
                named.setdefault(place, []).append(self._numbers.get(entity.type, IGNORE))
        return named

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {kind: number for number, kind in enumerate(self.inventory.types, start=1)}

    def output_mask(self, mask: Tensor) -> Tensor:
        first, last = pairs(mask.size(1), self.config.max_width)
        return mask[:, first] & mask[:, last]

    def mask_targets(self, targets: Tensor, mask: Tensor) -> Tensor:
        return targets.where(self.output_mask(mask)[..., None], IGNORE)

    def forward(self, states: States, batch: Batch) -> SpanOutput:  # noqa: ARG002
        size, length, _ = states.words.shape
        weight = self.weight.view(-1, self.width + 1)  # [2 E K, H + 1]
        said = F.linear(F.pad(states.words, (0, 1), value=1.0), weight)
        starts, ends = said.view(size, length, -1, 2, self.config.vector).permute(3, 0, 2, 1, 4)  # [B, E, T, K] each
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
        sure = self.forward(states, batch).logits.sigmoid()
        flat = self.config.decoding == "flat"
        if flat:  # of two types of one span only one can stay
            sure, types = sure.max(-1, keepdim=True)
        chosen = (sure >= self.config.threshold) & self.output_mask(batch.mask)[..., None]
        rows, places, kinds = chosen.nonzero(as_tuple=True)
        first, last = (of[places.cpu()].tolist() for of in pairs(batch.mask.size(1), self.config.max_width))
        named = (types[chosen] if flat else kinds).tolist()
        found: list[Prediction] = [{} for _ in range(len(batch.mask))]
        for row, start, end, kind, p in zip(rows.tolist(), first, last, named, sure[chosen].tolist(), strict=True):
            found[row][Entity(start, end + 1, self.inventory.types[kind])] = p
        return [without_overlaps(said) for said in found] if flat else found

    def _adopt(self, inventory: TypeInventory, frozen: Tensor, rows: Tensor) -> None:
        super()._adopt(inventory, frozen, rows)
        self.__dict__.pop("_numbers", None)


def num_spans(words: int, widest: int = 0) -> int:
    """How many spans so many words have; of at most `widest` words each, unless that is 0.

    T (T + 1) / 2, less what is too wide.
    """
    narrow = min(words, widest or words)
    return narrow * (narrow + 1) // 2 + (words - narrow) * narrow


@lru_cache(maxsize=256)
def pairs(words: int, widest: int = 0) -> tuple[Tensor, Tensor]:
    """The first and the last word of every span, in their order: two of [P]."""
    last, first = band(range(words), 0, widest).nonzero(as_tuple=True)
    return first, last


def band(last: range, begin: int, widest: int) -> Tensor:
    """[last words, first words from `begin` to the end of `last`] which pairs are spans."""
    ends = torch.arange(last.start, last.stop)[:, None]
    starts = torch.arange(begin, last.stop)
    return (starts <= ends) & (starts > ends - (widest or last.stop))


def scores(starts: Tensor, ends: Tensor, widest: int = 0) -> Tensor:
    """The product of every start with every end that is not before it. Shapes: two of [B, E, T, K] -> [B, E, P]."""
    size, types, length, _ = starts.shape
    starts, ends = starts.flatten(0, 1), ends.flatten(0, 1)
    parts = []
    for at in range(0, length, BLOCK):
        last = range(at, min(at + BLOCK, length))
        begin = max(0, at + 1 - (widest or length))
        cells = torch.bmm(ends[:, at : last.stop], starts[:, begin : last.stop].transpose(1, 2))
        spans = band(last, begin, widest).flatten().nonzero()[:, 0].to(cells.device)
        parts.append(cells.flatten(1).index_select(1, spans))
    return torch.cat(parts, dim=1).view(size, types, -1)


def without_overlaps(said: Prediction) -> Prediction:
    """What stays when the surest entity keeps its words, then the next whose words are all free, and so on."""
    taken: set[int] = set()
    kept: Prediction = {}
    for entity in sorted(said, key=lambda entity: (-said[entity], entity)):
        words = range(entity.start, entity.end)
        if taken.isdisjoint(words):
            taken.update(words)
            kept[entity] = said[entity]
    return kept


@HEADS.register("spans")
class Spans(HeadConfig):
    """A score for every span and type, the head of SpanKL. The published values are the defaults."""

    module: ClassVar[type[SpanHead]] = SpanHead
    vector: int = 50
    """K, how many numbers a start or end vector has. Published: 50."""
    max_width: int = 0
    """Words that a span has at most; 0 is any number, as published. Wider entities are neither learned nor found."""
    threshold: float = 0.5
    """The probability that makes a span an entity. Published: 0.5."""
    decoding: Literal["flat", "nested"] = "flat"
    """flat: of overlapping spans the surest stays. nested: all stay, and pseudo-entities are learned beside gold."""
    positive_weight: float = 1.0
    """How often an entity counts in the loss where every other span counts once. Published: 1."""
    reduction: Literal["sentence", "span"] = "sentence"
    """A loss is a mean over types, summed over a sentence's spans and averaged over sentences, as published: long
    sentences dominate. span: averaged over spans instead. Distillation is divided likewise."""

    def __post_init__(self) -> None:
        if self.vector < 1 or self.max_width < 0:
            raise ValueError("vector is at least 1, and max_width is not negative")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold {self.threshold}: a probability above 0 and below 1")
        if self.positive_weight <= 0:
            raise ValueError(f"positive_weight {self.positive_weight}: above 0")

    def build(self, width: int) -> SpanHead:
        return SpanHead(width, self)
