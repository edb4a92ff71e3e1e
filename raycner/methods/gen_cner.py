"""GenCNER: the teacher's most confident triplets are generated first and distilled; the new types' gold ones follow.

    L = ( sum over gold symbols and END of CE(z, y)  +  kd_weight * sum over pseudo symbols of KL( softmax(z' / T) ||
          softmax(z / T) ) ) / all symbols
    kept, of each old type: the ceil(keep_ratio * n) most confident of the n triplets that the teacher predicts in the
    step's training sentences; the confidence of a triplet is that of its least confident symbol

The teacher gives new types no probability: the KL is cut to its symbols, so the mass of new types is penalised. Its
logits for the pseudo symbols of a sentence are computed once per step, by teacher forcing, and the student has the same
prefix. A triplet that is not kept is learned as absent: the symbol after the kept ones is gold, so at
keep_ratio=0.5 an old type loses half of its labels at every step. `hold=begins` also distils the teacher there. Source:
GenCNER (https://arxiv.org/abs/2510.11444), which was not available: settings marked INFERRED are guesses, and so are
the mean over symbols and a teacher that is forced to the kept triplets rather than to all of its own.
Shapes: B sentences, T words, E' old types, S symbols, Y' = 1 + T + E' old symbols.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raycner.data.scenarios.scenario import Split
from raycner.hashing import omit_default_from_hash
from raycner.methods.method import METHODS, Method, Student, StudentLoader, Teacher
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.head import Prediction
from raycner.networks.heads.triplets import NEVER, TripletHead, TripletOutput
from raycner.networks.losses import IGNORE, LossSum

SymbolLogits = NDArray[Any]
"""[S + 1, 1 + words + E'] the teacher's logits for the pseudo symbols of one sentence and what follows, unpadded."""


class TeacherLogits(NamedTuple):
    """A column of the split: the teacher's logits of every sentence."""

    logits: Sequence[SymbolLogits]


class PseudoSymbols(NamedTuple):
    """A column of a batch: which symbols are pseudo symbols, and the teacher's logits for those that are distilled."""

    where: Tensor
    """[B, S] the pseudo symbols."""
    distilled: Tensor
    """[B, S] these, and what else `hold` names."""
    logits: Tensor
    """[B, S, Y'], NEVER where nothing is distilled and where there is no such word."""


@METHODS.register("gen_cner")
class GenCNER(Method[TripletOutput]):
    """Pseudo-triplets above a threshold per type are distilled; gold triplets follow."""

    heads = (TripletHead,)

    keep_ratio: float = 0.5
    """The share of each old type's pseudo-triplets that is kept, ties included. Published: 0.5, for six or eight steps;
    with more steps report 1.0 as well."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """For single types, a fixed confidence in place of a share: `method.thresholds.person=0.84`."""
    kd_weight: float = 1.0
    """The weight of distillation relative to cross-entropy. INFERRED."""
    temperature: float = 1.0
    """T, for student and teacher. INFERRED."""
    hold: Literal["pseudo", "begins"] = omit_default_from_hash("pseudo")
    """Which symbols are distilled. pseudo: those of the pseudo-triplets, as published. begins: also every other symbol
    that begins a triplet and END, by the teacher's distribution after its own triplets; cross-entropy stays."""
    supervise: Literal["gold", "all"] = "gold"
    """Whether cross-entropy is on gold symbols and END only, or on pseudo symbols too. INFERRED."""
    collisions: Literal["identical", "overlapping"] = "identical"
    """Which pseudo-triplets are dropped in favour of gold: those of the same span, or all that overlap. INFERRED."""

    def __post_init__(self) -> None:
        if not 0 < self.keep_ratio <= 1:
            raise ValueError(f"keep_ratio {self.keep_ratio}: a share above 0, up to 1")
        for kind, value in self.thresholds.items():
            if not 0 <= value <= 1:
                raise ValueError(f"thresholds.{kind} {value} is no confidence: choose from 0 to 1")
        if self.temperature <= 0 or self.kd_weight < 0:
            raise ValueError("temperature is above 0, and kd_weight is not negative")

    @property
    def types(self) -> Collection[str]:
        return self.thresholds.keys()

    def annotate(self, split: Split, teacher: Teacher[TripletOutput]) -> Split:
        """Add the most confident triplets as pseudo-labels, and the teacher's logits for them: `TeacherLogits`."""
        predictions = self._without_gold(split, teacher.predictions(split))
        thresholds = {kind: self._threshold(kind, predictions) for kind in teacher.inventory.types}
        split = split.with_pseudo_labels(predictions, thresholds)
        logits = dict(pair for pairs in teacher.survey(split, _pseudo_logits) for pair in pairs)
        return split.with_column(TeacherLogits([logits[position] for position in range(len(split))]))

    def _without_gold(self, split: Split, predictions: Sequence[Prediction]) -> list[Prediction]:
        """The predictions without those that collide with gold entities."""
        same = self.collisions == "identical"
        return [
            {
                e: confidence
                for e, confidence in entities.items()
                if not any((g.start, g.end) == (e.start, e.end) if same else g.overlaps(e) for g in sentence.entities)
            }
            for sentence, entities in zip(split.sentences(), predictions, strict=True)
        ]

    def _threshold(self, kind: str, predictions: Sequence[Prediction]) -> float:
        if kind in self.thresholds:
            return self.thresholds[kind]
        confidences = [p for entities in predictions for entity, p in entities.items() if entity.type == kind]
        return threshold(confidences, self.keep_ratio)

    def collate(self, loader: StudentLoader[TripletOutput], positions: Sequence[int]) -> Batch:
        """The batch with the column `PseudoSymbols`."""
        batch = loader.batch(positions)
        (size, symbols), words = batch.targets.shape, batch.mask.size(1)
        column = loader.split.column(TeacherLogits)
        sentences = [torch.from_numpy(column.logits[int(i)]) for i in positions]
        ends = (1 + batch.mask.sum(1)).tolist()  # where a sentence's words end and the types begin
        lengths = (batch.targets != IGNORE).sum(1).tolist()
        logits = sentences[0].new_full((size, symbols, 1 + words + sentences[0].size(1) - ends[0]), NEVER)
        where, distilled = (torch.zeros(size, symbols, dtype=torch.bool) for _ in range(2))
        for row, (own, end, length) in enumerate(zip(sentences, ends, lengths, strict=True)):
            pseudo = 3 * (len(own) // 3)
            later = range(pseudo, length, 3) if self.hold == "begins" else ()
            at = torch.tensor([*range(pseudo), *later], dtype=torch.long)
            taught = own[at.clamp(max=len(own) - 1)]  # after its own triplets the teacher has one distribution
            where[row, :pseudo] = True
            distilled[row, at] = True
            logits[row, at, :end] = taught[:, :end]
            logits[row, at, 1 + words :] = taught[:, end:]
        device = batch.mask.device
        return batch.with_column(PseudoSymbols(where.to(device), distilled.to(device), logits.to(device)))

    def losses(
        self,
        student: Student[TripletOutput],
        teacher: Teacher[TripletOutput],  # noqa: ARG002
        batch: Batch,
    ) -> dict[str, LossSum]:
        z, symbols, pseudo = student(batch).logits, batch.targets != IGNORE, batch.column(PseudoSymbols)
        supervised = symbols if self.supervise == "all" else symbols & ~pseudo.where
        distilled = symbols & pseudo.distilled
        losses.index_words(supervised, distilled)
        ce = losses.cross_entropy(z, batch.targets, where=supervised)
        kd = losses.distillation(
            z,
            pseudo.logits,
            where=distilled,
            student_temperature=self.temperature,
            teacher_temperature=self.temperature,
        )
        return {"ce": ce.over(symbols), "kd": self.kd_weight * kd.over(symbols)}


def threshold(confidences: Sequence[float], share: float) -> float:
    """The confidence that the highest ceil(share * n) of n reach; 0 for none."""
    count = math.ceil(share * len(confidences) - 1e-9)  # 0.7 * 10 is no more than 7
    return sorted(confidences, reverse=True)[count - 1] if count else 0.0


def _pseudo_logits(batch: Batch, output: TripletOutput) -> list[tuple[int, SymbolLogits]]:
    """The logits of each sentence's pseudo symbols and END, by its position: the teacher's targets hold no others."""
    symbols, ends = (batch.targets != IGNORE).sum(1).tolist(), (1 + batch.mask.sum(1)).tolist()
    rows = zip(batch.positions.tolist(), output.logits.cpu().numpy(), symbols, ends, strict=True)
    types = 1 + batch.mask.size(1)  # the first type's symbol in this batch
    return [(i, np.concatenate([z[:count, :end], z[:count, types:]], axis=1)) for i, z, count, end in rows]
