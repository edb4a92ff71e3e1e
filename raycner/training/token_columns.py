"""Tokenised splits: sentences as an encoder reads them, in columns that a node writes once and every rank maps.

The columns of a corpus part depend on its content and on the tokenizer, not on the step: all steps, teacher passes and
evaluations on a node share one file, in this node's cache folder. An encoder whose vocabulary grows with the steps has
no such columns; its sentences are tokenised when they are read. Neither way holds a split in memory.

Shapes: L slots of a sentence, T words.
"""

import logging
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import ipc

from raycner.data.arrow_files import map_table
from raycner.data.scenarios.scenario import Split
from raycner.data.sentence_table import SentenceTable
from raycner.errors import InputError
from raycner.hashing import fingerprint
from raycner.networks.encoders.encoder import Encoder, Tokens, Words
from raycner.storage.store import cache_folder, cached

log = logging.getLogger(__name__)

SCHEMA = pa.schema([("ids", pa.list_(pa.int32())), ("starts", pa.list_(pa.int32()))])
"""The fields of `Tokens` that are arrays: an encoder with columns reads no more."""
COLUMNS_VERSION = 1
"""Raised whenever the form of the columns changes."""
CHUNK_ROWS = 10_000
"""Sentences tokenised at a time, which become one record batch."""
FILE_NAME = "tokens.arrow"

_mapped: "WeakValueDictionary[Path, TokenColumns]" = WeakValueDictionary()
"""What this process has checked and mapped, while a loader uses it."""


class TokenizedSplit(Protocol):
    """The sentences of a split as an encoder reads them."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[sentences] the number of slots of each."""

    def read(self, positions: Sequence[int]) -> list[Tokens]:
        """The sentences at these positions of the split."""


def tokenize_split(split: Split, encoder: Encoder) -> TokenizedSplit:
    """The split in mapped columns where the encoder has any, else tokenised when read: source by source."""
    sources = [_tokenize_source(source, encoder) for source in split.sources]
    return sources[0] if len(sources) == 1 else TokenizedSources(sources)


def _tokenize_source(source: Split, encoder: Encoder) -> TokenizedSplit:
    columns = None if source.erased else _open_columns(source, encoder)
    return TokenizedWhenRead(source, encoder) if columns is None else MappedSplit(source, columns)


def distinct_ids(split: Split, encoder: Encoder) -> NDArray[np.int64] | None:
    """The distinct token ids of a split, in ascending order; None for an encoder without columns."""
    distinct = [np.zeros(0, np.int64)]
    for source in split.sources:
        columns = _open_columns(source, encoder)
        if columns is None:
            return None
        distinct.append(columns.distinct_ids(source.rows))
    return np.unique(np.concatenate(distinct))


class TokenColumns:
    """The tokens of every sentence of a corpus part, memory-mapped."""

    def __init__(self, path: Path) -> None:
        self._batches = [_TokenBatch(batch) for batch in map_table(path).to_batches()]
        self._firsts = list(accumulate(map(len, self._batches), initial=0))
        self.lengths: NDArray[np.int64] = np.concatenate(
            [np.zeros(0, np.int64), *(np.diff(batch.id_bounds) for batch in self._batches)]
        )

    def __len__(self) -> int:
        return self._firsts[-1]

    def read(self, row: int) -> Tokens:
        """The tokens of one sentence."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        k = bisect_right(self._firsts, row) - 1
        return self._batches[k].read(row - self._firsts[k])

    def distinct_ids(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The distinct token ids of some sentences, in ascending order."""
        is_wanted = np.zeros(len(self), dtype=bool)
        is_wanted[rows] = True
        distinct = [np.zeros(0, np.int64)]
        for batch, first in zip(self._batches, self._firsts, strict=False):
            of_batch = is_wanted[first : first + len(batch)]
            distinct.append(np.unique(batch.ids[np.repeat(of_batch, np.diff(batch.id_bounds))]))
        return np.unique(np.concatenate(distinct))


class _TokenBatch:
    """A mapped record batch behind numpy views."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        ids, starts = batch.column("ids"), batch.column("starts")
        self.id_bounds: NDArray[np.int32] = ids.offsets.to_numpy()
        self.ids: NDArray[np.int32] = ids.values.to_numpy()
        self._start_bounds: NDArray[np.int32] = starts.offsets.to_numpy()
        self._starts: NDArray[np.int32] = starts.values.to_numpy()

    def __len__(self) -> int:
        return len(self.id_bounds) - 1

    def read(self, i: int) -> Tokens:
        ids = self.ids[self.id_bounds[i] : self.id_bounds[i + 1]]
        starts = self._starts[self._start_bounds[i] : self._start_bounds[i + 1]]
        return Tokens(ids.astype(np.int64), starts.astype(np.int64))


class MappedSplit:
    """A split whose tokens lie in columns."""

    def __init__(self, split: Split, columns: TokenColumns) -> None:
        self._rows, self._columns = split.rows, columns
        self.lengths = columns.lengths[split.rows]

    def read(self, positions: Sequence[int]) -> list[Tokens]:
        return [self._columns.read(row) for row in self._rows[positions].tolist()]


class TokenizedWhenRead:
    """A split of which each batch is tokenised when it is read."""

    def __init__(self, split: Split, encoder: Encoder) -> None:
        self._split, self._encoder = split, encoder
        if encoder.slots_are_words:
            self.lengths = split.lengths
        else:
            chunks = _tokenize_in_chunks(map(split.words, range(len(split))), encoder)
            lengths = (len(tokens) for chunk in chunks for tokens in chunk)
            self.lengths = np.fromiter(lengths, np.int64, len(split))

    def read(self, positions: Sequence[int]) -> list[Tokens]:
        return self._encoder.tokenize([self._split.words(position) for position in positions])


class TokenizedSources:
    """A split of several sources, one after another."""

    def __init__(self, sources: Sequence[TokenizedSplit]) -> None:
        self._sources = sources
        self.lengths = np.concatenate([source.lengths for source in sources])
        self._ends = list(accumulate(len(source.lengths) for source in sources))

    def read(self, positions: Sequence[int]) -> list[Tokens]:
        return [self._read(position) for position in positions]

    def _read(self, position: int) -> Tokens:
        k = bisect_right(self._ends, position)
        (tokens,) = self._sources[k].read([position - (self._ends[k - 1] if k else 0)])
        return tokens


def _open_columns(split: Split, encoder: Encoder) -> TokenColumns | None:
    """The columns of a split's corpus part, written unless this node has them; None where there are none."""
    digest = encoder.tokenizer_digest()
    if digest is None:
        return None
    name = f"tokens-{fingerprint([COLUMNS_VERSION, split.corpus.fingerprint, split.part, digest])}"
    columns = _mapped.get(cache_folder() / name)
    if columns is None:
        try:
            folder = cached(name, partial(_write_columns, split.corpus[split.part], encoder))
        except InputError as error:
            log.warning("sentences are tokenised when they are read, as their tokens cannot be kept: %s", error)
            return None
        columns = _mapped[folder] = TokenColumns(folder / FILE_NAME)
    return columns


def _write_columns(sentences: SentenceTable, encoder: Encoder, folder: Path) -> None:
    with ipc.new_stream(str(folder / FILE_NAME), SCHEMA) as stream:
        for chunk in _tokenize_in_chunks(map(sentences.words, range(len(sentences))), encoder):
            columns = [_list_column([t.ids for t in chunk]), _list_column([t.starts for t in chunk])]
            stream.write_batch(pa.record_batch(columns, schema=SCHEMA))


def _tokenize_in_chunks(sentences: Iterator[Words], encoder: Encoder) -> Iterator[list[Tokens]]:
    while chunk := list(islice(sentences, CHUNK_ROWS)):
        yield encoder.tokenize(chunk)


def _list_column(arrays: Sequence[NDArray[np.int64]]) -> pa.ListArray:
    bounds = np.concatenate([[0], np.cumsum([len(array) for array in arrays])])
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), pa.array(np.concatenate(arrays), pa.int32()))
