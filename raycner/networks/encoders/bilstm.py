"""The word + character BiLSTM: trained from scratch, or from word vectors in GloVe's format.

Shapes: B sentences, T words, W distinct words, K characters, H width.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from raycner.errors import InputError
from raycner.hashing import Plain, not_hashed
from raycner.networks.encoders.encoder import ENCODERS, Encoder, EncoderConfig, States, Tokens, Words, digest, pick


@dataclass(frozen=True)
class Vocabulary:
    """The words and characters that have vectors, in the order of these."""

    words: tuple[str, ...] = ()
    chars: tuple[str, ...] = ()


_VOCABULARIES = TypeAdapter(Vocabulary)


@ENCODERS.register("bilstm")
class Bilstm(EncoderConfig):
    """Word + character BiLSTM, trained from scratch or from GloVe vectors: fast without a GPU.

    The vocabulary is built from the training sentences of each step and only grows. Digits are read as 0, and words
    rarer than `min_count` as unknown (their characters are still read). Source: the progressive taggers BLSTM
    (`model.head.name=linear`) and Seq2Seq (`seq2seq`); published values are given in this order.
    """

    word_width: int = 100
    """Of the word vectors. Published: 100."""
    char_width: int = 25
    """Of the character vectors, and hidden units per direction of the character LSTM. Published: 25 and 15."""
    width: int = 128
    """Hidden units per direction; the states are twice as wide. Published: 128 and 72."""
    min_count: int = 2
    dropout: float = 0.0
    """On the word and character vectors. Published: 0.5 and 0.4."""
    vectors: str | None = not_hashed(default=None)
    """A text file in GloVe's format (a word, then `word_width` numbers); looked up cased, then lower-cased."""

    def __post_init__(self) -> None:
        if min(self.word_width, self.char_width, self.width, self.min_count) < 1:
            raise ValueError("widths and min_count are at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout {self.dropout}: from 0 up to, not including, 1")

    def build(self, memory: Plain = None, *, fresh: bool) -> "WordCharBilstm":  # noqa: ARG002
        try:
            vocabulary = _VOCABULARIES.validate_python(memory or Vocabulary())
        except ValidationError as error:
            flaw = error.errors(include_url=False)[0]
            what = f"not the vocabulary of this encoder ({flaw['msg'].lower()})"
            raise InputError(what, location="memory", hint="the checkpoint is damaged: make it again") from None
        return WordCharBilstm(self, vocabulary)

    def sizes(self) -> Mapping[str, int]:
        return {"word_width": self.word_width, "char_width": self.char_width, "width": self.width}

    def identity(self) -> str:
        if not self.vectors:
            return ""
        try:
            return digest([Path(self.vectors).expanduser()])
        except OSError as error:
            raise _no_vectors(error) from None


class WordCharBilstm(Encoder):
    """states = BiLSTM([word vector ; last states of a character BiLSTM]); packed, so padding is never read."""

    mixed = False
    slots_are_words = True
    unknown = 0

    def __init__(self, config: Bilstm, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config, self.width = config, 2 * config.width
        self.word_ids = {word: i for i, word in enumerate(vocabulary.words, start=1)}
        self.char_ids = {char: i for i, char in enumerate(vocabulary.chars, start=1)}
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

    def adapt(self, sentences: Iterable[Words], token_ids: NDArray[np.int64] | None = None) -> None:  # noqa: ARG002
        counts = Counter(_digits_to_zero(word) for words in sentences for word in words)
        chars = sorted({char for word in counts for char in word} - self.char_ids.keys())
        words = sorted(w for w, n in counts.items() if n >= self.config.min_count and w not in self.word_ids)
        self.char_ids.update((char, i) for i, char in enumerate(chars, start=1 + len(self.char_ids)))
        self.word_ids.update((word, i) for i, word in enumerate(words, start=1 + len(self.word_ids)))
        self.words = _extended(self.words, len(words))
        self.chars = _extended(self.chars, len(chars))
        if self.config.vectors and words:
            self._read_vectors(words)

    def _read_vectors(self, words: Sequence[str]) -> None:
        vectors = _word_vectors(Path(str(self.config.vectors)).expanduser(), self.config.word_width, words)
        with torch.no_grad():
            for word in words:
                vector = vectors.get(word, vectors.get(word.lower()))
                if vector is not None:
                    self.words.weight[self.word_ids[word]] = torch.from_numpy(vector).to(self.words.weight)

    def tokenize(self, sentences: Sequence[Words]) -> list[Tokens]:
        return [self._look_up(tuple(_digits_to_zero(word) for word in words)) for words in sentences]

    def _look_up(self, words: Words) -> Tokens:
        ids = np.asarray([self.word_ids.get(word, self.unknown) for word in words], dtype=np.int64)
        return Tokens(ids, np.arange(len(words)), words)

    def collate(self, sentences: Sequence[Tokens]) -> dict[str, Tensor]:
        distinct: dict[str, int] = {}
        index = [distinct.setdefault(word, len(distinct)) for tokens in sentences for word in tokens.words]
        lengths = np.asarray([len(tokens) for tokens in sentences])
        spelled = [self.char_ids.get(char, self.unknown) for word in distinct for char in word]
        char_lengths = np.asarray([len(word) for word in distinct])
        return {
            "ids": _padded(np.concatenate([tokens.ids for tokens in sentences]), lengths),
            "lengths": torch.from_numpy(lengths),
            "chars": _padded(spelled, char_lengths),
            "char_lengths": torch.from_numpy(char_lengths),
            "spelling": _padded(index, lengths),
            "starts": _padded(np.concatenate([tokens.starts for tokens in sentences]), lengths, -1),
        }

    def forward(self, inputs: Mapping[str, Tensor]) -> States:
        packed = _pack(self.chars(self._in_table(inputs["chars"], self.chars)), inputs["char_lengths"])
        _, (last, _) = self.spelling(packed)
        spelling = torch.cat([last[0], last[1]], dim=-1)[inputs["spelling"]]  # [B, T, 2K]
        words = torch.cat([self.words(self._in_table(inputs["ids"], self.words)), spelling], dim=-1)
        states, _ = self.reading(_pack(self.dropout(words), inputs["lengths"]))
        slots, _ = pad_packed_sequence(states, batch_first=True, total_length=inputs["ids"].size(1))
        return States(pick(slots, inputs["starts"]), slots, (slots,), inputs["starts"])

    def _in_table(self, ids: Tensor, table: nn.Embedding) -> Tensor:
        """The ids, with those beyond the table as unknown: a teacher reads batches of a student with more words."""
        return ids.where(ids < table.num_embeddings, self.unknown)


def _padded(flat: ArrayLike, lengths: NDArray[np.int64], padding: int = 0) -> Tensor:
    """Concatenated rows of these lengths -> [rows, longest]."""
    rows = np.full((len(lengths), lengths.max()), padding, dtype=np.int64)
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = flat
    return torch.from_numpy(rows)


def _pack(vectors: Tensor, lengths: Tensor) -> Any:
    return pack_padded_sequence(vectors, lengths.cpu(), batch_first=True, enforce_sorted=False)


def _extended(table: nn.Embedding, more: int) -> nn.Embedding:
    if not more:
        return table
    new = torch.empty(more, table.embedding_dim).uniform_(-0.25, 0.25).to(table.weight)
    weight = torch.cat([table.weight.detach(), new])
    return nn.Embedding(weight.size(0), weight.size(1), _weight=weight, _freeze=False)


def _digits_to_zero(word: str) -> str:
    return "".join("0" if char.isdigit() else char for char in word)


def _word_vectors(path: Path, width: int, words: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    forms = {form for word in words for form in (word, word.lower())}
    vectors: dict[str, NDArray[np.float32]] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for number, text in enumerate(lines, start=1):
                word, _, rest = text.rstrip("\n").partition(" ")
                if word not in forms:
                    continue
                numbers = rest.split(" ")
                if len(numbers) > width and not _is_number(numbers[0]):
                    continue  # the largest GloVe files have words with spaces, such as ". . ."
                if len(numbers) != width:
                    hint = f"set model.encoder.word_width={len(numbers)}"
                    line = f"{path}:{number} has {len(numbers)} numbers after the word"
                    raise InputError(line, location="model.encoder.vectors", hint=hint)
                vectors[word] = np.asarray(numbers, dtype=np.float32)
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or not a number
        raise _no_vectors(error) from None
    return vectors


def _is_number(text: str) -> bool:
    return text.lstrip("+-.")[:1].isdigit()


def _no_vectors(error: Exception) -> InputError:
    hint = "name a text file in GloVe's format"
    return InputError(f"cannot read word vectors: {error}", location="model.encoder.vectors", hint=hint)
