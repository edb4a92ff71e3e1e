"""Corpora: raw files become one Arrow schema in the store, named by content, written once, read memory-mapped."""

import hashlib
import json
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import ipc

from raycner.data.entities import Entity
from raycner.data.layouts.layout import LAYOUTS, Layout, ReadingConfig, Row
from raycner.data.sources import PARTS, Part, RawFile, shown
from raycner.errors import InputError
from raycner.hashing import canonical
from raycner.registry import suggest
from raycner.storage.store import ObjectStore

__all__ = ["PARTS", "Corpus", "Part", "ReadingConfig", "Rows", "prepare"]

SAID_EVERY = 100_000
"""Sentences between two words of how far reading has come."""
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("words", pa.list_(pa.string())),
        ("entities", pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("type", pa.string())]))),
    ]
)
BATCH = 10_000
"""Sentences in one record batch: what is in memory at a time while a corpus is written."""
READERS = 1
"""Raised whenever some layout reads the same bytes differently: what was read before is then read again."""


class Rows:
    """One part of a corpus, memory-mapped: opening reads no sentence, and pickling sends only the path."""

    def __init__(self, path: Path) -> None:
        self._path = path
        reader = ipc.open_file(pa.memory_map(str(path)))
        self._batches = [_Batch(reader.get_batch(i)) for i in range(reader.num_record_batches)]
        self._starts = list(accumulate(map(len, self._batches), initial=0))

    def __reduce__(self) -> tuple[Any, ...]:
        return Rows, (self._path,)

    def __len__(self) -> int:
        return self._starts[-1]

    def words(self, row: int) -> tuple[str, ...]:
        """The words of one sentence."""
        batch, i = self._at(row)
        return batch.words(i)

    def entities(self, row: int) -> tuple[Entity, ...]:
        """The entities of one sentence, in reading order."""
        batch, i = self._at(row)
        return next(batch.entities(i, i + 1))

    def all_entities(self) -> Iterator[tuple[Entity, ...]]:
        """The entities of every sentence in order; no word is touched."""
        return (entities for batch in self._batches for entities in batch.entities(0, len(batch)))

    def having(self, types: Collection[str]) -> NDArray[np.int64]:
        """The rows, in order, of the sentences that have an entity of one of these types; no word is touched."""
        found = [start + batch.having(types) for start, batch in zip(self._starts, self._batches, strict=False)]
        return np.concatenate([np.zeros(0, np.int64), *found])

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """[sentences]: how many words each has."""
        return np.concatenate([np.zeros(0, np.int32), *(np.diff(batch.word_bounds) for batch in self._batches)])

    @property
    def types(self) -> frozenset[str]:
        """The types that occur."""
        return frozenset(kind for batch in self._batches for kind in batch.kinds[1])

    def _at(self, row: int) -> tuple["_Batch", int]:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        k = bisect_right(self._starts, row) - 1
        return self._batches[k], row - self._starts[k]


class _Batch:
    """A mapped record batch behind numpy views; nothing of it is copied but the codes of its types."""

    def __init__(self, batch: Any) -> None:
        words, entities = batch.column("words"), batch.column("entities")
        self.word_bounds: NDArray[np.int32] = words.offsets.to_numpy()
        self._words = words.values
        self._bounds: NDArray[np.int32] = entities.offsets.to_numpy()
        self._entities = entities.values

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def words(self, i: int) -> tuple[str, ...]:
        start, end = self.word_bounds[i : i + 2].tolist()
        return tuple(self._words.slice(start, end - start).to_pylist())

    def entities(self, first: int, last: int) -> Iterator[tuple[Entity, ...]]:
        bounds: list[int] = self._bounds[first : last + 1].tolist()
        starts, ends = self._spans
        codes, names = self.kinds
        inside = slice(bounds[0], bounds[-1])
        spans = zip(starts[inside].tolist(), ends[inside].tolist(), codes[inside].tolist(), strict=True)
        flat = [Entity(start, end, names[code]) for start, end, code in spans]
        return (tuple(flat[a - bounds[0] : b - bounds[0]]) for a, b in pairwise(bounds))

    def having(self, types: Collection[str]) -> NDArray[np.int64]:
        codes, names = self.kinds
        wanted = np.isin(codes, [code for code, name in enumerate(names) if name in types])
        before = np.concatenate([[0], np.cumsum(wanted)])
        return np.flatnonzero(np.diff(before[self._bounds]))

    @cached_property
    def _spans(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        return self._entities.field("start").to_numpy(), self._entities.field("end").to_numpy()

    @cached_property
    def kinds(self) -> tuple[NDArray[np.int32], list[str]]:
        """The type of each entity as a code, and the types that the codes stand for."""
        encoded = self._entities.field("type").dictionary_encode()
        return encoded.indices.to_numpy(), encoded.dictionary.to_pylist()


class Corpus:
    """A prepared corpus: three parts, memory-mapped, and what reading had to decide about them."""

    fingerprint: str
    """16 hexadecimal digits of the sha256 over the content of the three parts and the order of the types."""
    types: tuple[str, ...]
    """In the order they are learned: the named corpus's own, else alphabetical."""
    notes: tuple[str, ...]
    source: str

    def __init__(self, folder: Path, *, notes: Sequence[str] | None = None, source: str | None = None) -> None:
        said = json.loads((folder / "corpus.json").read_bytes())
        self._folder = folder
        self.fingerprint = said["fingerprint"]
        self.types = tuple(said["types"])
        self.notes = tuple(said["notes"] if notes is None else notes)
        self.source = said["source"] if source is None else source
        self._parts = {part: Rows(folder / f"{part}.arrow") for part in PARTS}

    @classmethod
    def open(cls, store: ObjectStore, fingerprint: str) -> "Corpus":
        """The corpus that lies in the store under this fingerprint, as the one who put it there described it."""
        try:
            return cls(store.local(_key(fingerprint)))
        except FileNotFoundError:
            hint = "prepare it again from its source"
            raise InputError(f"there is no corpus {fingerprint}", location=str(store.uri), hint=hint) from None

    def __getitem__(self, part: Part) -> Rows:
        return self._parts[part]

    def __repr__(self) -> str:
        return f"Corpus({self.source!r}, {self.fingerprint}, {[len(self[part]) for part in PARTS]})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self._folder, self.notes, self.source)


def prepare(
    corpus: str,
    source: str | None,
    reading: ReadingConfig,
    store: ObjectStore,
    emit: Callable[[str], None] = print,
) -> Corpus:
    """The corpus of a source, read into the store unless these very bytes were read in this very way before.

    `corpus` names a layout, `source` a file, a folder, a pattern or a URI of raw files; `emit` hears of progress.
    Raises `InputError` for whatever the files do not say well; the store is only written once all has been read.
    """
    if corpus not in LAYOUTS:
        hint = suggest(corpus, LAYOUTS)
        raise InputError(f"no layout or corpus is called {corpus!r}", location="scenario.corpus", hint=hint)
    layout = LAYOUTS[corpus]
    notes: list[str] = []
    if not layout.has_files:
        return _read(layout, [], corpus, reading, notes, store, emit)
    if not source:
        hint = "set it to a file, a folder, a pattern or a URI"
        raise InputError(f"the layout {corpus} needs files", location="scenario.source", hint=hint)
    files = layout.find(source, notes)
    known = f"corpora/sources/{_source_key(corpus, files, reading)}.json"
    name = f"{corpus} {shown(source)}"
    if store.exists(known):
        said = json.loads(store.read(known))
        with suppress(FileNotFoundError, InputError):  # what was lost or damaged meanwhile is read again
            return Corpus(store.local(_key(said["fingerprint"])), notes=said["notes"], source=name)
    made = _read(layout, files, name, reading, notes, store, emit)
    said = {"fingerprint": made.fingerprint, "notes": made.notes}
    store.write(known, json.dumps(said, ensure_ascii=False, indent=1).encode())
    return made


def _read(
    layout: Layout,
    files: Sequence[RawFile],
    source: str,
    reading: ReadingConfig,
    notes: list[str],
    store: ObjectStore,
    emit: Callable[[str], None],
) -> Corpus:
    with tempfile.TemporaryDirectory(prefix="raycner-corpus-") as scratch:
        whole, folder = Path(scratch, "whole"), Path(scratch, "corpus")
        _write(layout.read(files, reading, notes), whole, emit)
        _carve(whole, folder, reading, notes, source)
        types = _types(folder, layout, notes, source)
        fingerprint = _fingerprint(folder, types)
        said = {"fingerprint": fingerprint, "types": types, "notes": notes, "source": source}
        (folder / "corpus.json").write_text(json.dumps(said, ensure_ascii=False, indent=1), encoding="utf-8")
        if store.damage(_key(fingerprint)):
            store.push(folder, _key(fingerprint))
    return Corpus(store.local(_key(fingerprint)), notes=notes, source=source)


class _Writer:
    """Writes one part, a record batch at a time."""

    def __init__(self, path: Path) -> None:
        self._file = ipc.new_file(str(path), SCHEMA)
        self._pending: list[Row] = []
        self._written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._file.close()

    def add(self, row: Row) -> None:
        self._pending.append(row)
        if len(self._pending) == BATCH:
            self._flush()

    def append(self, words: Any, entities: Any) -> None:
        """Write one batch of Arrow columns."""
        ids = pa.array(range(self._written, self._written + len(words)), pa.int64())
        self._file.write_batch(pa.record_batch([ids, words, entities], schema=SCHEMA))
        self._written += len(words)

    def _flush(self) -> None:
        if not self._pending:
            return
        kind = SCHEMA.field("entities").type
        flat = [entity for row in self._pending for entity in row.entities]
        spans = pa.StructArray.from_arrays(
            [
                pa.array([entity.start for entity in flat], pa.int32()),
                pa.array([entity.end for entity in flat], pa.int32()),
                pa.array([entity.type for entity in flat], pa.string()),
            ],
            fields=list(kind.value_type),
        )
        bounds = pa.array(accumulate((len(row.entities) for row in self._pending), initial=0), pa.int32())
        words = pa.array([row.words for row in self._pending], SCHEMA.field("words").type)
        self.append(words, pa.ListArray.from_arrays(bounds, spans, type=kind))
        self._pending.clear()


def _write(rows: Iterable[Row], folder: Path, emit: Callable[[str], None]) -> None:
    folder.mkdir()
    with ExitStack() as stack:
        writers = {part: stack.enter_context(_Writer(folder / f"{part}.arrow")) for part in PARTS}
        for count, row in enumerate(rows, start=1):
            writers[row.part].add(row)
            if count % SAID_EVERY == 0:
                emit(f"{count:,} sentences read")


def _carve(whole: Path, folder: Path, reading: ReadingConfig, notes: list[str], source: str) -> None:
    """Lay the parts into `folder`; those that the source lacks are drawn from its training sentences."""
    sizes = {part: len(Rows(whole / f"{part}.arrow")) for part in PARTS}
    shares: dict[Part, float] = {"dev": reading.dev_share, "test": reading.test_share}
    carved = {part: max(1, round(share * sizes["train"])) for part, share in shares.items() if not sizes[part]}
    if not carved:
        whole.rename(folder)
        return
    total = sizes["train"]
    if sum(carved.values()) >= total:
        found = f"{total} training sentences are too few to carve {' and '.join(carved)} from"
        raise InputError(found, location=source, hint="give more sentences, or dev and test files")
    order = np.random.RandomState(reading.seed).permutation(total)  # frozen across numpy's versions, unlike default_rng
    owner = np.full(total, "train", dtype="<U5")
    for (part, count), end in zip(carved.items(), accumulate(carved.values()), strict=True):
        owner[order[end - count : end]] = part
        notes.append(f"{part}: no file of its own, {count} of {total} training sentences (seed {reading.seed})")
    folder.mkdir()
    for part in PARTS:
        if part != "train" and part not in carved:
            (whole / f"{part}.arrow").rename(folder / f"{part}.arrow")
    reader = ipc.open_file(pa.memory_map(str(whole / "train.arrow")))
    with ExitStack() as stack:
        paths = {part: folder / f"{part}.arrow" for part in ("train", *carved)}
        writers = {part: stack.enter_context(_Writer(path)) for part, path in paths.items()}
        done = 0
        for batch in map(reader.get_batch, range(reader.num_record_batches)):
            owners = owner[done : done + len(batch)]
            done += len(batch)
            for part, writer in writers.items():
                own = batch.filter(pa.array(owners == part))
                writer.append(own.column("words"), own.column("entities"))


def _types(folder: Path, layout: Layout, notes: list[str], source: str) -> tuple[str, ...]:
    """The types of a corpus in learning order; those that training never shows are noted."""
    train = Rows(folder / "train.arrow").types
    every = train.union(*(Rows(folder / f"{part}.arrow").types for part in PARTS))
    if not train:
        hint = "is the tag column the right one? (reading.tag_column)"
        raise InputError("no entity in the training sentences", location=source, hint=hint)
    if every - train:
        notes.append(f"never in the training sentences: {', '.join(sorted(every - train))}")
    return tuple(kind for kind in layout.types or sorted(every) if kind in every)


def _fingerprint(folder: Path, types: Sequence[str]) -> str:
    digest = hashlib.sha256(_line(list(types)))
    for part in PARTS:
        rows = Rows(folder / f"{part}.arrow")
        digest.update(_line(part))
        for row, entities in enumerate(rows.all_entities()):
            digest.update(_line([rows.words(row), [[e.start, e.end, e.type] for e in entities]]))
    return digest.hexdigest()[:16]


def _source_key(corpus: str, files: Iterable[RawFile], reading: ReadingConfig) -> str:
    """The name of what a layout, a way of reading and the files' own bytes make together."""
    digest = hashlib.sha256(_line([READERS, corpus, canonical(reading)]))
    for file in files:
        content = hashlib.sha256()
        for block in file.blocks():
            content.update(block)
        digest.update(_line([file.part, content.hexdigest()]))
    return digest.hexdigest()[:16]


def _line(said: Any) -> bytes:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _key(fingerprint: str) -> str:
    return f"corpora/{fingerprint}"


def _reopen(folder: Path, notes: tuple[str, ...], source: str) -> Corpus:
    return Corpus(folder, notes=notes, source=source)
