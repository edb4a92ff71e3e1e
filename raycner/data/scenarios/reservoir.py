"""Reservoir: text without annotations, from which later steps draw sentences with old entities.

A step's own sentences may hold no entity of an old type, and then nothing holds the type in place. The step's teacher
reads the reservoir, text that may be used, once. Sentences with entities that it is sure of are learned as the method
learns words without annotation: by pseudo-labels, or by distillation.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from raycner.addresses import shown
from raycner.data.corpora import Corpus, store_corpus
from raycner.data.layouts.layout import Row
from raycner.data.passages import form_of, passages
from raycner.data.sources import every
from raycner.errors import InputError
from raycner.hashing import not_hashed
from raycner.storage.store import ObjectStore


@dataclass(frozen=True, kw_only=True)
class ReservoirConfig:
    """Which text, and how much of it a step draws."""

    path: str = not_hashed(default="")
    """A folder, a file or a pattern of .txt (a passage a line), .jsonl or columns, of which only the words are read."""
    size: int = 20
    """How many sentences with an entity of each old type a step draws, as far as there are any; a sentence may count
    for several."""
    confidence: float = 0.9
    """The least confidence of the teacher in such an entity."""

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.confidence <= 1:
            raise ValueError("size is at least 1, and confidence from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class ReservoirKey:
    """What of a reservoir determines what a step draws."""

    corpus: str
    """Fingerprint of the text."""
    size: int
    confidence: float


def prepare_reservoir(config: ReservoirConfig, store: ObjectStore, emit: Callable[[str], None]) -> Corpus:
    """The text as a corpus without annotations, read into the store if it lacks it."""
    rows = _rows(config.path)
    reservoir = store_corpus(rows, (), f"reservoir {shown(config.path)}", store, emit)
    if not len(reservoir["train"]):
        raise InputError("no sentence in it", location="scenario.reservoir.path", hint="name files with text")
    return reservoir


def _rows(path: str) -> Iterator[Row]:
    for name, file in every(path).items():
        for passage in passages(file, form_of(name)):
            yield from (Row("train", words, ()) for words in passage.sentences if words)
