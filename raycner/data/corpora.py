"""Corpora: raw files become Arrow tables in the store, addressed by content, written once, read memory-mapped."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raycner.data.arrow_files import map_table
from raycner.data.layouts.layout import LAYOUTS, Layout, ReadingConfig, Row
from raycner.data.sentence_table import SentenceTable, SentenceWriter
from raycner.data.sources import PARTS, Part, RawFile, shown
from raycner.errors import InputError
from raycner.hashing import canonical
from raycner.registry import suggest
from raycner.storage.store import ObjectStore

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["PARTS", "Corpus", "Part", "ReadingConfig", "SentenceTable", "prepare"]

PROGRESS_EVERY = 100_000
"""Sentences between two reports of progress."""
READER_VERSION = 1
"""Raised whenever a layout reads the same bytes differently: raw files are then read again."""


class Corpus:
    """A prepared corpus: three parts, memory-mapped, and the notes of its reader."""

    fingerprint: str
    """16 hexadecimal digits of the sha256 over the content of the three parts and the order of the types."""
    types: tuple[str, ...]
    """In learning order: the named corpus's own, else alphabetical."""
    notes: tuple[str, ...]
    source: str

    def __init__(self, folder: Path, *, notes: Sequence[str] | None = None, source: str | None = None) -> None:
        description = json.loads((folder / "corpus.json").read_bytes())
        self._folder = folder
        self.fingerprint = description["fingerprint"]
        self.types = tuple(description["types"])
        self.notes = tuple(description["notes"] if notes is None else notes)
        self.source = description["source"] if source is None else source
        self._parts = {part: SentenceTable(_part_path(folder, part)) for part in PARTS}

    @classmethod
    def open(cls, store: ObjectStore, fingerprint: str) -> "Corpus":
        """The corpus that the store holds under this fingerprint, with the notes of whoever prepared it first."""
        try:
            return cls(store.local(_key(fingerprint)))
        except FileNotFoundError:
            hint = "prepare it again from its source"
            raise InputError(f"there is no corpus {fingerprint}", location=str(store.uri), hint=hint) from None

    def __getitem__(self, part: Part) -> SentenceTable:
        return self._parts[part]

    def dataset(self, part: Part) -> "Dataset":
        """One part as a dataset of Hugging Face: `id`, `words` and `entities` (start, end exclusive, type).

        Its table is memory-mapped. Its fingerprint is that of the content, so that what `datasets` derives from equal
        corpora is equal. What `map` or `filter` derives is never written into the store.
        """
        from datasets import Dataset, NamedSplit

        return Dataset(self[part].table(), split=NamedSplit(part), fingerprint=f"{self.fingerprint}-{part}")

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
    """The corpus of a source, read into the store unless the same bytes were read in the same way before.

    `corpus` names a layout, `source` a file, a folder, a pattern or a URI of raw files; `emit` receives progress lines.
    Raises `InputError` for malformed files; the store is only written once all files have been read.
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
    index_key = f"corpora/sources/{_source_key(corpus, files, reading)}.json"
    name = f"{corpus} {shown(source)}"
    if store.exists(index_key):
        entry = json.loads(store.read(index_key))
        with suppress(FileNotFoundError, InputError):  # a corpus that was removed or damaged is read again
            return Corpus(store.local(_key(entry["fingerprint"])), notes=entry["notes"], source=name)
    prepared = _read(layout, files, name, reading, notes, store, emit)
    entry = {"fingerprint": prepared.fingerprint, "notes": prepared.notes}
    store.write(index_key, json.dumps(entry, ensure_ascii=False, indent=1).encode())
    return prepared


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
        as_read, folder = Path(scratch, "as_read"), Path(scratch, "corpus")
        _write(layout.read(files, reading, notes), as_read, emit)
        _carve(as_read, folder, reading, notes, source)
        types = _types(folder, layout, notes, source)
        fingerprint = _fingerprint(folder, types)
        description = {"fingerprint": fingerprint, "types": types, "notes": notes, "source": source}
        (folder / "corpus.json").write_text(json.dumps(description, ensure_ascii=False, indent=1), encoding="utf-8")
        if store.damage(_key(fingerprint)):
            store.push(folder, _key(fingerprint))
    return Corpus(store.local(_key(fingerprint)), notes=notes, source=source)


def _write(rows: Iterable[Row], folder: Path, emit: Callable[[str], None]) -> None:
    folder.mkdir()
    with ExitStack() as stack:
        writers = {part: stack.enter_context(SentenceWriter(_part_path(folder, part))) for part in PARTS}
        for count, row in enumerate(rows, start=1):
            writers[row.part].add(row.words, row.entities)
            if count % PROGRESS_EVERY == 0:
                emit(f"{count:,} sentences read")


def _carve(as_read: Path, folder: Path, reading: ReadingConfig, notes: list[str], source: str) -> None:
    """Write the parts to `folder`; those that the source lacks are drawn from its training sentences."""
    sizes = {part: len(SentenceTable(_part_path(as_read, part))) for part in PARTS}
    shares: dict[Part, float] = {"dev": reading.dev_share, "test": reading.test_share}
    carved = {part: max(1, round(share * sizes["train"])) for part, share in shares.items() if not sizes[part]}
    if not carved:
        as_read.rename(folder)
        return
    total = sizes["train"]
    if sum(carved.values()) >= total:
        problem = f"{total} training sentences are too few to carve {' and '.join(carved)} from"
        raise InputError(problem, location=source, hint="give more sentences, or dev and test files")
    order = np.random.RandomState(reading.seed).permutation(total)  # frozen across numpy's versions, unlike default_rng
    part_of_row = np.full(total, "train", dtype="<U5")
    for (part, count), end in zip(carved.items(), accumulate(carved.values()), strict=True):
        part_of_row[order[end - count : end]] = part
        notes.append(f"{part}: no file of its own, {count} of {total} training sentences (seed {reading.seed})")
    folder.mkdir()
    for part in PARTS:
        if part != "train" and part not in carved:
            _part_path(as_read, part).rename(_part_path(folder, part))
    with ExitStack() as stack:
        parts: tuple[Part, ...] = ("train", *carved)
        writers = {part: stack.enter_context(SentenceWriter(_part_path(folder, part))) for part in parts}
        first = 0
        for batch in map_table(_part_path(as_read, "train")).to_batches():
            parts_of_batch = part_of_row[first : first + len(batch)]
            first += len(batch)
            for part, writer in writers.items():
                sentences = batch.filter(pa.array(parts_of_batch == part))
                writer.add_columns(sentences.column("words"), sentences.column("entities"))


def _types(folder: Path, layout: Layout, notes: list[str], source: str) -> tuple[str, ...]:
    """The types of a corpus in learning order; those that do not occur in training are noted."""
    in_training = SentenceTable(_part_path(folder, "train")).types
    occurring = in_training.union(*(SentenceTable(_part_path(folder, part)).types for part in PARTS))
    if not in_training:
        hint = "is the tag column the right one? (reading.tag_column)"
        raise InputError("no entity in the training sentences", location=source, hint=hint)
    if occurring - in_training:
        notes.append(f"never in the training sentences: {', '.join(sorted(occurring - in_training))}")
    return tuple(name for name in layout.types or sorted(occurring) if name in occurring)


def _fingerprint(folder: Path, types: Sequence[str]) -> str:
    """A digest of the content; neither the container nor its batches matter."""
    digest = hashlib.sha256(_line(list(types)))
    for part in PARTS:
        sentences = SentenceTable(_part_path(folder, part))
        digest.update(_line(part))
        for row, entities in enumerate(sentences.all_entities()):
            digest.update(_line([sentences.words(row), [[e.start, e.end, e.type] for e in entities]]))
    return digest.hexdigest()[:16]


def _source_key(corpus: str, files: Iterable[RawFile], reading: ReadingConfig) -> str:
    """A digest of the layout, the way of reading, and the bytes of the files."""
    digest = hashlib.sha256(_line([READER_VERSION, corpus, canonical(reading)]))
    for file in files:
        content = hashlib.sha256()
        for block in file.blocks():
            content.update(block)
        digest.update(_line([file.part, content.hexdigest()]))
    return digest.hexdigest()[:16]


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _key(fingerprint: str) -> str:
    return f"corpora/{fingerprint}"


def _part_path(folder: Path, part: Part) -> Path:
    return folder / f"{part}.arrow"


def _reopen(folder: Path, notes: tuple[str, ...], source: str) -> Corpus:
    return Corpus(folder, notes=notes, source=source)
