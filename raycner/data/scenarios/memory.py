"""Memory: sentences of finished steps, kept with their annotations and learned again in every later step (replay).

A memory is a small corpus in the store, with the step that it is of and the day until which it may be kept.
`raycner store gc` removes it after that day. Corpora and the copies in a node's cache are not memories: where the text
itself must go, remove them too.

With an encoder that no later step changes, a memory may keep the states of the words in place of the words (latent
replay): its sentences are then placeholders, as many as there are words, with their annotations. States are not text,
but they are not anonymous either: who has the encoder can find words whose states resemble them.
Source: Latent Replay for Real-Time Continual Learning (IROS 2020), there the activations of a layer, for images.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raycner.data.corpora import open_validated, write_corpus
from raycner.data.entities import Sentence
from raycner.data.layouts.layout import Row
from raycner.data.scenarios.experience import Split, whole
from raycner.errors import InputError
from raycner.hashing import not_hashed, omit_default_from_hash
from raycner.storage.memories import MemoryRecord

PLACEHOLDER = "_"
"""What stands for a word whose state is kept in its place."""


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """Which sentences of a finished step are kept for the later ones."""

    size: int = 0
    """How many sentences, of each type or of each step; 0 keeps none."""
    per: Literal["type", "step"] = "type"
    """type: so many sentences with an entity of each type of the step; a sentence may count for several. step: so many
    sentences with an entity."""
    choose: Literal["random", "rarest", "herding", "uncertain"] = "random"
    """random; rarest: those whose types are the rarest in the step; herding: those whose entities' states together are
    nearest to the mean of all (iCaRL); uncertain: those whose entities the network of the step predicts with the least
    confidence."""
    keep: Literal["labels", "logits", "states"] = omit_default_from_hash("labels")
    """What is kept of the words. labels: the words and their annotations (experience replay). logits: also the logits
    that the network of their step gave them, for `method.name=der`. states: their states in place of the words, with
    their annotations, for an encoder that stays as it is (latent replay); states are not text, but not anonymous."""
    until: date | None = not_hashed(default=None)
    """The last day on which the sentences may be kept and learned from, as 2027-12-31."""

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"size {self.size}: not negative")

    def require_permission(self) -> None:
        """Raise `InputError` after the last day."""
        if self.size and self.until is not None and date.today() > self.until:
            line = f"sentences could be kept until {self.until}, which is over"
            hint = "extend it where you may, or set scenario.memory.size=0"
            raise InputError(line, location="scenario.memory.until", hint=hint)


class KeptLogits(NamedTuple):
    """A column of a memory: the logits of its words under the network of the step that they are of."""

    of_sentences: Sequence[NDArray[np.float32]]
    """[words, C] of each sentence, C the tags of that network; zero for words without a state."""


class KeptStates(NamedTuple):
    """A column of a memory whose words are placeholders: the states of the words under the encoder of all steps."""

    of_sentences: Sequence[NDArray[np.float32]]
    """[words, H] of each sentence, H the width of the encoder."""


Kept = KeptLogits | KeptStates
KEPT: dict[str, type[Kept]] = {"logits": KeptLogits, "states": KeptStates}
"""What a memory may have for each word, by `MemoryConfig.keep`; also the names of its files."""


def write_memory(
    folder: Path,
    sentences: Iterable[Sentence],
    types: Collection[str],
    record: MemoryRecord,
    column: Kept | None = None,
) -> None:
    """A memory in a new folder, for the store to commit. Where it keeps states, the words are left out."""
    if isinstance(column, KeptStates):
        sentences = (replace(sentence, words=(PLACEHOLDER,) * len(sentence.words)) for sentence in sentences)
    rows = (Row("train", sentence.words, sorted(sentence.entities)) for sentence in sentences)
    write_corpus(rows, folder, sorted(types), source=f"memory of step {record.step}")
    if column is not None and column.of_sentences:
        (name,) = (name for name, kind in KEPT.items() if isinstance(column, kind))
        np.save(folder / f"{name}.npy", np.concatenate(column.of_sentences), allow_pickle=False)
    record.write(folder)


def open_memory(folder: Path, location: str) -> Split:
    """The sentences of a memory, with all of their annotations visible, and with its logits or states if it has any.

    Raises `InputError` if they are damaged.
    """
    corpus = open_validated(folder, location)
    memory = whole(corpus, "train", corpus.types)
    for name, kind in KEPT.items():
        if (folder / f"{name}.npy").exists():
            rows = _rows(folder, name, int(memory.lengths.sum()), location)
            memory = memory.with_column(kind(np.split(rows, np.cumsum(memory.lengths)[:-1])))
    return memory


def _rows(folder: Path, name: str, words: int, location: str) -> NDArray[np.float32]:
    """[words, ...] what a memory has for each word. Raises `InputError` if it is damaged."""
    try:
        rows: NDArray[np.float32] = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        if rows.ndim != 2 or len(rows) != words or rows.dtype.kind != "f":
            raise ValueError(f"an array of shape {rows.shape} and type {rows.dtype}")
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        hint = "remove the memory: it is chosen again from the corpus"
        raise InputError(f"not the {name} of a memory ({reason})", location=location, hint=hint) from None
    return rows
