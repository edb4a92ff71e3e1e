"""Sequence to sequence: a decoder with attention that says exactly one tag per word, each in view of the tag before.

    a_i = softmax_j( s_{i-1} . (A H_j + a) ),  c_i = sum_j a_ij H_j          attention, over the sentence's own words
    s_i = LSTM( [ y_{i-1} ; c_i ; H_i ], s_{i-1} )                           y: the embedded tag of the word before
    f_i = relu( V [ s_i ; c_i ] + v ),  z_i = W f_i + b

s_0 is what the encoder says of the whole sentence, y_0 a mark of its own; s and f are half as wide as the states. While
it learns, and wherever two networks are compared, the decoder is told the batch's tag of the word before (O, if it does
not know that tag); when it predicts, its own. z is a tag head's output, so every tag method trains it; but what is told
of a word whose old type is not annotated is O, unless the method labels it: `self_training` suits it best.
Source: the progressive Seq2Seq tagger. Shapes: B sentences, T words, C tags, H width of the states, K beam.
"""

from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raycner.data.entities import TypeInventory
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.head import HEADS, GrowthConfig, HeadConfig
from raycner.networks.heads.tags import O, TagHead, drawn

START = -1
"""What is said before the first word; the embedding of tag c is row c + 1."""
State = tuple[Tensor, Tensor]
"""Of the decoder's LSTM: what it says, and its cell; [B, H/2] each."""


class Memory(NamedTuple):
    """What the decoder attends to."""

    words: Tensor
    """[B, T, H]"""
    keys: Tensor
    """[B, T, H/2]"""
    mask: Tensor
    """[B, T]"""


class DecodedTags(TagHead):
    """One tag per word, said from left to right."""

    def __init__(self, width: int, config: "Seq2Seq") -> None:
        self._std = config.init_std
        super().__init__(width // 2, config.scheme, config.decoding)
        self.beam, self.teacher_forcing, self.start = config.beam, config.teacher_forcing, config.start
        self.labels = nn.Parameter(self._embedded(1 + len(self.tags)))
        self.key = nn.Linear(width, self.width)
        self.cell = nn.LSTMCell(self.width + 2 * width, self.width)
        self.mix = nn.Linear(self.width + width, self.width)

    def draw(self, count: int) -> Tensor:
        return drawn(count, self.width, self._std)

    def _embedded(self, count: int) -> Tensor:
        """[count, H/2] fresh embeddings of tags."""
        return torch.randn(count, self.width)

    def grow(self, inventory: TypeInventory, growth: GrowthConfig) -> None:
        count = len(self.columns(inventory)) - len(self.tags)
        self.labels = nn.Parameter(growth.extend(self.labels.detach(), count, self._embedded))
        super().grow(inventory, growth)

    def load_shape(self, inventory: TypeInventory) -> None:
        self.labels = nn.Parameter(self.labels.new_zeros(1 + len(self.columns(inventory)), self.width))
        super().load_shape(inventory)

    def effective(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        known = (batch.targets >= O) & (batch.targets < len(self.tags))
        told = batch.targets.where(known, O)
        memory, state = self._begin(states, batch)
        previous = torch.full_like(told[:, 0], START)
        spoken = []
        for i in range(told.size(1)):
            said, state = self._say(memory, i, previous, state)
            spoken.append(said)
            previous = self._heard(told[:, i], said)
        return self._features(torch.stack(spoken, dim=1)), self.weight

    def _heard(self, told: Tensor, said: Tensor) -> Tensor:
        """The tag that the next word is told of: with `teacher_forcing` for odds the batch's, else the decoder's."""
        if not self.training or self.teacher_forcing == 1:
            return told
        own = (self._features(said) @ self.weight.T).argmax(-1)
        return told.where(torch.rand_like(said[:, 0]) < self.teacher_forcing, own)

    def path(self, states: States, batch: Batch, new_type_bias: float = 0.0) -> tuple[Tensor, Tensor]:
        """The likeliest tags that a beam finds, and the probability of each after those before it: two of [B, T].

        Past its last word a sentence goes on with O at no cost, until the longest beside it is done.
        """
        (size, length), beam, tags = batch.mask.shape, self.beam, len(self.tags)
        memory, (spoken, cell) = self._begin(states, batch)
        memory = Memory(*(part.repeat_interleave(beam, dim=0) for part in memory))
        state = spoken.repeat_interleave(beam, dim=0), cell.repeat_interleave(beam, dim=0)
        scores = F.pad(spoken.new_zeros(size, 1), (0, beam - 1), value=float("-inf"))  # all begin alike: one of them
        nothing_more = F.pad(spoken.new_zeros(1), (0, tags - 1), value=float("-inf"))
        paths = torch.full((size, beam, length), O, device=spoken.device)
        confidence = spoken.new_ones(size, beam, length)
        previous = torch.full((size, beam), START, device=spoken.device)
        for i in range(length):
            said, state = self._say(memory, i, previous.flatten(), state)
            logits = self.lowered(self._features(said) @ self.weight.T, new_type_bias)
            chances = logits.log_softmax(-1).view(size, beam, tags)
            if self.decoding == "constrained":
                is_last = ~batch.mask[:, i + 1 :].any(1)
                chances = chances.masked_fill(~self._may_follow(previous, is_last), float("-inf"))
            chances = chances.where(batch.mask[:, i, None, None], nothing_more)
            scores, chosen = (scores[..., None] + chances).flatten(1).topk(beam)
            parent, previous = chosen // tags, chosen % tags
            rows = (beam * torch.arange(size, device=parent.device)[:, None] + parent).flatten()
            state = state[0][rows], state[1][rows]
            back = parent[..., None].expand_as(paths)
            paths, confidence = paths.gather(1, back), confidence.gather(1, back)
            paths[..., i], confidence[..., i] = previous, chances.flatten(1).gather(1, chosen).exp()
        return paths[:, 0], confidence[:, 0]

    def _may_follow(self, previous: Tensor, is_last: Tensor) -> Tensor:
        """[B, K, C] which tags may follow, as `viterbi` has it. Shapes: previous [B, K], is_last [B]."""
        allowed = self._allowed.to(previous.device)
        return allowed[previous.clamp(min=O)] & (allowed[:, O] | ~is_last[:, None, None])

    def _begin(self, states: States, batch: Batch) -> tuple[Memory, State]:
        words = states.words
        if self.start == "forward":
            last = (batch.mask.sum(1) - 1).clamp(min=0)
            spoken = words[torch.arange(len(words), device=words.device), last, : self.width]
        else:
            spoken = words[:, 0, -self.width :]
        return Memory(words, self.key(words), batch.mask), (spoken, torch.zeros_like(spoken))

    def _say(self, memory: Memory, i: int, previous: Tensor, state: State) -> tuple[Tensor, State]:
        """[s_i ; c_i] and the state after word i, where the word before has the tags `previous` [B]."""
        scores = (memory.keys @ state[0][..., None])[..., 0].masked_fill(~memory.mask, torch.finfo(state[0].dtype).min)
        context = (scores.softmax(-1)[:, None] @ memory.words)[:, 0]
        told = torch.cat([self.labels[previous + 1], context, memory.words[:, i]], dim=-1)
        spoken, cell = self.cell(told, state)
        return torch.cat([spoken, context], dim=-1), (spoken, cell)

    def _features(self, said: Tensor) -> Tensor:
        return F.pad(self.mix(said).relu(), (0, 1), value=1.0)

    def class_means(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        features, _ = self.effective(states, batch)
        return super().class_means(states._replace(words=features[..., : self.width]), batch)


@HEADS.register("seq2seq")
class Seq2Seq(HeadConfig):
    """An attention decoder that says one tag per word, the second of the progressive taggers.

    Of the published code's defects none is here: attention that reads padding and, for want of a transposition, other
    sentences of the batch; random initial states. Its output layer drawn anew is `model.growth.init=reset`.
    """

    module: ClassVar[type[DecodedTags]] = DecodedTags
    scheme: Literal["BIO", "BIOES"] = "BIO"
    """Published: BIOES."""
    decoding: Literal["argmax", "constrained"] = "argmax"
    """constrained: only sequences of tags in which I- follows B- or I- of its type."""
    beam: int = 1
    """How many sequences are kept while one is looked for; 1 is greedy decoding, as published."""
    teacher_forcing: float = 1.0
    """How often, while it learns, the decoder is told the batch's tag of the word before, not its own. Published: 1."""
    start: Literal["forward", "backward"] = "forward"
    """s_0: forward, the first half of the last word's state, where a BiLSTM has read all words from left to right, as
    in the paper; backward, the second half of the first word's, as in the published code. Its cell begins at zero."""
    init_std: float = 0.15
    """New rows of W are drawn from N(0, init_std), with zero bias; embeddings of tags from N(0, 1). Much smaller rows
    leave the decoder beneath them hardly a gradient to start by: with 0.01, early epochs learn nothing."""

    def __post_init__(self) -> None:
        if self.beam < 1 or not 0 <= self.teacher_forcing <= 1:
            raise ValueError("beam is at least 1, and teacher_forcing from 0 to 1")

    def build(self, width: int) -> DecodedTags:
        return DecodedTags(width, self)
