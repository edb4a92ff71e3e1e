"""One part of a corpus: a table of sentences in an Arrow stream, written batch by batch and read memory-mapped.

Rows are cut from record batches by numpy views of their offsets; Decision 9 says what that gains over `datasets`.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate, chain, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import ipc

from raycner.data.arrow_files import MappedBatches, map_table, read_batches, schema_of
from raycner.data.entities import Entity

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("words", pa.list_(pa.string())),
        ("entities", pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("type", pa.string())]))),
    ]
)
BATCH_ROWS = 10_000
"""Sentences in one record batch, which is what a writer holds in memory."""
_entity = lru_cache(maxsize=16_384)(Entity)
"""Few entities are distinct, and looking one up costs a fifth of making it."""


class SentenceTable:
    """The sentences of one part, memory-mapped: opening reads no sentence, and pickling sends only the path."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = MappedBatches(path)
        self._batches = [_SentenceBatch(batch) for batch in self._file.batches]
        self._starts = list(accumulate(map(len, self._batches), initial=0))

    def __reduce__(self) -> tuple[Any, ...]:
        return SentenceTable, (self._path,)

    def __len__(self) -> int:
        return self._starts[-1]

    def table(self) -> pa.Table:
        """All columns (`SCHEMA`), memory-mapped."""
        return map_table(self._path)

    def words(self, row: int) -> tuple[str, ...]:
        """The words of one sentence."""
        batch, i = self._locate(row)
        return batch.words(i)

    def entities(self, row: int) -> tuple[Entity, ...]:
        """The entities of one sentence, in reading order."""
        batch, i = self._locate(row)
        return batch.entities(i)

    def all_entities(self) -> Iterator[tuple[Entity, ...]]:
        """The entities of every sentence in order; no word is read."""
        return (entities for batch in self._read_through() for entities in batch.all_entities())

    def having(self, types: Collection[str]) -> NDArray[np.int64]:
        """The rows, in order, of the sentences that have an entity of one of these types; no word is read."""
        rows = [start + batch.having(types) for start, batch in zip(self._starts, self._read_through(), strict=False)]
        return np.concatenate([np.zeros(0, np.int64), *rows])

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """[sentences] the number of words of each."""
        return np.concatenate([np.zeros(0, np.int32), *(np.diff(batch.word_bounds) for batch in self._read_through())])

    @property
    def types(self) -> frozenset[str]:
        """The types that occur."""
        return frozenset(name for batch in self._read_through() for name in batch.types[1])

    @property
    def type_counts(self) -> Counter[str]:
        """How many entities of each type there are."""
        counts: Counter[str] = Counter()
        for batch in self._read_through():
            codes, names = batch.types
            counts.update(dict(zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True)))
        return counts

    def word_codes(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], list[str]]]:
        """Batch by batch: the bounds of each sentence, its words as codes, and the words that the codes stand for."""
        return (batch.word_codes() for batch in self._read_through())

    def _read_through(self) -> Iterator["_SentenceBatch"]:
        """All batches, in order. The pages of each are released before the next."""
        for batch in self._batches:
            yield batch
            self._file.release()

    def _locate(self, row: int) -> tuple["_SentenceBatch", int]:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        k = bisect_right(self._starts, row) - 1
        return self._batches[k], row - self._starts[k]


def read_sentences(path: Path) -> Iterator[tuple[tuple[str, ...], tuple[Entity, ...]]]:
    """The words and the entities of every sentence of a part, in order; the file is read and not mapped."""
    for batch in map(_SentenceBatch, read_batches(path)):
        yield from zip(batch.all_words(), batch.all_entities(), strict=True)


def require_sentences(path: Path, part: str) -> None:
    """Raise `ValueError` for a file that `SentenceWriter` would not write: checksums do not show who wrote it.

    The file is read and not mapped, so that what was checked holds no memory.
    """
    if not schema_of(path).equals(SCHEMA):
        raise ValueError(f"the columns of {part} are {', '.join(schema_of(path).names)}")
    for batch in read_batches(path):
        batch.validate(full=True)
        words, entities = batch.column("words"), batch.column("entities")
        spans = entities.flatten()
        columns = [words, words.flatten(), entities, spans, *map(spans.field, ("start", "end", "type"))]
        if any(column.null_count for column in columns):
            raise ValueError(f"a value of {part} is missing")
        if pc.any(pc.equal(words.flatten(), "")).as_py():
            raise ValueError(f"a word of {part} is empty")
        number_of_words = pc.list_value_length(words).take(pc.list_parent_indices(entities))
        starts, ends = spans.field("start"), spans.field("end")
        if pc.any(pc.or_(pc.less(starts, 0), pc.less_equal(ends, starts))).as_py():
            raise ValueError(f"an entity of {part} has no words")
        if pc.any(pc.greater(ends, number_of_words)).as_py():
            raise ValueError(f"an entity of {part} ends after its sentence")
        if pc.any(pc.equal(spans.field("type"), "")).as_py():
            raise ValueError(f"a type of {part} has no name")


class _SentenceBatch:
    """A mapped record batch behind numpy views; only the codes of its types are copied."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        words, entities = batch.column("words"), batch.column("entities")
        self.word_bounds: NDArray[np.int32] = words.offsets.to_numpy()
        self._words = words.values
        self._entity_bounds: NDArray[np.int32] = entities.offsets.to_numpy()
        self._entities = entities.values

    def __len__(self) -> int:
        return len(self._entity_bounds) - 1

    def word_codes(self) -> tuple[NDArray[np.int32], NDArray[np.int32], list[str]]:
        first, last = int(self.word_bounds[0]), int(self.word_bounds[-1])
        encoded = self._words.slice(first, last - first).dictionary_encode()
        return self.word_bounds - first, encoded.indices.to_numpy(), encoded.dictionary.to_pylist()

    def words(self, i: int) -> tuple[str, ...]:
        start, end = self.word_bounds[i : i + 2].tolist()
        return tuple(self._words.slice(start, end - start).to_pylist())

    def all_words(self) -> Iterator[tuple[str, ...]]:
        bounds: list[int] = self.word_bounds.tolist()
        words = self._words.slice(bounds[0], bounds[-1] - bounds[0]).to_pylist()
        return (tuple(words[a - bounds[0] : b - bounds[0]]) for a, b in pairwise(bounds))

    def entities(self, i: int) -> tuple[Entity, ...]:
        first, last = self._entity_bounds[i : i + 2].tolist()
        return tuple(self._entity_list(first, last)) if first < last else ()

    def all_entities(self) -> Iterator[tuple[Entity, ...]]:
        bounds: list[int] = self._entity_bounds.tolist()
        entities = self._entity_list(bounds[0], bounds[-1])
        return (tuple(entities[a - bounds[0] : b - bounds[0]]) for a, b in pairwise(bounds))

    def having(self, types: Collection[str]) -> NDArray[np.int64]:
        codes, names = self.types
        matches = np.isin(codes, [code for code, name in enumerate(names) if name in types])
        matches_before = np.concatenate([[0], np.cumsum(matches)])
        return np.flatnonzero(np.diff(matches_before[self._entity_bounds]))

    @cached_property
    def types(self) -> tuple[NDArray[np.int32], list[str]]:
        """The type of each entity as a code, and the types that the codes stand for."""
        encoded = self._entities.field("type").dictionary_encode()
        return encoded.indices.to_numpy(), encoded.dictionary.to_pylist()

    @cached_property
    def _spans(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        return self._entities.field("start").to_numpy(), self._entities.field("end").to_numpy()

    def _entity_list(self, first: int, last: int) -> list[Entity]:
        starts, ends = self._spans
        codes, names = self.types
        spans = zip(starts[first:last].tolist(), ends[first:last].tolist(), codes[first:last].tolist(), strict=True)
        return [_entity(start, end, names[code]) for start, end, code in spans]


class SentenceWriter:
    """Writes one part, a record batch at a time."""

    def __init__(self, path: Path) -> None:
        self._stream = ipc.new_stream(str(path), SCHEMA)
        self._pending: list[tuple[Sequence[str], Sequence[Entity]]] = []
        self._written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._stream.close()

    def add(self, words: Sequence[str], entities: Sequence[Entity]) -> None:
        """Write one sentence, once its batch is full. Its entities are in reading order."""
        self._pending.append((words, entities))
        if len(self._pending) == BATCH_ROWS:
            self._flush()

    def add_columns(self, words: pa.Array, entities: pa.Array) -> None:
        """Write one batch of sentences from Arrow columns."""
        ids = pa.array(range(self._written, self._written + len(words)), pa.int64())
        self._stream.write_batch(pa.record_batch([ids, words, entities], schema=SCHEMA))
        self._written += len(words)

    def _flush(self) -> None:
        if not self._pending:
            return
        entity_list = SCHEMA.field("entities").type
        entities = [entity for _, of_sentence in self._pending for entity in of_sentence]
        structs = pa.StructArray.from_arrays(
            [
                pa.array([entity.start for entity in entities], pa.int32()),
                pa.array([entity.end for entity in entities], pa.int32()),
                pa.array([entity.type for entity in entities], pa.string()),
            ],
            fields=list(entity_list.value_type),
        )
        bounds = pa.array(accumulate((len(of_sentence) for _, of_sentence in self._pending), initial=0), pa.int32())
        of_sentences = [words for words, _ in self._pending]
        word_bounds = pa.array(accumulate(map(len, of_sentences), initial=0), pa.int32())
        words = pa.ListArray.from_arrays(word_bounds, pa.array(list(chain.from_iterable(of_sentences)), pa.string()))
        self.add_columns(
            words.cast(SCHEMA.field("words").type), pa.ListArray.from_arrays(bounds, structs, type=entity_list)
        )
        self._pending.clear()
