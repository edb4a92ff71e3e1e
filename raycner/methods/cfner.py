"""CFNER (EMNLP 2022): a word also learns from the predictions for its nearest neighbours, words of other sentences.

    L = DCE + w * ODCE,   w = kd_weight * sqrt(old types / new types) if adaptive, else kd_weight
    DCE  = mean over entity words of    -log( (p[y] + q[y]) / 2 )                     (direct causal effect)
    ODCE = mean over O words of  -log( (p[c] + r[c]) / 2 )  where the teacher's best tag c is not O     (effect on O)
                                 KL( softmax(z') || p )     elsewhere
    p = softmax(z), q and r the mean softmax of the K neighbours' logits, over all tags and over the old tags

Neighbours are matched once per step, by the teacher's states at unit length: new-type words among themselves, and the O
words that the teacher assigns to an old type (in their sentence) among themselves. The matches are a column of the
split, so batches may be shuffled and sharded. Each batch reads the neighbours' sentences again, each once, with the
current network and without gradient: this is the cost, several sentences read for each one trained on.
A word that is alone in its pool has no neighbour and is trained as by ExtendNER: with both pools empty this is
`extend_ner` at the same weight.

The defaults are the published values, except that all words of a pool are candidates (published: candidates=5000). The
published code differs in what is no setting here: it computes the teacher's tags of O words and the neighbours' logits
word by word, which its head scales differently than in a sentence (norm_axis=sequence); it excludes neighbours at
distance zero; it adds 1e-10 inside the logarithms; and its curriculum sharpens the teacher by a temperature of 1e-3,
which is the best tag except for ties.
Source: https://arxiv.org/abs/2210.03980 and its code.
Shapes: B sentences, T words, C tags, M neighbour words, P matched words, K neighbours.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from raycner.data.scenarios.scenario import Split
from raycner.hashing import omit_default_from_hash
from raycner.methods.method import METHODS, Method, Student, StudentLoader, Teacher, TeacherOutputs, balance
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tag_head import TagHead, TagOutput
from raycner.networks.heads.tag_set import O
from raycner.networks.losses import IGNORE, LossSum
from raycner.networks.neighbours import nearest

Numbers = NDArray[np.int64]


class Matches(NamedTuple):
    """A column of the split: the words that have neighbours, in the order of the split."""

    sentences: Numbers
    """[P] the position of each word's sentence."""
    words: Numbers
    """[P] the word's index in its sentence."""
    nearest: Numbers
    """[P, K] indices into [P] of the neighbours, nearest first; -1 where the pool has no more."""

    def of(self, positions: Sequence[int]) -> tuple[Numbers, Numbers]:
        """The matched words of these sentences: their indices into [P], and into `positions`."""
        begin, end = (np.searchsorted(self.sentences, positions, side) for side in ("left", "right"))
        matched = [np.arange(b, e) for b, e in zip(begin, end, strict=True)]
        return np.concatenate(matched), np.repeat(np.arange(len(matched)), end - begin)


class EpochLogits(NamedTuple):
    """A column of the split: the student's logits of all matched words before the epoch."""

    logits: Tensor
    """[P, C]"""


class Neighbours(NamedTuple):
    """A column of a batch: the neighbours of its words, as indices into M neighbour words."""

    nearest: Tensor
    """[B, T, K] indices into [M], nearest first; -1 for none."""
    logits: Tensor | None
    """[M, C] if computed before the epoch."""
    sentences: tuple[Batch, ...] = ()
    """Otherwise, the sentences to read: their words, padding included, are the M words."""


@METHODS.register("cfner")
class CFNER(Method[TagOutput]):
    """Causal effects of neighbours on new types and on O."""

    heads = (TagHead,)

    kd_weight: float = 2.0
    """lambda, the weight of the loss on O words. Published: 2."""
    adaptive: bool = True
    """Multiply it by sqrt(old types / new types), as published."""
    weighting: Literal["word", "mean"] = "mean"
    """mean: each loss is a mean over its own words, as published. word: both are divided by the number of all labelled
    words."""
    new_types: bool = True
    """Mix neighbours in on new-type words (DCE); without, plain cross-entropy."""
    old_types: bool = True
    """Mix neighbours in on O words that the teacher assigns to an old type (ODCE); without, plain distillation."""
    top_k: int = 3
    """K: the maximal number of neighbours of a word. Published: 3."""
    candidates: int = 0
    """The number of words of a pool, from its beginning, that may be neighbours; 0 is all. Published: 5000."""
    refresh: Literal["batch", "epoch"] = omit_default_from_hash("batch")
    """When the neighbours' logits are computed. batch: for every batch by the current network, as published. epoch: all
    of them before each epoch, which is much cheaper; they are then up to one epoch old."""
    curriculum: bool = False
    """Mix neighbours in on an O word only where the student's best old tag reaches a confidence, which falls linearly
    over the epochs; the other O words are distilled. In the paper, but off in every published configuration."""
    confidence_start: float = 0.9
    """In the first epoch. Published: 0.9."""
    confidence_end: float = 0.0
    """From epoch `confidence_epochs` on. Published: 0."""
    confidence_epochs: int = 10
    """Published: 10, the number of epochs of a step there."""

    def __post_init__(self) -> None:
        if self.kd_weight < 0:
            raise ValueError("kd_weight is not negative")
        if self.top_k < 1 or self.candidates < 0 or self.confidence_epochs < 1:
            raise ValueError("top_k and confidence_epochs are at least 1, and candidates is not negative")
        if not (0 <= self.confidence_start <= 1 and 0 <= self.confidence_end <= 1):
            raise ValueError("confidence_start and confidence_end are from 0 to 1")

    @property
    def teacher_outputs(self) -> TeacherOutputs[TagOutput]:
        return {"logits": lambda output: output.logits}

    def confidence(self, epoch: int) -> float:
        """The confidence that the student's best old tag must reach in an epoch (from 0); 0 without a curriculum."""
        if not self.curriculum:
            return 0.0
        share = min(epoch / (self.confidence_epochs - 1), 1.0) if self.confidence_epochs > 1 else 1.0
        return self.confidence_start + share * (self.confidence_end - self.confidence_start)

    def annotate(self, split: Split, teacher: Teacher[TagOutput]) -> Split:
        """Match every word of the two pools with its neighbours there: the column `Matches`."""
        parts = zip(*teacher.survey(split, self._pools), strict=True)
        sentences, words, new, states = (torch.cat(part) for part in parts)
        order = torch.from_numpy(np.lexsort((words.numpy(), sentences.numpy())))
        sentences, words, new, states = (part[order] for part in (sentences, words, new, states))
        near = torch.full((len(order), self.top_k), -1)
        for pool in (new.nonzero()[:, 0], (~new).nonzero()[:, 0]):
            neighbours = nearest(states[pool].to(teacher.device), self.top_k, self.candidates).cpu()
            near[pool, : neighbours.size(1)] = pool[neighbours]
        return split.with_column(Matches(sentences.numpy(), words.numpy(), near.numpy()))

    def _pools(self, batch: Batch, output: TagOutput) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The words of a batch that may have neighbours: sentence, word, whether of a new type, unit state."""
        new = batch.mask & (batch.targets == IGNORE)  # the teacher has no tag for new types
        old = (batch.targets == O) & (output.logits.argmax(-1) != O)
        chosen = (new & self.new_types) | (old & self.old_types)
        rows, words = chosen.nonzero(as_tuple=True)
        states = F.normalize(output.states[chosen], dim=-1)
        return batch.positions[rows.cpu()], words.cpu(), new[chosen].cpu(), states.cpu()

    def on_epoch_start(self, loader: StudentLoader[TagOutput]) -> Split:
        """With `refresh=epoch`, compute the student's logits of every matched word: the column `EpochLogits`."""
        if self.refresh == "batch":
            return loader.split
        matches = loader.split.column(Matches)

        def look(batch: Batch, output: TagOutput) -> tuple[Numbers, Tensor]:
            matched, rows = matches.of(batch.positions.tolist())
            return matched, output.logits[rows, matches.words[matched]].cpu()

        matched, logits = zip(*loader.survey(look), strict=True)
        order = torch.from_numpy(np.argsort(np.concatenate(matched)))
        return loader.split.with_column(EpochLogits(torch.cat(logits)[order]))

    def collate(self, loader: StudentLoader[TagOutput], positions: Sequence[int]) -> Batch:
        """The batch with the column `Neighbours`."""
        batch, matches = loader.batch(positions), loader.split.column(Matches)
        matched, rows = matches.of(positions)
        near = matches.nearest[matched]  # [n, K]
        if self.refresh == "batch":
            numbers, sentences = self._read_again(loader, near)
            logits = None
        else:
            words = np.unique(near[near >= 0])
            numbers, sentences = np.searchsorted(words, near), ()
            logits = loader.split.column(EpochLogits).logits[torch.from_numpy(words)].to(batch.mask.device)
        neighbours = torch.full((*batch.mask.shape, self.top_k), -1)
        neighbours[rows, matches.words[matched]] = torch.from_numpy(np.where(near >= 0, numbers, -1))
        return batch.with_column(Neighbours(neighbours.to(batch.mask.device), logits, sentences))

    def _read_again(self, loader: StudentLoader[TagOutput], near: Numbers) -> tuple[Numbers, tuple[Batch, ...]]:
        """The sentences of the neighbours, each once, and the index of each neighbour among all their words."""
        matches = loader.split.column(Matches)
        first = np.zeros(len(loader.words), dtype=np.int64)  # the index of each sentence's first word
        sentences: list[Batch] = []
        size = 0
        for positions, batch in loader.batches_of(np.unique(matches.sentences[near[near >= 0]])):
            first[positions] = size + batch.mask.size(1) * np.arange(len(positions))
            size += batch.mask.numel()
            sentences.append(batch)
        return first[matches.sentences[near]] + matches.words[near], tuple(sentences)

    def losses(self, student: Student[TagOutput], teacher: Teacher[TagOutput], batch: Batch) -> dict[str, LossSum]:
        z, z_old, old = student(batch).logits, teacher(batch).logits, student.head.num_old
        inside, outside = batch.targets > O, batch.targets == O
        near, z_near = batch.column(Neighbours).nearest, _neighbour_logits(student, batch, z.detach())
        matched = (near >= 0).any(-1)
        if self.curriculum:
            best = z.detach().softmax(-1)[..., :old].amax(-1)
            matched &= inside | (best >= self.confidence(batch.epoch))
        plain, mixed = losses.cross_entropy, losses.mixed_cross_entropy
        alone, with_near, old_alone, old_with_near = (
            words & has_near for words in (inside, outside) for has_near in (~matched, matched)
        )
        losses.index_words(alone, with_near, old_alone, old_with_near)
        dce = plain(z, batch.targets, alone)
        dce += mixed(z, z_near.log_softmax(-1), near, batch.targets, with_near)
        odce = losses.distillation(z, z_old, old_alone)
        odce += mixed(z, z_near[:, :old].log_softmax(-1), near, z_old.argmax(-1), old_with_near)
        if self.weighting == "word":
            dce, odce = dce.over(inside | outside), odce.over(inside | outside)
        return {"dce": dce, "odce": self.kd_weight * (balance(student.inventory) if self.adaptive else 1.0) * odce}


def _neighbour_logits(student: Student[TagOutput], batch: Batch, z: Tensor) -> Tensor:
    """[M, C] the logits of the neighbour words, without gradient; `z` are those of the batch."""
    neighbours = batch.column(Neighbours)
    if neighbours.logits is not None:
        return neighbours.logits
    sentences = [student.forward_eval(other).logits.flatten(0, 1) for other in neighbours.sentences]
    return torch.cat([z.new_empty(0, z.size(-1)), *sentences])
