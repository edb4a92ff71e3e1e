"""Parquet; and how the rows of Arrow tables are read, a few at a time, for every layout of tables."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from raycner.data.entities import Entity
from raycner.data.layouts.layout import (
    LAYOUTS,
    Row,
    Spanned,
    WordLayout,
    brief,
    from_spans,
    from_tags,
    named,
    span,
    tried,
)
from raycner.data.sources import RawFile
from raycner.data.tag_notation import Tagged
from raycner.errors import InputError
from raycner.hashing import omit_default_from_hash

BATCH_ROWS = 1000
"""Rows in memory at a time."""
TOKENS, TAGS, ENTITIES = ("tokens", "words"), ("ner_tags", "tags", "labels"), ("entities",)
"""Accepted names of the columns. Of several columns of tags, `ner_tags` is read, or the one that is set."""


@dataclass(frozen=True, kw_only=True)
class TableLayout(WordLayout):
    """A layout of Arrow tables. Locations in a file are row numbers, from 1."""

    tags: str = omit_default_from_hash("")
    """The column of tags; when empty, the one called ner_tags, tags or labels."""

    @property
    def tag_hint(self) -> str:
        return "set scenario.corpus.tags to the column of the entity tags"

    @abstractmethod
    def table(self, file: RawFile) -> "Table":
        """The table of a file."""

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        schema = _guarded(files[0], lambda: self.table(files[0])).schema
        if column := self._tag_column(schema, files[0], notes):
            yield from from_tags(
                lambda: (row for file in files for row in _tagged(file, self.table, column, self.tag_names)),
                notes,
                notation=self.notation,
                repair=self.repair,
            )
        else:
            spanned = (row for file in files for row in _spanned(file, self.table))
            yield from from_spans(spanned, notes, repair=self.repair, nested=self.nested)

    def fields(self, files: Sequence[RawFile]) -> str:
        if not files:
            return ""
        schema = _guarded(files[0], lambda: self.table(files[0])).schema
        return f"{_column(schema, TOKENS)} and {self._tag_column(schema, files[0], []) or ENTITIES[0]}"

    def _tag_column(self, schema: Any, file: RawFile, notes: list[str]) -> str | None:
        """The column of tags, None where there is none. Raises `InputError` where several may be it."""
        if self.tags:
            if self.tags in schema.names:
                return self.tags
            what = f"there is no column {self.tags!r}, its columns are {', '.join(schema.names)}"
            raise InputError(what, location=file.name, hint="set scenario.corpus.tags to one of them")
        candidates = [name for name in TAGS if name in schema.names]
        if len(candidates) > 1:
            if candidates[0] != TAGS[0]:
                what = f"several columns may hold the tags: {', '.join(candidates)}"
                raise InputError(
                    what, location=file.name, hint=f"set scenario.corpus.tags={candidates[-1]}, or another"
                )
            notes.append(f"column {candidates[0]} read; not read: {', '.join(candidates[1:])}")
        return candidates[0] if candidates else None


@LAYOUTS.register("parquet")
class Parquet(TableLayout):
    """A row a sentence: `tokens` (or words) with `ner_tags` (or tags, labels), or with `entities` of `start`, `end`
    (exclusive) and `type`, in words. Tags are text, or numbers that `tag_names`, or else the Hugging Face features of
    the file, name."""

    def table(self, file: RawFile) -> "Table":
        table = pq.ParquetFile(file.seekable())
        return Table(table.schema_arrow, lambda columns: table.iter_batches(BATCH_ROWS, columns=columns))


@dataclass(frozen=True)
class _Info:
    features: dict[str, Any]


@dataclass(frozen=True)
class _Features:
    """The metadata that `datasets` writes into its files, as far as it is read."""

    info: _Info


@dataclass(frozen=True)
class _Value:
    """The feature of one tag; tags that are text have no names."""

    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Tags:
    """The feature of a column of tags."""

    feature: _Value


_FEATURES, _TAGS = TypeAdapter(_Features), TypeAdapter(_Tags)


@dataclass(frozen=True)
class Table:
    """An open file of a table: its schema, and a reader of some of its columns, batch by batch."""

    schema: Any
    batches: Callable[[list[str]], Iterator[Any]]


class TableRow(NamedTuple):
    """A row of a table."""

    file: RawFile
    number: int
    """From 1."""
    tokens: Any
    labels: Any

    def error(self, what: str, hint: str) -> InputError:
        return InputError(what, location=f"{self.file.name}:{self.number}", hint=hint)

    def words(self) -> tuple[str, ...]:
        words = self.tokens
        if not (isinstance(words, list) and words and all(isinstance(word, str) and word for word in words)):
            raise self.error(f"tokens are {brief(words)}", "give every row a list of words, none of them empty")
        return tuple(words)


def _tagged(
    file: RawFile, open_table: Callable[[RawFile], Table], column: str, tag_names: Sequence[str]
) -> Iterator[Tagged | InputError]:
    names = tag_names or _names(_guarded(file, lambda: open_table(file)).schema.metadata, column, file)
    return tried(partial(_row_tags, names=names), _rows(file, open_table, [column]))


def _row_tags(row: TableRow, names: Sequence[str]) -> Tagged:
    words, tags = row.words(), row.labels
    if not isinstance(tags, list) or len(tags) != len(words):
        number = len(tags) if isinstance(tags, list) else "no"
        raise row.error(f"{len(words)} tokens but {number} tags", "give every token one tag")
    if any(type(tag) is int for tag in tags):
        tags = named(tags, names, f"{row.file.name}:{row.number}")
    if not all(isinstance(tag, str) for tag in tags):
        raise row.error(f"tags are {brief(tags)}", "write a text or a named number for each")
    return Tagged(row.file, [row.number] * len(words), words, tags)


def _spanned(file: RawFile, open_table: Callable[[RawFile], Table]) -> Iterator[Spanned | InputError]:
    return tried(_row_spans, _rows(file, open_table, ENTITIES))


def _row_spans(row: TableRow) -> Spanned:
    entities = row.labels
    if not isinstance(entities, list | None):
        raise row.error(f"entities are {brief(entities)}", "give every row a list of entities")
    spans = [span(entity) for entity in entities or ()]
    if None in spans:
        what = f"entity is {brief((entities or ())[spans.index(None)])}"
        raise row.error(what, 'write {"start": 0, "end": 2, "type": "person"}')
    return Spanned(row.file, row.number, row.words(), [entity for entity in spans if isinstance(entity, Entity)])


def _rows(file: RawFile, open_table: Callable[[RawFile], Table], labels: Sequence[str]) -> Iterator[TableRow]:
    table = _guarded(file, lambda: open_table(file))
    tokens, label = _column(table.schema, TOKENS), _column(table.schema, labels)
    if tokens is None or label is None:
        wanted = f"{' or '.join(TOKENS)}, and {' or '.join((*TAGS, *ENTITIES))}"
        what = f"its columns are {', '.join(table.schema.names) or 'none'}"
        raise InputError(what, location=file.name, hint=f"call them {wanted}, in all files alike")
    count = 0
    batches = _guarded(file, lambda: table.batches([tokens, label]))
    while (rows := _guarded(file, lambda: _values(next(batches, None), tokens, label))) is not None:
        for number, (words, labels_of_row) in enumerate(rows, start=count + 1):
            yield TableRow(file, number, words, labels_of_row)
        count += len(rows)
    if not count:
        raise InputError("no sentence in this file", location=file.name, hint="fill it or remove it")


def _values(batch: Any, *columns: str) -> list[tuple[Any, ...]] | None:
    """The rows of a batch as Python values, once its bytes are valid: Arrow reads beyond the end of damaged ones."""
    if batch is None:
        return None
    batch.validate(full=True)
    return list(zip(*(batch.column(column).to_pylist() for column in columns), strict=True))


def _guarded(file: RawFile, read: Callable[[], Any]) -> Any:
    """What a library reads of a file. Damaged files make it raise exceptions of any kind."""
    try:
        return read()
    except InputError:
        raise
    except Exception as error:
        what = f"cannot be read: {(str(error) or type(error).__name__).partition(chr(10))[0][:100]}"
        raise InputError(what, location=file.name, hint="is the file complete, and in this layout?") from None


def _column(schema: Any, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in schema.names), None)


def _names(metadata: Mapping[bytes, bytes] | None, column: str, file: RawFile) -> list[str]:
    """The names of numbered tags, from the Hugging Face features of the file."""
    features = (metadata or {}).get(b"huggingface")
    if features is None:
        return []
    try:
        feature = _FEATURES.validate_json(features).info.features.get(column)
        if isinstance(feature, list) and len(feature) == 1:  # a list feature, as older versions write it
            feature = {"feature": feature[0]}
        return _TAGS.validate_python(feature).feature.names if isinstance(feature, dict) else []
    except ValidationError:
        hint = "write tags as text, or save the data set again"
        raise InputError("its Hugging Face features do not name the tags", location=file.name, hint=hint) from None
