"""Inspection: what was read of a corpus, by part, and what a reader should know of it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from raycner.data.corpora import Corpus, read_as_it_is
from raycner.data.layouts.layout import FileLayout, Layout, build_layout
from raycner.data.recognition import recognised
from raycner.data.sentence_table import SentenceTable
from raycner.data.sources import PARTS, Part, RawFile
from raycner.hashing import Plain
from raycner.storage.scratch import scratch_folder


@dataclass(frozen=True, kw_only=True)
class PartContents:
    """What a part holds."""

    files: tuple[str, ...]
    """Their names; none for a part that was split off or generated."""
    sentences: int
    words: int
    longest: int
    """Words of the longest sentence."""
    entities: Mapping[str, int]
    """By type."""


@dataclass(frozen=True, kw_only=True)
class CorpusContents:
    """What a corpus holds, and how it was read."""

    source: str
    layout: str
    fields: str
    """The columns or fields that were read; empty where nothing was chosen."""
    settings: Mapping[str, object]
    """The settings of the layout that are not at their default."""
    types: tuple[str, ...]
    parts: Mapping[Part, PartContents]
    notes: tuple[str, ...]
    """What was detected, repaired, left out or guessed, and what else matters."""
    fingerprint: str | None = None
    """None for files that were inspected and not prepared."""


@dataclass(frozen=True)
class LongSentences:
    """The sentences of a part that are longer than an encoder reads at once."""

    sentences: int
    words: int
    """Their words beyond its reach."""


@dataclass(frozen=True)
class Reach:
    """What an encoder cannot read of a corpus."""

    pieces: int
    """The most that it reads at once, those that it adds to every sentence not counted."""
    long: Mapping[Part, LongSentences]
    """Of every part."""
    unknown: int
    """Occurrences of words that no piece stands for."""
    examples: tuple[str, ...]
    """The most frequent of these words."""


CORPUS = "scenario.corpus"


def recognised_layout(settings: Mapping[str, Plain]) -> Layout:
    """The layout that files tell by their names and contents, with these settings, among them `path` or parts."""
    places = {key: value for key, value in settings.items() if key in ("path", *PARTS)}
    detect = build_layout({**places, "name": "detect"}, CORPUS)
    files = detect.files([]) if isinstance(detect, FileLayout) else []
    names = {recognised(file, files) for file in files}
    name = names.pop() if len(names) == 1 else None
    return detect if name is None else build_layout({**settings, "name": name}, CORPUS)


@contextmanager
def as_it_is(layout: FileLayout) -> Iterator[tuple[CorpusContents, Mapping[Part, SentenceTable]]]:
    """The contents of files, and their sentences by part, without a store: nothing is split off for a missing part.

    The sentences are those of a scratch folder, which is removed at the end.
    """
    notes: list[str] = []
    files = layout.files(notes)
    with scratch_folder() as folder:
        types, tables = read_as_it_is(layout, files, notes, folder)
        yield _contents(layout, files, types, tables, notes, None), tables


def of_corpus(layout: Layout, corpus: Corpus) -> CorpusContents:
    """The contents of a corpus that was prepared with this layout."""
    files = layout.files([]) if isinstance(layout, FileLayout) else []
    tables = {part: corpus[part] for part in PARTS}
    return _contents(layout, files, corpus.types, tables, corpus.notes, corpus.fingerprint)


def _contents(
    layout: Layout,
    files: Sequence[RawFile],
    types: Sequence[str],
    tables: Mapping[Part, SentenceTable],
    notes: Sequence[str],
    fingerprint: str | None,
) -> CorpusContents:
    names = {part: tuple(file.name for file in files if file.part == part) for part in PARTS}
    return CorpusContents(
        source=layout.source,
        layout=layout.name,
        fields=layout.fields(files) if isinstance(layout, FileLayout) else "",
        settings=layout.chosen,
        types=tuple(types),
        parts={part: _part(names[part], table, types) for part, table in tables.items()},
        notes=tuple(notes),
        fingerprint=fingerprint,
    )


def _part(files: tuple[str, ...], table: SentenceTable, types: Sequence[str]) -> PartContents:
    counts: Counter[str] = table.type_counts
    return PartContents(
        files=files,
        sentences=len(table),
        words=int(table.lengths.sum(dtype="int64")),
        longest=int(table.lengths.max(initial=0)),
        entities={name: counts[name] for name in types},
    )
