"""Encoders: words in, one state per word out. One file a kind; dropping a file here registers it.

Shapes: B sentences, T words, L slots (pieces or words), H width.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raycner.hashing import Plain
from raycner.registry import Registry

Words = Sequence[str]


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
    attend: Tensor | None = None
    """[B, L] true where a slot is no padding; None where the slots are the words."""
    vectors: Tensor | None = None
    """[B, T, H] a word's first piece before any context, in the table that a checkpoint's decoder reads too; None where
    the encoder shares no table."""

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
    slots_are_words: ClassVar[bool] = False
    """Whether each word is one slot, so that the length of a sentence is known before it is tokenised."""

    @abstractmethod
    def tokenize(self, sentences: Sequence[Words]) -> list[Tokens]: ...

    def tokenizer_digest(self) -> str | None:
        """A digest of all that determines `tokenize`, by which tokens are kept for other steps and processes.

        None when the vocabulary grows with the steps, or when a batch needs `Tokens.words`.
        """
        return None

    @abstractmethod
    def collate(self, sentences: Sequence[Tokens]) -> dict[str, Tensor]: ...

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor]) -> States: ...

    def adapt(self, sentences: Iterable[Words], token_ids: NDArray[np.int64] | None = None) -> None:
        """Prepare for a step whose training sentences are these; every rank reads all of them.

        `token_ids` are the distinct ids of their tokens, where columns hold them: the sentences need not be read then.
        """

    def finalize(self) -> None:
        """Undo what `adapt` did for the step alone, so that `state_dict` is the same whatever the step was."""

    def vectors(self, texts: Sequence[str]) -> Tensor | None:  # noqa: ARG002
        """[texts, H] the mean of its own vectors for the pieces of each text; None where it has none of that width."""
        return None

    def memory(self) -> Plain:
        """What must be known, beside the configuration, to build this encoder again before its weights are loaded."""
        return None

    def save_frame(self, folder: Path) -> None:
        """Write the files, weights aside, that the configuration's `path` must lead to for building it again."""

    def classifier(self, labels: Sequence[str], weight: Tensor, bias: Tensor) -> Any:  # noqa: ARG002
        """This encoder and a linear layer as a model of transformers that says logits = weight @ state + bias of every
        slot; None where transformers has no such model. Shapes: weight [C, H], bias [C]."""
        return None


ENCODERS = Registry("encoder")


class EncoderConfig(ABC):
    """How an encoder is made; a kind is chosen by `model.encoder.name`."""

    family: ClassVar[Registry] = ENCODERS
    name: ClassVar[str]

    @abstractmethod
    def build(self, memory: Plain = None, *, fresh: bool) -> Encoder:
        """Make the encoder: `fresh` with the weights it starts from, else a frame that a checkpoint will fill."""

    def identity(self) -> str:
        """A digest of the weights it starts from, wherever they lie; empty when the configuration says it all."""
        return ""


def pick(slots: Tensor, starts: Tensor) -> Tensor:
    """[B, L, H], [B, T] -> [B, T, H]: the slot of each word, zero where there is none."""
    at = starts.clamp(min=0)[..., None].expand(-1, -1, slots.size(-1))
    return slots.gather(1, at) * (starts >= 0)[..., None]


def digest(files: Iterable[Path]) -> str:
    """sha256 over names and contents."""
    read = hashlib.sha256()
    for file in files:
        read.update(file.name.encode())
        with file.open("rb") as stream:
            read.update(hashlib.file_digest(stream, "sha256").digest())
    return read.hexdigest()
