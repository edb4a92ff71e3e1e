"""Sequence to sequence head: an attention decoder emits exactly one tag per word, conditioned on the previous tag.

    a_i = softmax_j( s_{i-1} . (A H_j + a) ),  c_i = sum_j a_ij H_j          attention, over the sentence's own words
    s_i = LSTM( [ y_{i-1} ; c_i ; H_i ], s_{i-1} )                           y: the embedding of the previous tag
    f_i = relu( V [ s_i ; c_i ] + v ),  z_i = W f_i + b

s_0 is the encoder's state of the whole sentence, y_0 a start symbol; s and f are half as wide as the states. In
training, and wherever two networks are compared, the previous tag is that of the batch's targets (O for a tag that the
head does not have); in prediction it is the decoder's own. z is a tag head's output, so every tag method trains it. But
words of old types are not annotated, so the previous tag is O there unless the method labels them: `self_training` fits
best.
Source: the progressive Seq2Seq tagger. Shapes: B sentences, T words, C tags, H width of the states, K beam.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raycner.data.entities import TypeInventory
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.decoding import Decoding, without_strays
from raycner.networks.heads.growing_rows import linear_rows
from raycner.networks.heads.head import HEADS, GrowthConfig, HeadConfig
from raycner.networks.heads.tag_head import TagHead
from raycner.networks.heads.tag_set import O

START = -1
"""The tag before the first word; the embedding of tag c is row c + 1."""
State = tuple[Tensor, Tensor]
"""The decoder LSTM's hidden state and cell; [B, H/2] each."""


class Memory(NamedTuple):
    """What the decoder attends to."""

    words: Tensor
    """[B, T, H]"""
    keys: Tensor
    """[B, T, H/2]"""
    mask: Tensor
    """[B, T]"""


class DecodedTags(TagHead):
    """One tag per word, decoded from left to right."""

    def __init__(self, width: int, config: "Seq2Seq") -> None:
        super().__init__(width // 2, config.scheme, config.decoding)
        self.init_std = config.init_std
        self.beam, self.teacher_forcing, self.start = config.beam, config.teacher_forcing, config.start
        super().grow(TypeInventory(), GrowthConfig())  # draws O before the layers: their order decides a seed's weights
        self.labels = nn.Parameter(self._embeddings(1 + len(self.tags)))
        self.key = nn.Linear(width, self.width)
        self.cell = nn.LSTMCell(self.width + 2 * width, self.width)
        self.mix = nn.Linear(self.width + width, self.width)

    def draw(self, count: int) -> Tensor:
        return linear_rows(count, self.width, self.init_std)

    def _embeddings(self, count: int) -> Tensor:
        """[count, H/2] new embeddings of tags."""
        return torch.randn(count, self.width)

    def grow(self, inventory: TypeInventory, growth: GrowthConfig) -> None:
        count = self.count(inventory) - len(self.tags)
        self.labels = nn.Parameter(growth.extend(self.labels.detach(), count, self._embeddings))
        super().grow(inventory, growth)

    def load_shape(self, inventory: TypeInventory) -> None:
        self.labels = nn.Parameter(self.labels.new_zeros(1 + self.count(inventory), self.width))
        super().load_shape(inventory)

    def effective(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        in_head = (batch.targets >= O) & (batch.targets < len(self.tags))
        targets = batch.targets.where(in_head, O)
        memory, state = self._initial(states, batch)
        previous = torch.full_like(targets[:, 0], START)
        outputs = []
        for i in range(targets.size(1)):
            output, state = self._step(memory, i, previous, state)
            outputs.append(output)
            previous = self._previous(targets[:, i], output)
        return self._features(torch.stack(outputs, dim=1)), self.weight

    def _previous(self, targets: Tensor, output: Tensor) -> Tensor:
        """The tag that conditions the next word: the target, in training only with probability `teacher_forcing`."""
        if not self.training or self.teacher_forcing == 1:
            return targets
        own = (self._features(output) @ self.weight.T).argmax(-1)
        return targets.where(torch.rand_like(output[:, 0]) < self.teacher_forcing, own)

    def paths(self, states: States, batch: Batch, biases: Sequence[float]) -> tuple[Tensor, Tensor]:
        """A tag depends on those before it, so each bias needs a search of its own."""
        best, confidences = zip(*(self._search(states, batch, bias) for bias in biases), strict=True)
        return torch.stack(best), torch.stack(confidences)

    def _search(self, states: States, batch: Batch, new_type_bias: float) -> tuple[Tensor, Tensor]:
        """The most probable tags found by beam search, and the probability of each given its prefix: two of [B, T].

        A sentence that has ended is padded with O at no cost until the longest of the batch has ended.
        """
        (size, length), beam, tags = batch.mask.shape, self.beam, len(self.tags)
        memory, (hidden, cell) = self._initial(states, batch)
        memory = Memory(*(part.repeat_interleave(beam, dim=0) for part in memory))
        state = hidden.repeat_interleave(beam, dim=0), cell.repeat_interleave(beam, dim=0)
        scores = F.pad(hidden.new_zeros(size, 1), (0, beam - 1), value=float("-inf"))  # one start, not K equal ones
        padding = F.pad(hidden.new_zeros(1), (0, tags - 1), value=float("-inf"))
        paths = torch.full((size, beam, length), O, device=hidden.device)
        confidence = hidden.new_ones(size, beam, length)
        previous = torch.full((size, beam), START, device=hidden.device)
        for i in range(length):
            output, state = self._step(memory, i, previous.flatten(), state)
            logits = self.lowered(self._features(output) @ self.weight.T, new_type_bias)
            log_probabilities = logits.log_softmax(-1).view(size, beam, tags)
            if self.decoding == "constrained":
                is_last = ~batch.mask[:, i + 1 :].any(1)
                log_probabilities = log_probabilities.masked_fill(~self._may_follow(previous, is_last), float("-inf"))
            log_probabilities = log_probabilities.where(batch.mask[:, i, None, None], padding)
            scores, chosen = (scores[..., None] + log_probabilities).flatten(1).topk(beam)
            parent, previous = chosen // tags, chosen % tags
            rows = (beam * torch.arange(size, device=parent.device)[:, None] + parent).flatten()
            state = state[0][rows], state[1][rows]
            prefix = parent[..., None].expand_as(paths)
            paths, confidence = paths.gather(1, prefix), confidence.gather(1, prefix)
            paths[..., i], confidence[..., i] = previous, log_probabilities.flatten(1).gather(1, chosen).exp()
        best = without_strays(paths[:, 0], self.tag_set) if self.decoding == "strict" else paths[:, 0]
        return best, confidence[:, 0]

    def _may_follow(self, previous: Tensor, is_last: Tensor) -> Tensor:
        """[B, K, C] which tags may follow, as in `viterbi`. Shapes: previous [B, K], is_last [B]."""
        allowed = self.tag_set.allowed.to(previous.device)
        return allowed[previous.clamp(min=O)] & (allowed[:, O] | ~is_last[:, None, None])

    def _initial(self, states: States, batch: Batch) -> tuple[Memory, State]:
        words = states.words
        if self.start == "forward":
            last = (batch.mask.sum(1) - 1).clamp(min=0)
            hidden = words[torch.arange(len(words), device=words.device), last, : self.width]
        else:
            hidden = words[:, 0, -self.width :]
        return Memory(words, self.key(words), batch.mask), (hidden, torch.zeros_like(hidden))

    def _step(self, memory: Memory, i: int, previous: Tensor, state: State) -> tuple[Tensor, State]:
        """[s_i ; c_i] and the state after word i; `previous` [B] are the tags of the word before."""
        scores = (memory.keys @ state[0][..., None])[..., 0].masked_fill(~memory.mask, torch.finfo(state[0].dtype).min)
        context = (scores.softmax(-1)[:, None] @ memory.words)[:, 0]
        inputs = torch.cat([self.labels[previous + 1], context, memory.words[:, i]], dim=-1)
        hidden, cell = self.cell(inputs, state)
        return torch.cat([hidden, context], dim=-1), (hidden, cell)

    def _features(self, output: Tensor) -> Tensor:
        return F.pad(self.mix(output).relu(), (0, 1), value=1.0)


@HEADS.register("seq2seq")
class Seq2Seq(HeadConfig):
    """An attention decoder that emits one tag per word, the second of the progressive taggers.

    Defects of the published code that are not reproduced: attention over padding and, by a missing transposition, over
    other sentences of the batch; random initial states. Its output layer is drawn again at each step:
    `model.growth.init=reset`.
    """

    module: ClassVar[type[DecodedTags]] = DecodedTags
    scheme: Literal["BIO", "BIOES"] = "BIO"
    """Published: BIOES."""
    decoding: Decoding = "constrained"
    """constrained: only sequences of tags in which I- follows B- or I- of its type; argmax, as published: all; strict:
    all, but a stray I- is read as O."""
    beam: int = 1
    """The number of sequences kept in beam search; 1 is greedy decoding, as published."""
    teacher_forcing: float = 1.0
    """In training, the probability that the previous tag is the target rather than the decoder's own. Published: 1."""
    start: Literal["forward", "backward"] = "forward"
    """s_0: forward, the first half of the last word's state (a BiLSTM's final forward state), as in the paper;
    backward, the second half of the first word's, as in the published code. The cell starts at zero."""
    init_std: float = 0.15
    """New rows of W are drawn from N(0, init_std), with zero bias; embeddings of tags from N(0, 1). With much
    smaller rows the decoder has almost no gradient at first: with 0.01, early epochs learn nothing."""

    def __post_init__(self) -> None:
        if self.beam < 1 or not 0 <= self.teacher_forcing <= 1:
            raise ValueError("beam is at least 1, and teacher_forcing from 0 to 1")

    def build(self, width: int) -> DecodedTags:
        return DecodedTags(width, self)
