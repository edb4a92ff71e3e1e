"""Encoder: words in, one state per word out.

Shapes: B sentences, T words, L slots (pieces or words), H width.
"""

import hashlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """The output of an encoder for a batch."""

    words: Tensor
    """[B, T, H] one state per word (of its first piece), zero for words without one."""
    slots: Tensor
    """[B, L, H] the states from which `words` was gathered; padding included."""
    layers: tuple[Tensor, ...]
    """[B, L, H] each: the slots' states after every layer, embeddings first if there are any."""
    starts: Tensor
    """[B, T] the slot of each word, -1 for none."""
    attend: Tensor | None = None
    """[B, L] false for padding; None if the slots are the words."""
    vectors: Tensor | None = None
    """[B, T, H] the embedding of each word's first piece, if a checkpoint's decoder shares the table; else None."""

    @classmethod
    def of_words(cls, words: Tensor) -> "States":
        """States [B, T, H] of an encoder whose slots are the words themselves."""
        return cls(words, words, (words,), torch.arange(words.size(1), device=words.device).expand(words.shape[:2]))


class Tokens(NamedTuple):
    """A tokenised sentence."""

    ids: NDArray[np.int64]
    """[L] piece ids, or word ids."""
    starts: NDArray[np.int64]
    """[T] the slot of each word's first piece; -1 for a word without one."""
    words: Words = ()
    """The words themselves, if the encoder reads characters."""

    def __len__(self) -> int:
        return len(self.ids)


class Pieces(NamedTuple):
    """The pieces of words, as far as a reader of a corpus must know them."""

    counts: NDArray[np.int64]
    """[words] how many each word has."""
    known: NDArray[np.bool_]
    """[words] whether any piece other than that of unknown words stands for it."""
    limit: int
    """How many pieces of words are read at once."""


class Encoder(nn.Module, ABC):
    """Words in, one state per word out."""

    width: int
    """H."""
    mixed: bool
    """Whether it may compute in bf16 on devices that do so well."""
    max_length: int = sys.maxsize
    """The most slots that it reads at once. It reads a longer sentence in overlapping windows."""
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
        """Undo the temporary changes of `adapt`, so that `state_dict` has the same form after every step."""

    def pieces(self, words: Sequence[str]) -> Pieces | None:  # noqa: ARG002
        """The pieces of each word; None for an encoder that reads words whole, in sentences of any length."""
        return None

    def vectors(self, texts: Sequence[str]) -> Tensor | None:  # noqa: ARG002
        """[texts, H] the mean embedding of the pieces of each text; None if it has no embeddings of width H."""
        return None

    def base(self) -> Iterator[nn.Parameter]:
        """The weights that no step trains and `state_dict` leaves out, if `EncoderConfig.keeps_base`."""
        return iter(())

    def merge(self) -> "EncoderConfig":
        """Merge what is trained in place of the base into it. Returns the settings of the encoder that this makes."""
        raise TypeError(f"{type(self).__name__} has no base")

    def memory(self) -> Plain:
        """The data from which, with the configuration, `build` makes this encoder before weights are loaded."""
        return None

    def save_frame(self, folder: Path) -> None:
        """Write the files other than weights that `build` reads from the configuration's `path`."""

    def classifier(self, labels: Sequence[str], weight: Tensor, bias: Tensor) -> Any:  # noqa: ARG002
        """This encoder with a linear layer as a token classifier of transformers: logits = weight @ state + bias.

        None if transformers has no such model. Shapes: weight [C, H], bias [C].
        """
        return None


ENCODERS = Registry("encoder", group="raycner.encoders")


class EncoderConfig(ABC):
    """The settings of an encoder. `model.encoder.name` chooses the kind."""

    family: ClassVar[Registry] = ENCODERS
    name: ClassVar[str]

    @abstractmethod
    def build(self, memory: Plain = None, *, fresh: bool) -> Encoder:
        """The encoder: `fresh` with its initial weights, else with weights that a checkpoint overwrites."""

    def has_classifier(self) -> bool:
        """Whether transformers has a token classifier of this encoder and a linear layer (`Encoder.classifier`)."""
        return False

    def identity(self) -> str:
        """A digest of the pretrained weights that it starts from; empty if there are none."""
        return ""

    def sizes(self) -> Mapping[str, int]:
        """Its dimensions by name: none is larger than the largest one of its weights."""
        return {}

    @property
    def is_frozen(self) -> bool:
        """Whether a step with these settings leaves its weights as they are."""
        return False

    @property
    def keeps_base(self) -> bool:
        """Whether pretrained weights are never trained, and are no part of a checkpoint: `build` reads their files."""
        return False

    @property
    def first(self) -> "EncoderConfig":
        """The settings of step 0."""
        return self


def pick(slots: Tensor, starts: Tensor) -> Tensor:
    """[B, L, H], [B, T] -> [B, T, H]: the slot of each word, zero for none."""
    at = starts.clamp(min=0)[..., None].expand(-1, -1, slots.size(-1))
    return slots.gather(1, at) * (starts >= 0)[..., None]


def digest(files: Iterable[Path]) -> str:
    """sha256 over names and contents."""
    sha256 = hashlib.sha256()
    for file in files:
        sha256.update(file.name.encode())
        with file.open("rb") as stream:
            sha256.update(hashlib.file_digest(stream, "sha256").digest())
    return sha256.hexdigest()
