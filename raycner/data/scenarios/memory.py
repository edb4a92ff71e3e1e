"""Memory: sentences of finished steps, kept with their annotations and learned again in every later step (replay).

A memory is a small corpus in the store, with the step that it is of and the day until which it may be kept.
`raycner store gc` removes it after that day. Corpora and the copies in a node's cache are not memories: where the text
itself must go, remove them too.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
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

LOGITS = "logits.npy"


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
    keep: Literal["labels", "logits"] = omit_default_from_hash("labels")
    """What is kept next to the words. labels: their annotations (experience replay). logits: also the logits that the
    network of their step gave their words, for `method.name=der`."""
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


def write_memory(
    folder: Path,
    sentences: Iterable[Sentence],
    types: Collection[str],
    record: MemoryRecord,
    logits: Sequence[NDArray[np.float32]] | None = None,
) -> None:
    """A memory in a new folder, for the store to commit."""
    rows = (Row("train", sentence.words, sorted(sentence.entities)) for sentence in sentences)
    write_corpus(rows, folder, sorted(types), source=f"memory of step {record.step}")
    if logits:
        np.save(folder / LOGITS, np.concatenate(logits), allow_pickle=False)
    record.write(folder)


def open_memory(folder: Path, location: str) -> Split:
    """The sentences of a memory, with all of their annotations visible, and with its logits if it has any.

    Raises `InputError` if they are damaged.
    """
    corpus = open_validated(folder, location)
    memory = whole(corpus, "train", corpus.types)
    if not (folder / LOGITS).exists():
        return memory
    try:
        logits = np.load(folder / LOGITS, mmap_mode="r", allow_pickle=False)
        if logits.ndim != 2 or len(logits) != memory.lengths.sum() or logits.dtype.kind != "f":
            raise ValueError(f"an array of shape {logits.shape} and type {logits.dtype}")
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        hint = "remove the memory: it is chosen again from the corpus"
        raise InputError(f"not the logits of a memory ({reason})", location=location, hint=hint) from None
    return memory.with_column(KeptLogits(np.split(logits, np.cumsum(memory.lengths)[:-1])))
