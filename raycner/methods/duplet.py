"""Duplet learning (TBCL, 2026), around any tag method: every sentence with a new entity is also learned without it.

    L = L_base(X) + twin_weight * L_base(X-) + consistency_weight * mean over old words i of || p_i - p-_i ||^2

    X-      the twin of X: X without the words of its new entities; the teacher reads it as a sentence of its own
    p, p-   softmax(z) over all C tags of a word in X, and of the same word in X-
    old     the words of X- that carry, or that the teacher assigns to, the tag of an old type

The sentences of a step are chosen for its new types, so nearly all of them hold one. Their twins are sentences of the
same text without any: they show where a new type is not, and the old types without their new neighbours.

TBCL is this around RDP. Its paper prints no weight of the twin (1 is INFERRED) and calls 0.01 a balancing weight, here
that of consistency (INFERRED). It doubles what an update reads; report it with its controls:
    twin: same, consistency_weight 0    the sentence itself twice (published: worse than once)
    consistency_weight 0                twins alone
    the base with twice the updates
Source: https://arxiv.org/abs/2608.31038.
Shapes: B sentences, T words, C tags, N words that a sentence and its twin share.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raycner.data.scenarios.scenario import Split
from raycner.methods.method import METHODS, Method, Student, StudentLoader, Teacher, TeacherOutputs
from raycner.methods.wrapper import Wrapper
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tag_head import TagHead, TagOutput
from raycner.networks.heads.tag_set import O
from raycner.networks.losses import LossSum


class Twins(NamedTuple):
    """A column of the split."""

    positions: NDArray[np.int64]
    """[sentences] the position of each sentence's twin, -1 for none."""
    erased: frozenset[str]
    """The types whose entities the twins lack."""


class SharedWords(NamedTuple):
    """A column of a batch: the words that its sentences share with their twins, as indices into both batches."""

    words: tuple[Tensor, Tensor]
    """[N] sentences and words of the batch."""
    twin_words: tuple[Tensor, Tensor]
    """[N] sentences and words of its companion."""


@METHODS.register("duplet")
class Duplet(Wrapper[TagOutput]):
    """Learn sentences with new entities a second time, without those entities."""

    heads = (TagHead,)

    base: Method[TagOutput]
    """The wrapped method; required: `method.base.name=extend_ner`."""
    twin: Literal["erased", "same"] = "erased"
    """What is learned next to a sentence: erased, the sentence without its new entities; same, the sentence itself, the
    control."""
    twin_weight: float = 1.0
    """Of the base's losses on twins."""
    consistency_weight: float = 0.01
    """Of the distance between the predictions for an old word in a sentence and in its twin. Published: 0.01."""

    def __post_init__(self) -> None:
        if min(self.twin_weight, self.consistency_weight) < 0:
            raise ValueError("twin_weight and consistency_weight are not negative")
        if not issubclass(TagHead, self.base.heads):
            raise ValueError(f"{self.base.name} does not train tag heads, so duplet cannot wrap it")
        if "duplet" in self.base.label:
            raise ValueError("a sentence has one twin, so duplet cannot wrap itself")
        if self.base.needs_prototypes:
            raise ValueError("prototypes belong to no sentence, so duplet would rehearse them twice")

    @property
    def has_twins(self) -> bool:
        """Whether twins have any weight; without, this is the base."""
        return self.twin_weight > 0 or self.consistency_weight > 0

    @property
    def teacher_outputs(self) -> TeacherOutputs[TagOutput]:
        own: TeacherOutputs[TagOutput] = {"best_tag": lambda output: output.logits.argmax(-1)}
        return {**self.base.teacher_outputs, **(own if self.has_twins else {})}

    def annotate(self, split: Split, teacher: Teacher[TagOutput]) -> Split:
        """Add the twins to the companions, and let the base annotate sentences and twins alike."""
        if not self.has_twins:
            return self.base.annotate(split, teacher)
        new, own = split.visible.difference(teacher.inventory.types), split.sources[0]
        has_twin = [0 < len(sentence.outside(new)) < len(sentence.words) for sentence in own.sentences()]
        paired = np.flatnonzero(has_twin)
        twins = replace(own, rows=own.rows[paired], erased=new if self.twin == "erased" else frozenset())
        positions = np.full(len(split) + len(paired), -1)
        positions[paired] = len(split) + np.arange(len(paired))
        with_twins = replace(split, companions=(*split.companions, twins))
        return self.base.annotate(with_twins, teacher).with_column(Twins(positions, twins.erased))

    def collate(self, loader: StudentLoader[TagOutput], positions: Sequence[int]) -> Batch:
        """The batch with its twins as the companion, and the column `SharedWords`."""
        batch = self.base.collate(loader, positions)
        if not self.has_twins:
            return batch
        twins = loader.split.column(Twins)
        twin_of = twins.positions[np.asarray(positions)]
        paired = np.flatnonzero(twin_of >= 0)
        words, twin_words = _shared_words(loader.split, positions, paired, twins.erased)
        shared = SharedWords(_indices(words, batch), _indices(twin_words, batch))
        # a batch without twins has itself as a masked companion: its losses are zero, in the graph
        companion = self.base.collate(loader, twin_of[paired]) if len(paired) else batch.masked()
        return replace(batch.with_column(shared), companion=companion)

    def losses(self, student: Student[TagOutput], teacher: Teacher[TagOutput], batch: Batch) -> dict[str, LossSum]:
        z, terms = student(batch).logits, self.base.losses(student, teacher, batch)
        if batch.companion is None:
            return terms
        twin, shared = replace(batch.companion, epoch=batch.epoch), batch.column(SharedWords)
        z_twin, twin_terms = student(twin).logits, self.base.losses(student, teacher, twin)
        is_old = (twin.targets >= O) & (twin.targets < student.head.num_old)
        is_old &= (twin.targets > O) | (teacher.recall("best_tag", twin) != O)
        consistency = losses.probability_distance(
            z[shared.words], z_twin[shared.twin_words], where=is_old[shared.twin_words]
        )
        weighted = {f"twin_{name}": self.twin_weight * term for name, term in twin_terms.items()}
        return terms | weighted | {"consistency": self.consistency_weight * consistency}


def _shared_words(
    split: Split, positions: Sequence[int], paired: NDArray[np.int64], erased: frozenset[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[N, 2] sentence and word of each shared word: in the batch of these positions, and in that of their twins."""
    remaining = [split[positions[row]].outside(erased) for row in paired]
    words = [(row, word) for row, words in zip(paired, remaining, strict=True) for word in words]
    twin_words = [(row, word) for row, words in enumerate(remaining) for word in range(len(words))]
    return np.asarray(words).reshape(-1, 2), np.asarray(twin_words).reshape(-1, 2)


def _indices(words: NDArray[np.int64], batch: Batch) -> tuple[Tensor, Tensor]:
    sentence, word = torch.from_numpy(words.astype(np.int64)).to(batch.mask.device).unbind(1)
    return sentence, word
