"""GenCNER: the teacher's surest triplets are said first, as the teacher says them; then the new types' gold ones.

    L = ( sum over gold symbols and END of CE(z, y)  +  kd_weight * sum over pseudo symbols of KL( softmax(z' / T) ||
          softmax(z / T) ) ) / all symbols
    kept, of each old type: the surest ceil(keep_ratio * n) of the n triplets that the teacher finds in the step's
    training sentences, a triplet being as sure as the least sure of its three symbols

The teacher gives new types no probability: the KL is cut to its symbols, so what new types take is paid for. It says
each sentence's pseudo symbols once per step, after the ones before them, and the student has just the same before it.
Source: GenCNER (arXiv 2510.11444), which was not available: what is INFERRED says so where it is a value, and so are
the mean over symbols and a teacher that follows the kept triplets instead of all that it found.
Shapes: B sentences, T words, E' old types, S symbols, Y' = 1 + T + E' old symbols.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from raycner.data.scenarios.scenario import Split
from raycner.methods.method import METHODS, Method, SplitLoader, Student, Teacher
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.head import Prediction
from raycner.networks.heads.triplets import END, NEVER, TripletHead, TripletOutput
from raycner.networks.losses import IGNORE, LossSum

Said = NDArray[Any]
"""[S, 1 + words + E'] a teacher's logits for the pseudo symbols of one sentence, padding left out."""


@METHODS.register("gen_cner")
class GenCNER(Method):
    """Pseudo-triplets with a threshold per type, distilled; gold after them."""

    heads = (TripletHead,)

    keep_ratio: float = 0.5
    """The share of each old type's pseudo-triplets that is kept, and ties with the last. Published: 0.5."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """For single types, a fixed confidence instead of a share: `method.thresholds.person=0.84`."""
    kd_weight: float = 1.0
    """The weight of distillation beside cross-entropy. INFERRED."""
    temperature: float = 1.0
    """T, of both sides. INFERRED."""
    supervise: Literal["gold", "all"] = "gold"
    """Whether cross-entropy is on gold symbols and END only, or on pseudo symbols too. INFERRED."""
    collisions: Literal["identical", "overlapping"] = "identical"
    """Which pseudo-triplets give way to gold: those of the same words, or all that share a word with it. INFERRED."""

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

    def annotate(self, split: Split, teacher: Teacher) -> Split:
        """Label with the surest triplets, and keep what the teacher says of each of their symbols: column `taught`."""
        said = self._beside_gold(split, teacher.predictions(split))
        split = split.with_pseudo_labels(said, {kind: self._threshold(kind, said) for kind in teacher.inventory.types})
        taught = dict(pair for kept in teacher.survey(split, _pseudo_logits) for pair in kept)
        return split.with_columns(taught=[taught[position] for position in range(len(split))])

    def _beside_gold(self, split: Split, said: Sequence[Prediction]) -> list[Prediction]:
        """What was said, but for what gives way to gold."""
        same = self.collisions == "identical"
        return [
            {
                e: sure
                for e, sure in found.items()
                if not any((g.start, g.end) == (e.start, e.end) if same else g.overlaps(e) for g in sentence.entities)
            }
            for sentence, found in zip(split.sentences(), said, strict=True)
        ]

    def _threshold(self, kind: str, said: Sequence[Prediction]) -> float:
        if kind in self.thresholds:
            return self.thresholds[kind]
        return threshold([sure for found in said for e, sure in found.items() if e.type == kind], self.keep_ratio)

    def collate(self, feed: SplitLoader, positions: Sequence[int]) -> Batch:
        """The batch, and what the teacher says where its triplets are to be said."""
        batch = feed.batch(positions)
        (size, symbols), words = batch.targets.shape, batch.mask.size(1)
        kept = [torch.from_numpy(feed.split.columns["taught"][int(i)]) for i in positions]
        ends = (1 + batch.mask.sum(1)).tolist()  # where a sentence's words end, and types begin
        taught = kept[0].new_full((size, symbols, 1 + words + kept[0].size(1) - ends[0]), NEVER)
        pseudo = torch.zeros(size, symbols, dtype=torch.bool)
        for row, (said, end) in enumerate(zip(kept, ends, strict=True)):
            pseudo[row, : len(said)] = True
            taught[row, : len(said), :end] = said[:, :end]
            taught[row, : len(said), 1 + words :] = said[:, end:]
        columns = {"taught": taught.to(batch.mask.device), "pseudo": pseudo.to(batch.mask.device)}
        return replace(batch, columns={**batch.columns, **columns})

    def losses(self, student: Student, teacher: Teacher, batch: Batch) -> dict[str, LossSum]:  # noqa: ARG002
        z, symbols = student(batch).logits, batch.targets != IGNORE
        pseudo = symbols & batch.columns["pseudo"]
        ce = losses.cross_entropy(z, batch.targets, where=symbols if self.supervise == "all" else symbols & ~pseudo)
        kd = losses.distillation(
            z,
            batch.columns["taught"],
            where=pseudo,
            student_temperature=self.temperature,
            teacher_temperature=self.temperature,
        )
        return {"ce": ce.over(symbols), "kd": self.kd_weight * kd.over(symbols)}


def threshold(confidences: Sequence[float], share: float) -> float:
    """The confidence that the surest ceil(share * n) of n reach; 0 where there is none."""
    kept = math.ceil(share * len(confidences) - 1e-9)  # 0.7 * 10 is no more than 7
    return sorted(confidences, reverse=True)[kept - 1] if kept else 0.0


def _pseudo_logits(batch: Batch, output: TripletOutput) -> list[tuple[int, Said]]:
    """What a teacher says of its own triplets, the only ones that it can be asked to say."""
    said, ends = (batch.targets > END).sum(1).tolist(), (1 + batch.mask.sum(1)).tolist()
    rows = zip(batch.positions.tolist(), output.logits.cpu().numpy(), said, ends, strict=True)
    types = 1 + batch.mask.size(1)  # where they begin in a batch
    return [(i, np.concatenate([z[:steps, :end], z[:steps, types:]], axis=1)) for i, z, steps, end in rows]
