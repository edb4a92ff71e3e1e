"""Words in, one state per word out: pretrained transformers, and the word + character BiLSTM that starts from scratch.

Shapes: B sentences, T words, L slots (pieces or words), W distinct words, K characters, H width.
"""

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from raycner.errors import Refusal
from raycner.values import Family, Plain, unhashed

Words = Sequence[str]
TELLING = {".safetensors", ".bin", ".json", ".txt", ".model"}
"""Suffixes of the files that determine a pretrained encoder: weights, shape, tokenizer."""


class States(NamedTuple):
    """What an encoder says of a batch."""

    words: Tensor
    """[B, T, H] one state per word (of its first piece), zero where there is none."""
    slots: Tensor
    """[B, L, H] the states that `words` was picked from; padding included."""
    layers: tuple[Tensor, ...]
    """[B, L, H] each: the slots' states after every layer, embeddings first where there are any."""
    starts: Tensor
    """[B, T] the slot of each word, -1 where there is none."""

    @classmethod
    def of_words(cls, words: Tensor) -> "States":
        """States [B, T, H] of an encoder whose slots are the words themselves."""
        return cls(words, words, (words,), torch.arange(words.size(1), device=words.device).expand(words.shape[:2]))


class Tokens(NamedTuple):
    """A sentence as an encoder reads it."""

    ids: NDArray[np.int64]
    """[L] piece ids, or word ids."""
    starts: NDArray[np.int64]
    """[T] the slot that stands for each word; -1 for a word beyond the encoder's reach."""
    words: Words = ()
    """The words themselves, where the encoder reads characters."""

    def __len__(self) -> int:
        return len(self.ids)


class Encoder(nn.Module, ABC):
    """Words in, one state per word out."""

    width: int
    """H."""
    mixed: bool
    """Whether bf16 arithmetic suits it, where the device does that well."""

    @abstractmethod
    def tokenize(self, sentences: Sequence[Words]) -> list[Tokens]: ...

    @abstractmethod
    def collate(self, sentences: Sequence[Tokens]) -> dict[str, Tensor]: ...

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor]) -> States: ...

    def adapt(self, sentences: Iterable[Words]) -> None:
        """Make ready for a step whose training sentences are these (every rank reads all of them)."""

    def settle(self) -> None:
        """Undo what `adapt` did for the step alone, so that `state_dict` is the same whatever the step was."""

    def memory(self) -> Plain:
        """What must be known, beside the configuration, to build this encoder again before its weights are loaded."""
        return None


ENCODERS = Family("encoder")
encoder = ENCODERS.kind


class EncoderConfig(ABC):
    """How an encoder is made; a kind is chosen by `model.encoder.name`."""

    family: ClassVar[Family] = ENCODERS
    name: ClassVar[str]

    @abstractmethod
    def build(self, memory: Plain = None, *, fresh: bool) -> Encoder:
        """Make the encoder: `fresh` with the weights it starts from, else a frame that a checkpoint will fill."""

    def identity(self) -> str:
        """A digest of the weights it starts from, wherever they lie; empty when the configuration says it all."""
        return ""


@encoder("pretrained")
class Pretrained(EncoderConfig):
    """Any transformer encoder of Hugging Face, through the Auto classes."""

    path: str = unhashed(default="bert-base-cased")
    """A folder, or a hub id (bert-base-cased is the encoder of the CFNER family)."""
    dropout: float = 0.0
    """For every dropout of the encoder. BERT publishes 0.1; 0 is what the measured recipe uses."""
    embeddings: Literal["touched", "full", "frozen"] = "touched"
    """Which word-embedding rows a step trains. touched: those of the pieces that occur in its training sentences,
    exactly equal to full without weight decay (the others would have no gradient) and much cheaper."""
    attention: Literal["auto", "eager", "sdpa"] = "auto"
    """auto: plain matrix products on a CPU (the fused kernel's backward is slow there), sdpa on a GPU."""
    max_length: int = 512
    """In pieces. Words beyond it get no state, and are predicted O."""

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1 or self.max_length < 3:
            raise ValueError("dropout is from 0 up to, not including, 1, and max_length at least 3")

    def build(self, memory: Plain = None, *, fresh: bool) -> "Transformer":  # noqa: ARG002
        return Transformer(self, fresh=fresh)

    def identity(self) -> str:
        folder = Path(self.path).expanduser()
        if not folder.is_dir():
            return self.path
        return _digest(file for file in sorted(folder.iterdir()) if file.suffix in TELLING and file.is_file())


class Transformer(Encoder):
    """A pretrained transformer; each word is cut into pieces on its own, and its first piece speaks for it."""

    mixed = True

    def __init__(self, config: Pretrained, *, fresh: bool) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()
        attention = config.attention
        if attention == "auto":
            attention = "sdpa" if torch.cuda.is_available() else "eager"
        path = str(Path(config.path).expanduser()) if Path(config.path).expanduser().is_dir() else config.path
        try:
            shape = AutoConfig.from_pretrained(path)
            for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"):
                if hasattr(shape, name):
                    setattr(shape, name, config.dropout)
            if fresh:
                options = {"config": shape, "attn_implementation": attention, "dtype": torch.float32}
                model = AutoModel.from_pretrained(path, **options)
            else:
                model = AutoModel.from_config(shape, attn_implementation=attention)
            self.tokenizer = AutoTokenizer.from_pretrained(path, use_fast=True, add_prefix_space=True)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            remedy = "name a folder with config.json, weights and tokenizer, or a hub id that can be reached"
            raise Refusal(
                f"no encoder at {config.path!r} ({reason})", where="model.encoder.path", remedy=remedy
            ) from None
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # nothing reads it, and DDP wants every parameter read
        self.model = model
        self.width = int(shape.hidden_size)
        self.config = config
        positions = getattr(shape, "max_position_embeddings", None) or config.max_length
        self.max_length = min(config.max_length, self.tokenizer.model_max_length, positions)
        self.pad = self.tokenizer.pad_token_id or 0
        template = self.tokenizer(["a"], is_split_into_words=True)["input_ids"]
        bare = self.tokenizer(["a"], is_split_into_words=True, add_special_tokens=False)["input_ids"]
        at = next(i for i in range(len(template)) if template[i : i + len(bare)] == bare)
        self.prefix, self.suffix = template[:at], template[at + len(bare) :]
        self._pieces: dict[str, list[int]] = {}
        if config.embeddings == "frozen":
            model.get_input_embeddings().weight.requires_grad_(False)

    def tokenize(self, sentences: Sequence[Words]) -> list[Tokens]:
        unseen = list({word for words in sentences for word in words} - self._pieces.keys())
        if unseen:
            said = self.tokenizer([[w] for w in unseen], is_split_into_words=True, add_special_tokens=False)[
                "input_ids"
            ]
            unknown = [self.tokenizer.unk_token_id or 0]  # a word of odd spaces only has no piece, yet needs a state
            self._pieces.update((word, pieces or unknown) for word, pieces in zip(unseen, said, strict=True))
        return [self._assemble(words) for words in sentences]

    def _assemble(self, words: Words) -> Tokens:
        pieces = [self._pieces[word] for word in words]
        starts = len(self.prefix) + np.cumsum([0, *map(len, pieces)], dtype=np.int64)[:-1]
        room = self.max_length - len(self.suffix)
        ids = [*self.prefix, *(piece for word in pieces for piece in word)][:room] + self.suffix
        return Tokens(np.asarray(ids, dtype=np.int64), np.where(starts < room, starts, -1))

    def collate(self, sentences: Sequence[Tokens]) -> dict[str, Tensor]:
        ids = [torch.from_numpy(tokens.ids) for tokens in sentences]
        starts = [torch.from_numpy(tokens.starts) for tokens in sentences]
        lengths = torch.tensor([len(i) for i in ids])
        return {
            "ids": pad_sequence(ids, batch_first=True, padding_value=self.pad),
            "attend": torch.arange(int(lengths.max()))[None] < lengths[:, None],
            "starts": pad_sequence(starts, batch_first=True, padding_value=-1),
        }

    def forward(self, inputs: Mapping[str, Tensor]) -> States:
        said = self.model(inputs["ids"], attention_mask=inputs["attend"].long(), output_hidden_states=True)
        slots = said.last_hidden_state
        return States(pick(slots, inputs["starts"]), slots, tuple(said.hidden_states), inputs["starts"])

    def adapt(self, sentences: Iterable[Words]) -> None:
        if self.config.embeddings != "touched":
            return
        table = self.model.get_input_embeddings()
        occurring = {int(i) for tokens in self.tokenize(list(sentences)) for i in tokens.ids}
        self.model.set_input_embeddings(TouchedEmbedding(table, sorted(occurring | {self.pad})))

    def settle(self) -> None:
        table = self.model.get_input_embeddings()
        if isinstance(table, TouchedEmbedding):
            self.model.set_input_embeddings(table.whole())


class TouchedEmbedding(nn.Module):
    """A word-embedding table of which only the rows that occur are parameters; the others rest in a buffer."""

    touched: Tensor
    table: Tensor
    local: Tensor

    def __init__(self, table: nn.Embedding, rows: Sequence[int]) -> None:
        super().__init__()
        touched = torch.tensor(rows, device=table.weight.device)
        self.register_buffer("touched", touched, persistent=False)
        self.register_buffer("table", table.weight.detach())
        local = torch.full((table.num_embeddings,), -1, device=touched.device)
        local[touched] = torch.arange(len(rows), device=touched.device)
        self.register_buffer("local", local, persistent=False)
        self.rows = nn.Parameter(self.table[touched].clone())
        self._padding = table.padding_idx
        self._local_padding = rows.index(table.padding_idx) if table.padding_idx in rows else None

    def forward(self, ids: Tensor) -> Tensor:
        local = self.local[ids]
        touched = F.embedding(local.clamp(min=0), self.rows, self._local_padding)
        if self.training:
            return touched  # training sentences, and the padding between them, hold no other rows
        return torch.where((local >= 0)[..., None], touched, F.embedding(ids, self.table))

    def whole(self) -> nn.Embedding:
        """The full table, with the trained rows in their places."""
        weight = self.table.index_copy(0, self.touched, self.rows.detach())
        return nn.Embedding(weight.size(0), weight.size(1), self._padding, _weight=weight, _freeze=False)


@encoder("bilstm")
class Bilstm(EncoderConfig):
    """Word + character BiLSTM, trained from scratch or from GloVe vectors: a fast system where there is no GPU.

    The vocabulary comes from the training sentences of each step and only grows; digits are read as 0, words rarer
    than `min_count` as unknown (their characters still speak). Source: the progressive taggers.
    """

    word_width: int = 100
    char_width: int = 25
    width: int = 128
    """Hidden units per direction; the states have twice as many."""
    min_count: int = 2
    dropout: float = 0.0
    """On the word and character vectors."""
    vectors: str | None = unhashed(default=None)
    """A text file in GloVe's form (a word, then `word_width` numbers); looked up cased, then lower-cased."""

    def __post_init__(self) -> None:
        if min(self.word_width, self.char_width, self.width, self.min_count) < 1:
            raise ValueError("widths and min_count are at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout {self.dropout}: from 0 up to, not including, 1")

    def build(self, memory: Plain = None, *, fresh: bool) -> "WordCharBilstm":  # noqa: ARG002
        return WordCharBilstm(self, memory or {"words": [], "chars": []})

    def identity(self) -> str:
        if not self.vectors:
            return ""
        try:
            return _digest([Path(self.vectors).expanduser()])
        except OSError as error:
            raise _no_vectors(error) from None


class WordCharBilstm(Encoder):
    """states = BiLSTM([word vector ; last states of a character BiLSTM]); packed, so padding is never read."""

    mixed = False
    unknown = 0

    def __init__(self, config: Bilstm, memory: Mapping[str, list[str]]) -> None:
        super().__init__()
        self.config, self.width = config, 2 * config.width
        self.word_ids = {word: i for i, word in enumerate(memory["words"], start=1)}
        self.char_ids = {char: i for i, char in enumerate(memory["chars"], start=1)}
        self.words = nn.Embedding(1 + len(self.word_ids), config.word_width)
        self.chars = nn.Embedding(1 + len(self.char_ids), config.char_width)
        for table in (self.words, self.chars):
            nn.init.uniform_(table.weight, -0.25, 0.25)
        self.spelling = nn.LSTM(config.char_width, config.char_width, bidirectional=True, batch_first=True)
        self.reading = nn.LSTM(
            config.word_width + 2 * config.char_width, config.width, bidirectional=True, batch_first=True
        )
        self.dropout = nn.Dropout(config.dropout)

    def memory(self) -> Plain:
        return {"words": list(self.word_ids), "chars": list(self.char_ids)}

    def adapt(self, sentences: Iterable[Words]) -> None:
        counted = Counter(_digits_to_zero(word) for words in sentences for word in words)
        chars = sorted({char for word in counted for char in word} - self.char_ids.keys())
        words = sorted(w for w, n in counted.items() if n >= self.config.min_count and w not in self.word_ids)
        self.char_ids.update((char, i) for i, char in enumerate(chars, start=1 + len(self.char_ids)))
        self.word_ids.update((word, i) for i, word in enumerate(words, start=1 + len(self.word_ids)))
        self.words = _extended(self.words, len(words))
        self.chars = _extended(self.chars, len(chars))
        if self.config.vectors and words:
            self._read_vectors(words)

    def _read_vectors(self, words: Sequence[str]) -> None:
        known = _word_vectors(Path(str(self.config.vectors)).expanduser(), self.config.word_width, words)
        with torch.no_grad():
            for word in words:
                vector = known.get(word, known.get(word.lower()))
                if vector is not None:
                    self.words.weight[self.word_ids[word]] = torch.from_numpy(vector).to(self.words.weight)

    def tokenize(self, sentences: Sequence[Words]) -> list[Tokens]:
        return [self._look_up(tuple(_digits_to_zero(word) for word in words)) for words in sentences]

    def _look_up(self, words: Words) -> Tokens:
        ids = np.asarray([self.word_ids.get(word, self.unknown) for word in words], dtype=np.int64)
        return Tokens(ids, np.arange(len(words)), words)

    def collate(self, sentences: Sequence[Tokens]) -> dict[str, Tensor]:
        distinct: dict[str, int] = {}
        index = [
            torch.tensor([distinct.setdefault(word, len(distinct)) for word in tokens.words]) for tokens in sentences
        ]
        spelled = [torch.tensor([self.char_ids.get(char, self.unknown) for char in word]) for word in distinct]
        return {
            "ids": pad_sequence([torch.from_numpy(tokens.ids) for tokens in sentences], batch_first=True),
            "lengths": torch.tensor([len(tokens) for tokens in sentences]),
            "chars": pad_sequence(spelled, batch_first=True),
            "char_lengths": torch.tensor([len(word) for word in distinct]),
            "spelling": pad_sequence(index, batch_first=True),
            "starts": pad_sequence([torch.from_numpy(t.starts) for t in sentences], batch_first=True, padding_value=-1),
        }

    def forward(self, inputs: Mapping[str, Tensor]) -> States:
        packed = _pack(self.chars(self._known(inputs["chars"], self.chars)), inputs["char_lengths"])
        _, (last, _) = self.spelling(packed)
        spelled = torch.cat([last[0], last[1]], dim=-1)[inputs["spelling"]]  # [B, T, 2K]
        words = torch.cat([self.words(self._known(inputs["ids"], self.words)), spelled], dim=-1)
        read, _ = self.reading(_pack(self.dropout(words), inputs["lengths"]))
        slots, _ = pad_packed_sequence(read, batch_first=True, total_length=inputs["ids"].size(1))
        return States(pick(slots, inputs["starts"]), slots, (slots,), inputs["starts"])

    def _known(self, ids: Tensor, table: nn.Embedding) -> Tensor:
        """A teacher reads a student's batch: words and characters that came after it are unknown to it."""
        return ids.where(ids < table.num_embeddings, self.unknown)


def _pack(vectors: Tensor, lengths: Tensor) -> Any:
    return pack_padded_sequence(vectors, lengths.cpu(), batch_first=True, enforce_sorted=False)


def pick(slots: Tensor, starts: Tensor) -> Tensor:
    """[B, L, H], [B, T] -> [B, T, H]: the slot of each word, zero where there is none."""
    at = starts.clamp(min=0)[..., None].expand(-1, -1, slots.size(-1))
    return slots.gather(1, at) * (starts >= 0)[..., None]


def _extended(table: nn.Embedding, more: int) -> nn.Embedding:
    if not more:
        return table
    fresh = torch.empty(more, table.embedding_dim).uniform_(-0.25, 0.25).to(table.weight)
    weight = torch.cat([table.weight.detach(), fresh])
    return nn.Embedding(weight.size(0), weight.size(1), _weight=weight, _freeze=False)


def _digits_to_zero(word: str) -> str:
    return "".join("0" if char.isdigit() else char for char in word)


def _word_vectors(path: Path, width: int, words: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    wanted = {form for word in words for form in (word, word.lower())}
    found: dict[str, NDArray[np.float32]] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for number, text in enumerate(lines, start=1):
                word, *numbers = text.rstrip("\n").split(" ")
                if word not in wanted or (len(numbers) > width and not _is_number(numbers[0])):
                    continue  # the largest GloVe files have words with spaces in them, such as ". . ."
                if len(numbers) != width:
                    remedy = f"set model.encoder.word_width={len(numbers)}"
                    line = f"{path}:{number} has {len(numbers)} numbers after the word"
                    raise Refusal(line, where="model.encoder.vectors", remedy=remedy)
                found[word] = np.asarray(numbers, dtype=np.float32)
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or not a number
        raise _no_vectors(error) from None
    return found


def _is_number(text: str) -> bool:
    return text.lstrip("+-.")[:1].isdigit()


def _no_vectors(error: Exception) -> Refusal:
    remedy = "name a text file in GloVe's form"
    return Refusal(f"cannot read word vectors: {error}", where="model.encoder.vectors", remedy=remedy)


def _digest(files: Iterable[Path]) -> str:
    """sha256 over names and contents."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
