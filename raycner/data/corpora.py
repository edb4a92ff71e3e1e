"""Corpora: raw files become Arrow tables in the store, addressed by content, written once, read memory-mapped."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from raycner.data.arrow_files import read_batches
from raycner.data.entities import Entity
from raycner.data.layouts.layout import FileLayout, Layout, Row, TagLayout
from raycner.data.recognition import BY_CONTENT, recognised
from raycner.data.sentence_table import SentenceTable, SentenceWriter, read_sentences, require_sentences
from raycner.data.sources import PARTS, Part, RawFile
from raycner.errors import InputError
from raycner.hashing import canonical, plain
from raycner.storage.documents import Document
from raycner.storage.locks import acquire
from raycner.storage.scratch import scratch_folder
from raycner.storage.store import ObjectStore

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["PARTS", "Corpus", "Part", "SentenceTable", "prepare"]

PROGRESS_EVERY = 100_000
"""Sentences between two reports of progress."""
LONG_SENTENCE = 500
"""Words above which a sentence is noted: encoders read about 512 pieces, at least one a word."""
READER_VERSION = 2
"""Raised whenever a layout reads the same bytes differently: raw files are then read again."""


@dataclass(frozen=True)
class SourceEntry:
    """What raw files became when they were read: corpora/sources/SOURCE.json."""

    fingerprint: str
    """Of the corpus."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class CorpusDescription:
    """What corpus.json says of a corpus."""

    fingerprint: str
    types: tuple[str, ...]
    notes: tuple[str, ...]
    source: str


_DESCRIPTIONS = TypeAdapter(CorpusDescription)
_SOURCES = Document(SourceEntry, "record of a source", "remove the file: the source is read again")


class Corpus:
    """A prepared corpus: three parts, memory-mapped, and the notes of its reader."""

    fingerprint: str
    """16 hexadecimal digits of the sha256 over the content of the three parts and the order of the types."""
    types: tuple[str, ...]
    """In learning order: the named corpus's own, else alphabetical."""
    notes: tuple[str, ...]
    source: str

    def __init__(self, folder: Path, *, notes: Sequence[str] | None = None, source: str | None = None) -> None:
        description = _DESCRIPTIONS.validate_json((folder / "corpus.json").read_bytes())
        self._folder = folder
        self.fingerprint = description.fingerprint
        self.types = description.types
        self.notes = tuple(description.notes if notes is None else notes)
        self.source = description.source if source is None else source
        self._parts: dict[Part, SentenceTable] = {part: SentenceTable(_part_path(folder, part)) for part in PARTS}

    @classmethod
    def open(cls, store: ObjectStore, fingerprint: str) -> "Corpus":
        """The corpus that the store holds under this fingerprint, with the notes of whoever prepared it first."""
        try:
            return _stored(store, fingerprint)
        except FileNotFoundError:
            hint = "prepare it again from its source"
            raise InputError(f"there is no corpus {fingerprint}", location=str(store.uri), hint=hint) from None

    def __getitem__(self, part: Part) -> SentenceTable:
        return self._parts[part]

    @property
    def parts(self) -> dict[Part, SentenceTable]:
        """All three."""
        return dict(self._parts)

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


def prepare(layout: Layout, store: ObjectStore, emit: Callable[[str], None] = print) -> Corpus:
    """The corpus of a layout, read into the store unless the same bytes were read in the same way before.

    `emit` receives progress lines. Raises `InputError` for malformed files; the store is only written once all files
    have been read.
    """
    notes: list[str] = []
    if not isinstance(layout, FileLayout):
        return _read(layout, [], notes, store, emit)
    files = layout.files(notes)
    index_key = f"corpora/sources/{_source_key(layout, files)}.json"
    with suppress(FileNotFoundError, InputError):  # what was removed or damaged is read again
        entry = _SOURCES.read(store, index_key)
        return _stored(store, entry.fingerprint, notes=entry.notes, source=layout.source)
    prepared = _read(layout, files, notes, store, emit)
    _SOURCES.write(store, index_key, SourceEntry(prepared.fingerprint, prepared.notes))
    return prepared


def _stored(
    store: ObjectStore, fingerprint: str, *, notes: Sequence[str] | None = None, source: str | None = None
) -> Corpus:
    """A corpus of the store. Its tables are validated: checksums do not show who wrote them.

    Raises FileNotFoundError where there is none, `InputError` where its files are no corpus.
    """
    key = _key(fingerprint)
    return open_validated(store.local(key), f"{store}/{key}", notes=notes, source=source)


def open_validated(
    folder: Path, location: str, *, notes: Sequence[str] | None = None, source: str | None = None
) -> Corpus:
    """The corpus in a folder that anybody may have written. Raises `InputError` where its files are no corpus."""
    try:
        for part in PARTS:
            require_sentences(_part_path(folder, part), part)
        return Corpus(folder, notes=notes, source=source)
    except (ValueError, TypeError, OSError, pa.ArrowException) as error:
        what = f"not a corpus ({_first_line(error)})"
        raise InputError(what, location=location, hint="remove it, and prepare it again") from None


def _first_line(error: Exception) -> str:
    """The reason of an error, without the input that pydantic repeats."""
    if isinstance(error, ValidationError):
        flaw = error.errors(include_url=False)[0]
        return f"corpus.json: {'.'.join(map(str, flaw['loc']))}: {flaw['msg'].lower()}"
    return str(error).partition("\n")[0]


def _read(
    layout: Layout, files: Sequence[RawFile], notes: list[str], store: ObjectStore, emit: Callable[[str], None]
) -> Corpus:
    with scratch_folder() as scratch:
        folder = scratch / "as_read"
        try:
            _write(layout.rows(files, notes), folder, emit)
        except InputError as error:
            raise _with_layout(error, layout, files) from None
        if isinstance(layout, FileLayout):
            folder = _carve(layout, folder, scratch / "corpus", notes)
        types = _types(layout, folder, notes)
        if isinstance(layout, FileLayout):
            _note_sentences(folder, notes)
        fingerprint = _fingerprint(folder, types)
        description = {"fingerprint": fingerprint, "types": types, "notes": notes, "source": layout.source}
        (folder / "corpus.json").write_text(json.dumps(description, ensure_ascii=False, indent=1), encoding="utf-8")
        _commit(folder, _key(fingerprint), store, emit)
    return _stored(store, fingerprint, notes=notes, source=layout.source)


def read_as_it_is(
    layout: FileLayout, files: Sequence[RawFile], notes: list[str], folder: Path
) -> tuple[tuple[str, ...], dict[Part, SentenceTable]]:
    """The types and the sentences of files, written to a folder: nothing is split off, and nothing is stored."""
    as_read = folder / "as_read"
    try:
        _write(layout.rows(files, notes), as_read, lambda _: None)
    except InputError as error:
        raise _with_layout(error, layout, files) from None
    types = _types(layout, as_read, notes)
    _note_sentences(as_read, notes)
    return types, {part: SentenceTable(_part_path(as_read, part)) for part in PARTS}


def _with_layout(error: InputError, layout: Layout, files: Sequence[RawFile]) -> InputError:
    """The error, or one that names the layout that the files have by their content."""
    actual = recognised(files[0], files) if files else None
    if actual in (None, layout.name) or actual not in BY_CONTENT or layout.name == "detect":
        return error
    hint = f"it looks like {actual}: set scenario.corpus.name={actual}; or else {error.hint}"
    return error.with_hint(hint)


def write_corpus(rows: Iterable[Row], folder: Path, types: Sequence[str], source: str) -> None:
    """A corpus of rows that are in no file, in a new folder. A part may be empty."""
    _write(rows, folder, lambda _: None)
    description = {"fingerprint": _fingerprint(folder, types), "types": list(types), "notes": [], "source": source}
    (folder / "corpus.json").write_text(json.dumps(description, ensure_ascii=False, indent=1), encoding="utf-8")


def store_corpus(
    rows: Iterable[Row], types: Sequence[str], source: str, store: ObjectStore, emit: Callable[[str], None]
) -> Corpus:
    """A corpus of rows that no layout reads, written into the store if it lacks it."""
    with scratch_folder() as scratch:
        write_corpus(rows, scratch / "corpus", types, source)
        key = _key(Corpus(scratch / "corpus").fingerprint)
        _commit(scratch / "corpus", key, store, emit)
    return Corpus(store.local(key))


def _commit(folder: Path, key: str, store: ObjectStore, emit: Callable[[str], None]) -> None:
    """Commit a corpus, unless the store has it undamaged."""
    if not store.damage(key):
        return
    with acquire(store, key, lambda holder: emit(f"waiting for {key}, which {holder} is writing")):
        if store.damage(key):
            store.push(folder, key)


def _write(rows: Iterable[Row], folder: Path, emit: Callable[[str], None]) -> None:
    folder.mkdir()
    with ExitStack() as stack:
        writers = {part: stack.enter_context(SentenceWriter(_part_path(folder, part))) for part in PARTS}
        for count, row in enumerate(rows, start=1):
            writers[row.part].add(row.words, row.entities)
            if count % PROGRESS_EVERY == 0:
                emit(f"{count:,} sentences read")


def _carve(layout: FileLayout, as_read: Path, folder: Path, notes: list[str]) -> Path:
    """The folder of all parts: `as_read` if it has them; else `folder`, where those that are missing are drawn from the
    training sentences."""
    sizes = {part: len(SentenceTable(_part_path(as_read, part))) for part in PARTS}
    shares: dict[Part, float] = {"dev": layout.dev_share, "test": layout.test_share}
    carved = {part: max(1, round(share * sizes["train"])) for part, share in shares.items() if not sizes[part]}
    if not carved:
        return as_read
    total = sizes["train"]
    if sum(carved.values()) >= total:
        problem = f"{total} training sentences are too few to carve {' and '.join(carved)} from"
        raise InputError(problem, location=layout.source, hint="give more sentences, or dev and test files")
    order = np.random.RandomState(layout.seed).permutation(total)  # frozen across numpy's versions, unlike default_rng
    parts: tuple[Part, ...] = ("train", *carved)
    part_of_row = np.zeros(total, np.int8)  # an index into `parts`
    for (part, count), end in zip(carved.items(), accumulate(carved.values()), strict=True):
        part_of_row[order[end - count : end]] = parts.index(part)
        notes.append(f"{part}: no file of its own, {count} of {total} training sentences (seed {layout.seed})")
    folder.mkdir()
    for part in PARTS:
        if part != "train" and part not in carved:
            _part_path(as_read, part).rename(_part_path(folder, part))
    with ExitStack() as stack:
        writers = [stack.enter_context(SentenceWriter(_part_path(folder, part))) for part in parts]
        first = 0
        for batch in read_batches(_part_path(as_read, "train")):
            parts_of_batch = part_of_row[first : first + len(batch)]
            first += len(batch)
            for index, writer in enumerate(writers):
                sentences = batch.filter(pa.array(parts_of_batch == index))
                writer.add_columns(sentences.column("words"), sentences.column("entities"))
    return folder


def _types(layout: Layout, folder: Path, notes: list[str]) -> tuple[str, ...]:
    """The types of a corpus in learning order; those that do not occur in training are noted."""
    types = {part: _types_in(_part_path(folder, part)) for part in PARTS}
    in_training = types["train"]
    occurring = in_training.union(*types.values())
    if not in_training and layout.is_trained_on:
        hint = "is it the right file, and the right layout (scenario.corpus.name)?"
        if isinstance(layout, TagLayout):
            hint = f"are these the tags of entities? {layout.tag_hint}"
        raise InputError("no entity in the training sentences", location=layout.source, hint=hint)
    if occurring - in_training and layout.is_trained_on:
        notes.append(f"never in the training sentences: {', '.join(sorted(occurring - in_training))}")
    for part in PARTS[1:]:
        absent = sorted(in_training - types[part])
        if absent and _count(_part_path(folder, part)):
            notes.append(f"not in {part}, so no score of it counts them: {_listed(absent)}")
    return tuple(name for name in layout.types or sorted(occurring) if name in occurring)


def _note_sentences(folder: Path, notes: list[str]) -> None:
    """Note the sentences of dev and test that are also in training, and those that no encoder may read whole."""
    paths = {part: _part_path(folder, part) for part in PARTS}
    held_out = {part: _joined(_sentence_hashes(paths[part])) for part in PARTS[1:]}
    wanted = np.unique(_joined(held_out.values()))
    in_training = _joined(hashes[_is_among(hashes, wanted)] for hashes in _sentence_hashes(paths["train"]))
    in_training.sort()
    for part, hashes in held_out.items():
        if shared := np.count_nonzero(_is_among(hashes, in_training)):
            notes.append(f"{shared} of {_count(paths[part])} {part} sentences are also in train")
    for part, path in paths.items():
        lengths = [length for batch in read_batches(path) for length in _long_sentences(batch)]
        if lengths:
            notes.append(
                f"{part}: {len(lengths)} sentences of more than {LONG_SENTENCE} words, the longest of {max(lengths)}; "
                "an encoder reads what is longer than model.encoder.max_length in overlapping windows"
            )


def _sentence_hashes(path: Path) -> Iterator[NDArray[np.int64]]:
    """Batch by batch, hashes of the words of all sentences but those of one word, which recur in any corpus."""
    for batch in read_batches(path):
        words = batch.column("words")
        texts = pc.binary_join(words, "\x1f").filter(pc.greater(pc.list_value_length(words), 1))
        yield np.fromiter(map(hash, texts.to_pylist()), np.int64, len(texts))


def _joined(arrays: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The numbers of arrays, of which there may be none."""
    return np.concatenate([np.zeros(0, np.int64), *arrays])


def _is_among(numbers: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Of each number, whether it is among the ascending ones."""
    return np.searchsorted(ascending, numbers) < np.searchsorted(ascending, numbers, side="right")


def _long_sentences(batch: pa.RecordBatch) -> list[int]:
    """The lengths of the sentences of more than `LONG_SENTENCE` words."""
    lengths = pc.list_value_length(batch.column("words"))
    return lengths.filter(pc.greater(lengths, LONG_SENTENCE)).to_pylist()  # type: ignore[no-any-return]


def _count(path: Path) -> int:
    """The sentences of a part."""
    return sum(len(batch) for batch in read_batches(path))


def _types_in(path: Path) -> frozenset[str]:
    """The types that occur in a part."""
    types: set[str] = set()
    for batch in read_batches(path):
        types.update(pc.unique(batch.column("entities").values.field("type")).to_pylist())
    return frozenset(types)


def _listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _fingerprint(folder: Path, types: Sequence[str]) -> str:
    """A digest of the content; neither the container nor its batches matter."""
    digest = hashlib.sha256(_line(list(types)))
    for part in PARTS:
        digest.update(_line(part))
        for words, entities in read_sentences(_part_path(folder, part)):
            digest.update(_sentence_line(words, entities))
    return digest.hexdigest()[:16]


def _sentence_line(words: Sequence[str], entities: Sequence[Entity]) -> bytes:
    """`_line` of the words and entities of a sentence, which are millions: most words need no escape."""
    joined = '","'.join(words)
    if joined.isprintable() and joined.count('"') == 2 * (len(words) - 1) and "\\" not in joined:
        spans = ",".join([f"[{e.start},{e.end},{_ENCODE(e.type)}]" for e in entities])
        return f'[["{joined}"],[{spans}]]\n'.encode()
    return _line([words, [[e.start, e.end, e.type] for e in entities]])


_ENCODE = json.JSONEncoder(ensure_ascii=False).encode
FIRST_SETTINGS = {
    "dev_share": 0.1,
    "grain": "fine",
    "nested": False,
    "repair": "strict",
    "scheme": "detect",
    "seed": 0,
    "sentences": 2000,
    "tag_column": -1,
    "test_share": 0.1,
    "token_column": 0,
}
"""The settings that all layouts of version 0.1 shared, at their defaults. They are part of the digest of every source,
whatever its layout has, so that sources which were read then are found again."""


def _source_key(layout: FileLayout, files: Iterable[RawFile]) -> str:
    """A digest of the layout, its settings, and the bytes of the files."""
    settings = {key: value for key, value in plain(layout, hashed=True).items() if key != "name"}
    digest = hashlib.sha256(_line([READER_VERSION, layout.name, canonical(FIRST_SETTINGS | settings)]))
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
