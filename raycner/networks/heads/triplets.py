"""Triplet head: a decoder generates the entities of a sentence, each as its first word, its last word and its type.

    z_u = h_u . (e_end ; m_1 .. m_n ; e_type),  h_u = decoder(e_begin, x_(y_1) .. x_(y_u-1) ; states)
    m_j = MLP(H_j), or (MLP(H_j) + x_j) / 2 if the encoder shares its word vectors x with the decoder
    confidence of a triplet = min(p(first word), p(last word), p(type)),  p_u = softmax(z_u)

A symbol is an index into that row: 0 ends the sentence, j is its j-th word, and types come last, so growing appends.
Source: GenCNER (https://arxiv.org/abs/2510.11444). INFERRED: its pointer is that of BARTNER
(https://arxiv.org/abs/2106.01223), triplets are ordered by first and last word, and decoding follows the grammar.
Shapes: B sentences, T words, E types, Y = 1 + T + E symbols of the vocabulary, S symbols generated, L slots, H width.
"""

import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.errors import InputError
from raycner.hashing import not_hashed
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import Encoder, States
from raycner.networks.encoders.pretrained import DROPOUTS, identity
from raycner.networks.heads.growing_rows import GrowingRows
from raycner.networks.heads.head import HEADS, GrowthConfig, HeadConfig, Prediction
from raycner.networks.hugging_face import HuggingFaceCheckpoint
from raycner.networks.losses import IGNORE, LossSum

END = 0
"""The symbol that ends a sentence."""
NEVER = -1e4
"""The logit of a word that is not there."""
SPARE = 10
"""The number of symbols that any sentence may have in addition to `symbols_per_word`. Source: BARTNER."""


@dataclass(frozen=True, eq=False)
class TripletOutput:
    """The output of a triplet head: the logits of each target symbol given its prefix."""

    logits: Tensor
    """[B, S, Y]"""


class Memory(NamedTuple):
    """What the decoder reads at every symbol; computed once per sentence."""

    states: Tensor
    """[B, L, H] the states that it attends to."""
    attend: Tensor
    """[B, L] false for padding."""
    inputs: Tensor
    """[B, Y, H] each symbol's vector as an input of the decoder."""
    outputs: Tensor
    """[B, Y, H] each symbol's vector in the output layer."""
    exists: Tensor
    """[B, Y] false for words that do not exist."""


class TripletHead(GrowingRows[TripletOutput]):
    """A decoder that points at words and types, with one row per type. Pseudo-entities precede gold ones."""

    reads_slots: ClassVar[bool] = True

    def __init__(self, width: int, config: "Triplets") -> None:
        super().__init__()
        self.width, self.config = width, config
        shape = config.shape(width)
        self.decoder = _new_decoder(shape)
        self._max_symbols = int(shape.max_position_embeddings)
        self.pointer = nn.Sequential(
            nn.Linear(width, width), nn.Dropout(config.dropout), nn.ReLU(), nn.Linear(width, width)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.begin, self.end = (nn.Parameter(self.draw(1)[0]) for _ in range(2))

    def count(self, inventory: TypeInventory) -> int:
        return len(inventory)

    @property
    def limit(self) -> str:
        return f"after the first {self._max_symbols // 3} of a sentence"

    def left_out(self, sentence: Sentence) -> int:
        return max(0, len(sentence.entities) - self._max_symbols // 3)

    def draw(self, count: int) -> Tensor:
        """[count, H] new vectors of symbols."""
        return self.config.init_std * torch.randn(count, self.width)

    def targets(self, sentences: Sequence[Sentence]) -> Tensor:
        """[B, S] the symbols of a sentence's entities, then END; IGNORE as padding."""
        words = max(len(sentence.words) for sentence in sentences)
        numbers = {kind: number for number, kind in enumerate(self.inventory.types)}
        symbols = [linearise(ordered(sentence, numbers), words, numbers)[: self._max_symbols] for sentence in sentences]
        return pad_sequence([torch.tensor(each) for each in symbols], batch_first=True, padding_value=IGNORE)

    def mask_targets(self, targets: Tensor, mask: Tensor) -> Tensor:
        exists = F.pad(mask, (1, len(self.inventory)), value=True).gather(1, targets.clamp(min=0))
        if exists.all():
            return targets
        complete = [
            torch.cat([triplet for triplet, each in zip(row.split(3), there.split(3), strict=True) if each.all()])
            for row, there in zip(targets, exists, strict=True)
        ]
        return pad_sequence(complete, batch_first=True, padding_value=IGNORE)

    def forward(self, states: States, batch: Batch) -> TripletOutput:
        memory = self.remember(states, batch)
        return TripletOutput(self.decode(memory, self.embed(memory, batch.targets[:, :-1])))

    def remember(self, states: States, batch: Batch) -> Memory:
        """The vectors of a batch's symbols, and the states to attend to."""
        outputs, inputs = self.pointer(states.words), states.words
        if states.vectors is not None:
            outputs, inputs = (outputs + states.vectors) / 2, states.vectors
        attend = batch.mask if states.attend is None else states.attend
        end, types = (rows.expand(len(inputs), -1, -1) for rows in (self.end[None], self.weight))
        exists = F.pad(batch.mask, (1, len(self.inventory)), value=True)
        inputs, outputs = (torch.cat([end, words, types], dim=1) for words in (self.dropout(inputs), outputs))
        return Memory(states.slots, attend, inputs, outputs, exists)

    def embed(self, memory: Memory, symbols: Tensor) -> Tensor:
        """[B, S] -> [B, 1 + S, H]: the decoder's inputs, after a begin vector; zero for types that it does not have."""
        in_head = symbols < memory.inputs.size(1)
        index = symbols.where(in_head, END).clamp(min=END)[..., None].expand(-1, -1, memory.inputs.size(-1))
        begin = self.begin.expand(len(symbols), 1, -1)
        return torch.cat([begin, memory.inputs.gather(1, index) * in_head[..., None]], dim=1)

    def decode(self, memory: Memory, inputs: Tensor, cache: Any = None) -> Tensor:
        """[B, S, H] -> [B, S, Y]: the logits of the symbol after each input; a cache holds the inputs before."""
        hidden = self.decoder(
            inputs_embeds=inputs,
            encoder_hidden_states=memory.states,
            encoder_attention_mask=memory.attend,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        logits: Tensor = self.dropout(hidden.last_hidden_state) @ memory.outputs.transpose(1, 2)
        return logits.masked_fill(~memory.exists[:, None], NEVER)

    def loss(self, output: TripletOutput, batch: Batch) -> LossSum:
        return losses.cross_entropy(output.logits, batch.targets, where=batch.targets != IGNORE)

    def predict(self, states: States, batch: Batch, *, new_type_bias: float = 0.0) -> list[Prediction]:  # noqa: ARG002
        from transformers import DynamicCache, EncoderDecoderCache

        memory = self.remember(states, batch)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

        def next_logits(last: Tensor | None) -> Tensor:
            inputs = self.embed(memory, batch.mask.new_empty(len(batch.mask), 0, dtype=torch.long))
            if last is not None:
                inputs = self.embed(memory, last[:, None])[:, 1:]
            return self.decode(memory, inputs, cache)[:, 0]

        budget = SPARE + (self.config.symbols_per_word * batch.mask.sum(1)).long()
        symbols, confidences = generate(next_logits, batch.mask, budget.clamp(max=self._max_symbols))
        rows = zip(symbols.tolist(), confidences.tolist(), strict=True)
        return [self._parse(symbols, confidences, batch.mask.size(1)) for symbols, confidences in rows]

    def _parse(self, symbols: Sequence[int], confidences: Sequence[float], words: int) -> Prediction:
        starts = parse(symbols, words, self.inventory.types)
        return {entity: min(confidences[start : start + 3]) for entity, start in starts.items()}

    def grow(self, inventory: TypeInventory, growth: GrowthConfig) -> None:
        if self.config.path and inventory and not self.inventory:
            self._load(self.config.path, allow_pickle=self.config.allow_pickle)
        super().grow(inventory, growth)

    def _load(self, path: str, *, allow_pickle: bool) -> None:
        """Load the decoder of a checkpoint, and its vectors of the symbols that begin and end a text."""
        from transformers import AutoModel

        model = _checkpoint(path, allow_pickle=allow_pickle).model(AutoModel, unused="encoder.", dtype=torch.float32)
        self.decoder.load_state_dict(_without_words(model.get_decoder()).state_dict())
        marks = torch.tensor([model.config.decoder_start_token_id, model.config.eos_token_id])
        with torch.no_grad():
            for mark, vector in zip((self.begin, self.end), model.get_input_embeddings()(marks), strict=True):
                mark.copy_(vector)

    def init_from_type_names(self, encoder: Encoder) -> None:
        """Initialise each new type by a copy of the mean vector of the pieces of its name."""
        vectors = encoder.vectors([self.config.names.get(kind) or readable(kind) for kind in self.inventory.new])
        if vectors is not None:
            with torch.no_grad():
                self.rows[-len(vectors) :] = vectors


def ordered(sentence: Sentence, types: Iterable[str]) -> list[Entity]:
    """The entities to generate: the teacher's, then gold ones; each by first and last word, then by type.

    A teacher's entity with the span of a gold one is dropped, and so are entities of types not in `types`.
    """
    spans = {(entity.start, entity.end) for entity in sentence.entities}
    pseudo = sorted(entity for entity in sentence.pseudo if (entity.start, entity.end) not in spans)
    types = frozenset(types)
    return [entity for entity in (*pseudo, *sorted(sentence.entities)) if entity.type in types]


def linearise(entities: Iterable[Entity], words: int, numbers: Mapping[str, int]) -> list[int]:
    """The symbols of entities in this order, and END; `numbers` are the indices of types."""
    triplets = ((1 + entity.start, entity.end, 1 + words + numbers[entity.type]) for entity in entities)
    return [*(symbol for triplet in triplets for symbol in triplet), END]


def parse(symbols: Sequence[int], words: int, types: Sequence[str]) -> dict[Entity, int]:
    """The entities of symbols up to the first END, and the index where each begins; invalid triplets are skipped."""
    starts: dict[Entity, int] = {}
    symbols = symbols[: symbols.index(END)] if END in symbols else symbols
    for start in range(0, len(symbols) - 2, 3):
        first, last, kind = symbols[start : start + 3]
        if 1 <= first <= last <= words < kind <= words + len(types):
            starts.setdefault(Entity(first - 1, last, types[kind - words - 1]), start)
    return starts


def generate(next_logits: Callable[[Tensor | None], Tensor], words: Tensor, budget: Tensor) -> tuple[Tensor, Tensor]:
    """Greedy decoding under the grammar (word, the same or a later word, type)* END, until all sentences have ended.

    A sentence begins no triplet beyond its budget [B] of symbols. `next_logits(symbols)` returns the logits [B, Y] of
    what follows the symbols [B], or of the first symbol for None.
    Shapes: words [B, T] true for words -> symbols [B, S], and the probability [B, S] of each, normalised over all
    symbols including those that the grammar forbids.
    """
    numbers = torch.arange(1, 1 + words.size(1), device=words.device)  # the symbols of the words
    ended = torch.zeros(len(words), dtype=torch.bool, device=words.device)
    symbols: list[Tensor] = []
    confidences: list[Tensor] = []
    while not ended.all():
        logits = next_logits(symbols[-1] if symbols else None)
        kind = torch.zeros(len(words), logits.size(1) - words.size(1) - 1, dtype=torch.bool, device=words.device)
        slot = len(symbols) % 3
        end = torch.full_like(ended, slot == 0)[:, None]
        if slot == 0:
            word = words & (len(symbols) + 3 <= budget)[:, None]
        elif slot == 1:
            word = words & (numbers >= symbols[-1][:, None])
        else:
            word, kind = torch.zeros_like(words), ~kind
        allowed = torch.cat([end, word, kind], dim=1)
        best = logits.masked_fill(~allowed, float("-inf")).argmax(-1).where(~ended, END)
        confidences.append(logits.softmax(-1).gather(1, best[:, None])[:, 0])
        symbols.append(best)
        if slot == 0:
            ended |= best == END
    return torch.stack(symbols, dim=1), torch.stack(confidences, dim=1)


def readable(kind: str) -> str:
    """A type's label as words: `building-sportsFacility` is "building sports facility"."""
    words = re.sub(r"[\W_]+|(?<=[a-z])(?=[A-Z])", " ", kind).strip().lower()
    return words or kind


@HEADS.register("triplets")
class Triplets(HeadConfig):
    """Entities generated as triplets, the head of GenCNER: a BART decoder, or a small one with any encoder."""

    module: ClassVar[type[TripletHead]] = TripletHead
    path: str | None = not_hashed(default=None)
    """A folder or hub id of the BART family whose decoder is used; model.encoder.path must be the same (published:
    facebook/bart-large). Without, a small decoder as wide as the encoder is trained from scratch."""
    allow_pickle: bool = not_hashed(default=False)
    """Also load pickled weights (pytorch_model.bin) from `path`, as tensors alone."""
    layers: int = 1
    """Of the small decoder."""
    attention_heads: int = 4
    """Of the small decoder."""
    dropout: float = 0.0
    """For every dropout of the decoder, its inputs, its states and the pointer. BARTNER: 0.3, and 0.1 inside BART."""
    init_std: float = 0.02
    """Vectors of types (if the encoder has no vectors of their names), begin and end are drawn from N(0, init_std)."""
    symbols_per_word: float = 1.0
    """A sentence has at most 10 + this * words symbols, three per entity. BARTNER: 0.8, too few for Few-NERD."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Readable names of types with obscure labels, e.g. {NORP: nationality}."""

    def __post_init__(self) -> None:
        if min(self.layers, self.attention_heads) < 1 or self.symbols_per_word <= 0:
            raise ValueError("layers and attention_heads are at least 1, and symbols_per_word is above 0")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout {self.dropout}: from 0 up to, not including, 1")

    def build(self, width: int) -> TripletHead:
        return TripletHead(width, self)

    def identity(self) -> str:
        return identity(self.path) if self.path else ""

    def shape(self, width: int) -> Any:
        """The transformers configuration of the decoder: the checkpoint's, or a small one of `width`."""
        from transformers import BartConfig

        small = {"decoder_layers": self.layers, "decoder_attention_heads": self.attention_heads, "d_model": width}
        if self.path is None:
            if width % self.attention_heads:
                line = f"{self.attention_heads} heads cannot share {width} numbers"
                raise InputError(line, location="model.head.attention_heads", hint=f"choose a divisor of {width}")
            shape = BartConfig(**small, decoder_ffn_dim=2 * width, init_std=self.init_std)
        else:
            shape = _checkpoint(self.path).config()
            if shape.hidden_size != width or not shape.is_encoder_decoder:
                line = f"{self.path!r} has no decoder of the encoder's width, {width}"
                hint = "name the same encoder-decoder in model.encoder.path and model.head.path"
                raise InputError(line, location="model.head.path", hint=hint)
        for name in DROPOUTS:
            if hasattr(shape, name):
                setattr(shape, name, self.dropout)
        return shape


def _new_decoder(shape: Any) -> nn.Module:
    """A decoder of this configuration with new weights and without a vocabulary."""
    from transformers import AutoModel

    bare = copy.deepcopy(shape)
    bare.encoder_layers, bare.vocab_size, bare.pad_token_id = 0, 1, 0
    attention = "sdpa" if torch.cuda.is_available() else "eager"
    return _without_words(
        AutoModel.from_config(bare, attn_implementation=attention, trust_remote_code=False).get_decoder()
    )


def _without_words(decoder: Any) -> nn.Module:
    """The decoder without its embedding table: its inputs are vectors."""
    decoder.embed_tokens = None
    module: nn.Module = decoder
    return module


def _checkpoint(path: str, *, allow_pickle: bool = False) -> HuggingFaceCheckpoint:
    return HuggingFaceCheckpoint(
        path,
        location="model.head.path",
        problem=f"no checkpoint at {path!r}",
        hint="name a folder or hub id of the BART family, with safetensors weights",
        allow_pickle=allow_pickle,
    )
