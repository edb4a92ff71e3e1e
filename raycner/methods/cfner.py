"""CFNER (EMNLP 2022): a word learns from what the network says of the words most like it, in other sentences.

    L = DCE + w * ODCE,   w = kd_weight * sqrt(old types / new types) if adaptive, else kd_weight
    DCE  = mean over new-type words of  -log( (p[y] + q[y]) / 2 )                     (direct causal effect)
    ODCE = mean over O words of  -log( (p[c] + r[c]) / 2 )  where the teacher's best tag c is not O     (effect on O)
                                 KL( softmax(z') || p )     elsewhere
    p = softmax(z), q and r the mean softmax of the K neighbours' logits, over all tags and over the old tags

Neighbours are matched once per step, by the teacher's states at unit length: new-type words among themselves, and the O
words that the teacher takes for an old type (in their sentence) among themselves. They are columns of the split, so
batches may be shuffled and shared out. Their sentences are read again for each batch, once each, by the network as it
is then and without gradient: that is the cost, several sentences looked at for each that is learned from.
A word of a pool that holds no other has no neighbour, and is learned as ExtendNER would: with both pools empty this is
`extend_ner` at the same weight.

The defaults are the published values, but that all words of a pool are searched (published: candidates=5000). The
published code differs in what is no value here: the teacher's tags of O words and the neighbours' logits are computed
word by word, which its head scales otherwise than in a sentence (norm_axis=sequence); words at no distance from each
other are no neighbours; 1e-10 is added inside the logarithms; and its curriculum sharpens the teacher by a temperature
of 1e-3, which is the best tag but for ties.
Shapes: B sentences, T words, C tags, M words looked at, P matched words, K neighbours.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from raycner.data.scenarios.scenario import Split
from raycner.hashing import omit_default_from_hash
from raycner.methods.method import METHODS, Method, SplitLoader, Student, Teacher, balance
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tags import O, TagHead, TagOutput
from raycner.networks.losses import IGNORE, LossSum
from raycner.networks.neighbours import nearest

Numbers = NDArray[np.int64]


class Matches(NamedTuple):
    """The words of a split that have neighbours, in its order: a column."""

    sentences: Numbers
    """[P] the position of each word's sentence."""
    words: Numbers
    """[P] its place there."""
    nearest: Numbers
    """[P, K] which of these words are its neighbours, the nearest first; -1 where its pool holds no more."""

    def of(self, positions: Sequence[int]) -> tuple[Numbers, Numbers]:
        """Which of the words stand in these sentences, and in which of them: numbers into [P] and into [B]."""
        begin, end = (np.searchsorted(self.sentences, positions, side) for side in ("left", "right"))
        found = [np.arange(b, e) for b, e in zip(begin, end, strict=True)]
        return np.concatenate(found), np.repeat(np.arange(len(found)), end - begin)


class Lent(NamedTuple):
    """What a batch's neighbours say, or will be read to say, as M words in a row."""

    at: Numbers
    """[n, K] where each neighbour stands in the row."""
    columns: dict[str, Tensor]
    beside: tuple[Batch, ...]


@METHODS.register("cfner")
class CFNER(Method):
    """Causal effects of neighbours on new types and on O."""

    heads = (TagHead,)

    kd_weight: float = 2.0
    """lambda, the weight of what is learned on O words. Published: 2."""
    adaptive: bool = True
    """Multiply it by sqrt(old types / new types), as published."""
    weighting: Literal["word", "mean"] = "mean"
    """mean: each loss is a mean over its own words, as published. word: both are shared among all labelled words."""
    new_types: bool = True
    """Mix neighbours in on new-type words (DCE); without, plain cross-entropy."""
    old_types: bool = True
    """Mix neighbours in on O words that the teacher takes for an old type (ODCE); without, plain distillation."""
    top_k: int = 3
    """K: how many neighbours a word has, at most. Published: 3."""
    candidates: int = 0
    """How many words of a pool may be neighbours, from its beginning; 0 is all. Published: 5000."""
    refresh: Literal["batch", "epoch"] = omit_default_from_hash("batch")
    """When neighbours are asked again: with every batch, by the network as it is then, as published; or all of them
    before every epoch, which is much cheaper, and lets what they say be up to an epoch old."""
    curriculum: bool = False
    """Mix on an O word only where the student's own best old tag reaches a confidence, which falls from epoch to epoch
    along a line; the other O words are distilled. In the paper, but off in every published configuration."""
    confidence_start: float = 0.9
    """In the first epoch. Published: 0.9."""
    confidence_end: float = 0.0
    """From epoch `confidence_epochs` on. Published: 0."""
    confidence_epochs: int = 10
    """Published: 10, which are all epochs of a step there."""

    def __post_init__(self) -> None:
        if self.kd_weight < 0:
            raise ValueError("kd_weight is not negative")
        if self.top_k < 1 or self.candidates < 0 or self.confidence_epochs < 1:
            raise ValueError("top_k and confidence_epochs are at least 1, and candidates is not negative")
        if not (0 <= self.confidence_start <= 1 and 0 <= self.confidence_end <= 1):
            raise ValueError("confidence_start and confidence_end are from 0 to 1")

    @property
    def teacher_outputs(self) -> tuple[str, ...]:
        return ("logits",)

    def confidence(self, epoch: int) -> float:
        """What the student's best old tag must reach after so many epochs; 0 without a curriculum."""
        if not self.curriculum:
            return 0.0
        share = min(epoch / (self.confidence_epochs - 1), 1.0) if self.confidence_epochs > 1 else 1.0
        return self.confidence_start + share * (self.confidence_end - self.confidence_start)

    def annotate(self, split: Split, teacher: Teacher) -> Split:
        """Match every word of the two pools with its neighbours there: the column `matches`."""
        kept = zip(*teacher.survey(split, self._pools), strict=True)
        sentences, words, new, states = (torch.cat(parts) for parts in kept)
        order = torch.from_numpy(np.lexsort((words.numpy(), sentences.numpy())))
        sentences, words, new, states = (part[order] for part in (sentences, words, new, states))
        near = torch.full((len(order), self.top_k), -1)
        for pool in (new.nonzero()[:, 0], (~new).nonzero()[:, 0]):
            found = nearest(states[pool].to(teacher.device), self.top_k, self.candidates).cpu()
            near[pool, : found.size(1)] = pool[found]
        return split.with_columns(matches=Matches(sentences.numpy(), words.numpy(), near.numpy()))

    def _pools(self, batch: Batch, said: TagOutput) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The words of a batch that may have neighbours: sentence, word, whether of a new type, unit state."""
        new = batch.mask & (batch.targets == IGNORE)  # a teacher has no tag for what is learned after it
        old = (batch.targets == O) & (said.logits.argmax(-1) != O)
        chosen = (new & self.new_types) | (old & self.old_types)
        rows, words = chosen.nonzero(as_tuple=True)
        states = F.normalize(said.states[chosen], dim=-1)
        return batch.positions[rows].cpu(), words.cpu(), new[chosen].cpu(), states.cpu()

    def on_epoch_start(self, feed: SplitLoader) -> Split:
        """With `refresh=epoch`, what the student says now of every matched word: the column `heard`, [P, C]."""
        if self.refresh == "batch":
            return feed.split
        matches: Matches = feed.split.columns["matches"]

        def look(batch: Batch, said: TagOutput) -> tuple[Numbers, Tensor]:
            asked, rows = matches.of(batch.positions.tolist())
            return asked, said.logits[rows, matches.words[asked]].cpu()

        asked, heard = zip(*feed.survey(look), strict=True)
        order = torch.from_numpy(np.argsort(np.concatenate(asked)))
        return feed.split.with_columns(heard=torch.cat(heard)[order])

    def collate(self, feed: SplitLoader, positions: Sequence[int]) -> Batch:
        """The batch, and its words' neighbours as numbers of the words that are heard for it."""
        batch = feed.batch(positions)
        matches: Matches = feed.split.columns["matches"]
        asking, rows = matches.of(positions)
        near = matches.nearest[asking]  # [n, K]
        lent = self._read_again(feed, near) if self.refresh == "batch" else self._heard_before(feed, near)
        neighbours = torch.full((*batch.mask.shape, self.top_k), -1)
        neighbours[rows, matches.words[asking]] = torch.from_numpy(np.where(near >= 0, lent.at, -1))
        columns = {name: column.to(batch.mask.device) for name, column in lent.columns.items()}
        columns["neighbours"] = neighbours.to(batch.mask.device)
        return replace(batch, columns={**batch.columns, **columns}, beside=lent.beside)

    def _read_again(self, feed: SplitLoader, near: Numbers) -> Lent:
        """The neighbours' sentences, each once."""
        matches: Matches = feed.split.columns["matches"]
        first = np.zeros(len(feed.words), dtype=np.int64)  # where each sentence's words begin among those beside
        beside: list[Batch] = []
        size = 0
        for there, other in feed.batches_of(np.unique(matches.sentences[near[near >= 0]])):
            first[there] = size + other.mask.size(1) * np.arange(len(there))
            size += other.mask.numel()
            beside.append(other)
        return Lent(first[matches.sentences[near]] + matches.words[near], {}, tuple(beside))

    def _heard_before(self, feed: SplitLoader, near: Numbers) -> Lent:
        """What the neighbours said before the epoch, each once."""
        lenders = np.unique(near[near >= 0])
        heard = feed.split.columns["heard"][torch.from_numpy(lenders)]
        return Lent(np.searchsorted(lenders, near), {"heard": heard}, ())

    def losses(self, student: Student, teacher: Teacher, batch: Batch) -> dict[str, LossSum]:
        z, z_old = student(batch).logits, teacher(batch).logits
        old = z_old.size(-1)
        new, outside = batch.targets >= old, batch.targets == O
        near = batch.columns["neighbours"]
        lent = [student.forward_eval(other).logits.flatten(0, 1) for other in batch.beside]
        said = torch.cat([batch.columns.get("heard", z.detach().new_empty(0, z.size(-1))), *lent])  # [M, C]
        matched = (near >= 0).any(-1)
        if self.curriculum:
            best = z.detach().softmax(-1)[..., :old].amax(-1)
            matched &= new | (best >= self.confidence(batch.epoch))
        plain, mixed = losses.cross_entropy, losses.mixed_cross_entropy
        dce = plain(z, batch.targets, new & ~matched)
        dce += mixed(z, said.log_softmax(-1), near, batch.targets, new & matched)
        odce = losses.distillation(z, z_old, outside & ~matched)
        odce += mixed(z, said[:, :old].log_softmax(-1), near, z_old.argmax(-1), outside & matched)
        if self.weighting == "word":
            dce, odce = dce.over(new | outside), odce.over(new | outside)
        return {"dce": dce, "odce": self.kd_weight * (balance(student.inventory) if self.adaptive else 1.0) * odce}
