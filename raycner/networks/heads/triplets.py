"""Triplet head: a decoder says a sentence's entities one after the other, each as its first word, its last, its type.

    z_u = h_u . (e_end ; m_1 .. m_n ; e_type),  h_u = decoder(e_begin, x_(y_1) .. x_(y_u-1) ; states)
    m_j = MLP(H_j), or (MLP(H_j) + x_j) / 2 where the encoder shares its word vectors x with the decoder
    confidence of a triplet = min(p(first word), p(last word), p(type)),  p_u = softmax(z_u)

A symbol is a place in that row: 0 ends the sentence, j is its j-th word, and types come last, so growing appends.
Source: GenCNER (arXiv 2510.11444). That its pointer is the one of BARTNER (ACL 2021) is INFERRED; so is the order of
triplets, by first and last word, and that the grammar is imposed.
Shapes: B sentences, T words, E types, Y = 1 + T + E symbols to choose from, S symbols said, L slots, H width.
"""

import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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
from raycner.networks.heads.head import HEADS, GrowthConfig, HeadConfig, Prediction
from raycner.networks.heads.rows import Rows
from raycner.networks.losses import IGNORE, LossSum

END = 0
"""The symbol that ends a sentence."""
NEVER = -1e4
"""The logit of a word that is not there."""
SPARE = 10
"""How many symbols any sentence may have, beside those that its words bring. Source: BARTNER."""


@dataclass(frozen=True, eq=False)
class TripletOutput:
    """What a triplet head says of the symbols that are to be said, each after those before it."""

    logits: Tensor
    """[B, S, Y]"""


class Memory(NamedTuple):
    """What the decoder goes back to with every symbol; made once per sentence."""

    states: Tensor
    """[B, L, H] what it listens to."""
    attend: Tensor
    """[B, L] where there is something to listen to."""
    said: Tensor
    """[B, Y, H] a symbol's vector once it was said."""
    meant: Tensor
    """[B, Y, H] a symbol's vector while it may be said."""
    exists: Tensor
    """[B, Y] false for words that are not there."""


class TripletHead(Rows[TripletOutput]):
    """A decoder that points at words and types; a type has one row. Pseudo-entities are said before gold ones."""

    def __init__(self, width: int, config: "Triplets") -> None:
        self.width, self.config = width, config
        super().__init__()
        shape = config.shape(width)
        self.decoder = _frame(shape)
        self._most = int(shape.max_position_embeddings)  # symbols that a sentence can say
        self.pointer = nn.Sequential(
            nn.Linear(width, width), nn.Dropout(config.dropout), nn.ReLU(), nn.Linear(width, width)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.begin, self.end = (nn.Parameter(self.draw(1)[0]) for _ in range(2))

    def count(self, inventory: TypeInventory) -> int:
        return len(inventory)

    def draw(self, count: int) -> Tensor:
        """[count, H] fresh vectors of symbols."""
        return self.config.init_std * torch.randn(count, self.width)

    def targets(self, sentences: Sequence[Sentence]) -> Tensor:
        """[B, S] the symbols that say a sentence's entities, END after them; IGNORE where nothing is to be said."""
        words = max(len(sentence.words) for sentence in sentences)
        places = {kind: place for place, kind in enumerate(self.inventory.types)}
        said = [linearise(ordered(sentence, places), words, places)[: self._most] for sentence in sentences]
        return pad_sequence([torch.tensor(symbols) for symbols in said], batch_first=True, padding_value=IGNORE)

    def mask_targets(self, targets: Tensor, mask: Tensor) -> Tensor:
        there = F.pad(mask, (1, len(self.inventory)), value=True).gather(1, targets.clamp(min=0))
        if there.all():
            return targets
        kept = [
            torch.cat([part for part, known in zip(symbols.split(3), known.split(3), strict=True) if known.all()])
            for symbols, known in zip(targets, there, strict=True)
        ]
        return pad_sequence(kept, batch_first=True, padding_value=IGNORE)

    def forward(self, states: States, batch: Batch) -> TripletOutput:
        memory = self.remember(states, batch)
        return TripletOutput(self.say(memory, self.heard(memory, batch.targets[:, :-1])))

    def remember(self, states: States, batch: Batch) -> Memory:
        """What the symbols of a batch are, and what the decoder listens to."""
        meant, said = self.pointer(states.words), states.words
        if states.vectors is not None:
            meant, said = (meant + states.vectors) / 2, states.vectors
        attend = batch.mask if states.attend is None else states.attend
        end, types = (rows.expand(len(said), -1, -1) for rows in (self.end[None], self.weight))
        exists = F.pad(batch.mask, (1, len(self.inventory)), value=True)
        said, meant = (torch.cat([end, words, types], dim=1) for words in (self.dropout(said), meant))
        return Memory(states.slots, attend, said, meant, exists)

    def heard(self, memory: Memory, symbols: Tensor) -> Tensor:
        """[B, S] -> [B, 1 + S, H]: what the decoder reads when these symbols were said.

        Of a type that was learned after this head, nothing was heard.
        """
        known = symbols < memory.said.size(1)
        at = symbols.where(known, END).clamp(min=END)[..., None].expand(-1, -1, memory.said.size(-1))
        begin = self.begin.expand(len(symbols), 1, -1)
        return torch.cat([begin, memory.said.gather(1, at) * known[..., None]], dim=1)

    def say(self, memory: Memory, heard: Tensor, cache: Any = None) -> Tensor:
        """[B, S, H] -> [B, S, Y]: the logits of what comes next; a cache knows what was heard before."""
        said = self.decoder(
            inputs_embeds=heard,
            encoder_hidden_states=memory.states,
            encoder_attention_mask=memory.attend,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        logits: Tensor = self.dropout(said.last_hidden_state) @ memory.meant.transpose(1, 2)
        return logits.masked_fill(~memory.exists[:, None], NEVER)

    def loss(self, output: TripletOutput, batch: Batch) -> LossSum:
        return losses.cross_entropy(output.logits, batch.targets, where=batch.targets != IGNORE)

    def predict(self, states: States, batch: Batch, *, new_type_bias: float = 0.0) -> list[Prediction]:  # noqa: ARG002
        from transformers import DynamicCache, EncoderDecoderCache

        memory = self.remember(states, batch)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

        def say(last: Tensor | None) -> Tensor:
            heard = self.heard(memory, batch.mask.new_empty(len(batch.mask), 0, dtype=torch.long))
            if last is not None:
                heard = self.heard(memory, last[:, None])[:, 1:]
            return self.say(memory, heard, cache)[:, 0]

        budget = SPARE + (self.config.symbols_per_word * batch.mask.sum(1)).long()
        symbols, sure = generate(say, batch.mask, budget.clamp(max=self._most))
        said = zip(symbols.tolist(), sure.tolist(), strict=True)
        return [self._read(symbols, sure, batch.mask.size(1)) for symbols, sure in said]

    def _read(self, symbols: Sequence[int], sure: Sequence[float], words: int) -> Prediction:
        found = parse(symbols, words, self.inventory.types)
        return {entity: min(sure[at : at + 3]) for entity, at in found.items()}

    def grow(self, inventory: TypeInventory, growth: GrowthConfig) -> None:
        if self.config.path and not self.inventory:
            self._start(self.config.path)
        super().grow(inventory, growth)

    def _start(self, path: str) -> None:
        """Take up a checkpoint's decoder; its vectors of the symbols that begin and end a text begin as ours."""
        from transformers import AutoModel

        model = _found(AutoModel, path, dtype=torch.float32)
        self.decoder.load_state_dict(_without_words(model.get_decoder()).state_dict())
        marks = torch.tensor([model.config.decoder_start_token_id, model.config.eos_token_id])
        with torch.no_grad():
            for mark, vector in zip((self.begin, self.end), model.get_input_embeddings()(marks), strict=True):
                mark.copy_(vector)

    def init_from_type_names(self, encoder: Encoder) -> None:
        """Begin a type at the mean vector of its name's pieces, a copy: no vector of the encoder changes by it."""
        found = encoder.vectors([self.config.names.get(kind) or readable(kind) for kind in self.inventory.new])
        if found is not None:
            with torch.no_grad():
                self.rows[-len(found) :] = found


def ordered(sentence: Sentence, known: Iterable[str]) -> list[Entity]:
    """The entities that a decoder is to say: the teacher's first, then gold; by first and last word, then by type.

    A teacher's entity of exactly a gold one's words gives way to it, and types that are not `known` cannot be said.
    """
    spans = {(entity.start, entity.end) for entity in sentence.entities}
    pseudo = sorted(entity for entity in sentence.pseudo if (entity.start, entity.end) not in spans)
    known = frozenset(known)
    return [entity for entity in (*pseudo, *sorted(sentence.entities)) if entity.type in known]


def linearise(entities: Iterable[Entity], words: int, places: Mapping[str, int]) -> list[int]:
    """Entities as symbols, in the order given, and END; `places` says where each type stands among the types."""
    triplets = ((1 + entity.start, entity.end, 1 + words + places[entity.type]) for entity in entities)
    return [*(symbol for triplet in triplets for symbol in triplet), END]


def parse(symbols: Sequence[int], words: int, types: Sequence[str]) -> dict[Entity, int]:
    """The entities that symbols say up to the first END, and where each is said first; what is no triplet says none."""
    found: dict[Entity, int] = {}
    said = symbols[: symbols.index(END)] if END in symbols else symbols
    for at in range(0, len(said) - 2, 3):
        first, last, kind = said[at : at + 3]
        if 1 <= first <= last <= words < kind <= words + len(types):
            found.setdefault(Entity(first - 1, last, types[kind - words - 1]), at)
    return found


def generate(say: Callable[[Tensor | None], Tensor], words: Tensor, budget: Tensor) -> tuple[Tensor, Tensor]:
    """The symbols that are likeliest one by one, of those that the grammar allows, until every sentence has ended.

    The grammar is (word, the same or a later word, type)* END. A sentence begins no triplet beyond its budget [B] of
    symbols. `say` gives logits [B, Y] of what follows the symbols [B] it is given; None asks for the first ones.
    Shapes: words [B, T] true where there is one -> symbols [B, S], and the probability [B, S] of each, which what the
    grammar forbids has its share of.
    """
    number = torch.arange(1, 1 + words.size(1), device=words.device)  # the symbols of the words
    ended = torch.zeros(len(words), dtype=torch.bool, device=words.device)
    symbols: list[Tensor] = []
    sure: list[Tensor] = []
    while not ended.all():
        logits = say(symbols[-1] if symbols else None)
        kind = torch.zeros(len(words), logits.size(1) - words.size(1) - 1, dtype=torch.bool, device=words.device)
        slot = len(symbols) % 3
        end = torch.full_like(ended, slot == 0)[:, None]
        if slot == 0:
            word = words & (len(symbols) + 3 <= budget)[:, None]
        elif slot == 1:
            word = words & (number >= symbols[-1][:, None])
        else:
            word, kind = torch.zeros_like(words), ~kind
        allowed = torch.cat([end, word, kind], dim=1)
        best = logits.masked_fill(~allowed, float("-inf")).argmax(-1).where(~ended, END)
        sure.append(logits.softmax(-1).gather(1, best[:, None])[:, 0])
        symbols.append(best)
        if slot == 0:
            ended |= best == END
    return torch.stack(symbols, dim=1), torch.stack(sure, dim=1)


def readable(kind: str) -> str:
    """A type's label as words: `building-sportsFacility` is "building sports facility"."""
    words = re.sub(r"[\W_]+|(?<=[a-z])(?=[A-Z])", " ", kind).strip().lower()
    return words or kind


@HEADS.register("triplets")
class Triplets(HeadConfig):
    """Entities generated as triplets, the head of GenCNER: a BART decoder, or a small one beside any encoder."""

    module: ClassVar[type[TripletHead]] = TripletHead
    path: str | None = not_hashed(default=None)
    """A folder or hub id of the BART family, whose decoder is taken; model.encoder.path is to be the same (published:
    facebook/bart-large). Without, a small decoder as wide as the encoder is trained from scratch."""
    layers: int = 1
    """Of the small decoder."""
    attention_heads: int = 4
    """Of the small decoder."""
    dropout: float = 0.0
    """For every dropout of the decoder, its inputs, its states and the pointer. BARTNER: 0.3, and 0.1 inside BART."""
    init_std: float = 0.02
    """Vectors of types (where the encoder knows none of their names), begin and end are drawn from N(0, init_std)."""
    symbols_per_word: float = 1.0
    """A sentence says at most 10 + this * words symbols, three for an entity. BARTNER: 0.8, too few for Few-NERD."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What types are called whose label says little, e.g. {NORP: nationality}."""

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
        """The configuration of a decoder over states of `width` numbers: the checkpoint's, or a small one's."""
        from transformers import AutoConfig, BartConfig

        small = {"decoder_layers": self.layers, "decoder_attention_heads": self.attention_heads, "d_model": width}
        if self.path is None:
            if width % self.attention_heads:
                line = f"{self.attention_heads} heads cannot share {width} numbers"
                raise InputError(line, location="model.head.attention_heads", hint=f"choose a divisor of {width}")
            shape = BartConfig(**small, decoder_ffn_dim=2 * width, init_std=self.init_std)
        else:
            shape = _found(AutoConfig, self.path)
            if shape.hidden_size != width or not shape.is_encoder_decoder:
                line = f"{self.path!r} has no decoder of the encoder's width, {width}"
                hint = "name the same encoder-decoder in model.encoder.path and model.head.path"
                raise InputError(line, location="model.head.path", hint=hint)
        for name in DROPOUTS:
            if hasattr(shape, name):
                setattr(shape, name, self.dropout)
        return shape


def _frame(shape: Any) -> nn.Module:
    """A decoder of that shape with fresh weights, and without a vocabulary."""
    from transformers import AutoModel

    bare = copy.deepcopy(shape)
    bare.encoder_layers, bare.vocab_size, bare.pad_token_id = 0, 1, 0
    attention = "sdpa" if torch.cuda.is_available() else "eager"
    return _without_words(AutoModel.from_config(bare, attn_implementation=attention).get_decoder())


def _without_words(decoder: Any) -> nn.Module:
    """A decoder that is only ever given vectors."""
    decoder.embed_tokens = None
    module: nn.Module = decoder
    return module


def _found(kind: Any, path: str, **options: Any) -> Any:
    """What an Auto class of transformers makes of a folder or hub id."""
    folder = Path(path).expanduser()
    try:
        return kind.from_pretrained(str(folder) if folder.is_dir() else path, **options)
    except (OSError, ValueError) as error:
        line = f"no checkpoint at {path!r} ({str(error).splitlines()[0]})"
        raise InputError(line, location="model.head.path", hint="name a folder or hub id of the BART family") from None
