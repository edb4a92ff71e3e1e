"""Parquet; and, for every layout of Arrow tables, how their rows are read: a few at a time, however large the file."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raycner.data.entities import Entity
from raycner.data.layouts.layout import (
    ReadingConfig,
    Row,
    Spanned,
    Tagged,
    brief,
    from_spans,
    from_tags,
    layout,
    span,
)
from raycner.data.sources import RawFile
from raycner.errors import InputError

TOGETHER = 1000
"""Rows in memory at a time."""
TOKENS, TAGS, ENTITIES = ("tokens", "words"), ("ner_tags", "tags", "labels"), ("entities",)
"""What the columns may be called; of several, the first is read."""


@layout("parquet")
def parquet(files: Sequence[RawFile], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """A row a sentence: `tokens` (or words) with `ner_tags` (or tags, labels), or with `entities` of `start`, `end`
    (exclusive) and `type`, in words. Tags are texts, or numbers whose names the file's Hugging Face features tell."""
    yield from from_tables(files, _open, reading, notes)


@dataclass(frozen=True)
class Table:
    """An open file of a table: its schema, and a reader of some of its columns, batch by batch."""

    schema: Any
    batches: Callable[[list[str]], Iterator[Any]]


def from_tables(
    files: Sequence[RawFile], opened: Callable[[RawFile], Table], reading: ReadingConfig, notes: list[str]
) -> Iterator[Row]:
    """Rows from tables that are alike. Places in a file are rows, counted from 1."""
    schema = _guarded(files[0], lambda: opened(files[0])).schema
    if _column(schema, TAGS):
        yield from from_tags(lambda: (row for file in files for row in _tagged(file, opened)), reading, notes)
    else:
        yield from from_spans((row for file in files for row in _spanned(file, opened)), reading, notes)


def _open(file: RawFile) -> Table:
    table = pq.ParquetFile(file.seekable())
    return Table(table.schema_arrow, lambda columns: table.iter_batches(TOGETHER, columns=columns))


def _tagged(file: RawFile, opened: Callable[[RawFile], Table]) -> Iterator[Tagged]:
    for row, words, tags, schema in _rows(file, opened, TAGS):
        where = f"{file.name}:{row}"
        if not isinstance(tags, list) or len(tags) != len(words):
            found = f"{len(words)} tokens but {len(tags) if isinstance(tags, list) else 'no'} tags"
            raise InputError(found, location=where, hint="give every token one tag")
        names = _names(schema)
        if any(isinstance(tag, int) for tag in tags):
            if not all(isinstance(tag, int) and 0 <= tag < len(names) for tag in tags):
                hint = "write tags as texts, or ClassLabel features with all names"
                raise InputError(f"tags are numbers without names: {brief(tags)}", location=where, hint=hint)
            tags = [names[tag] for tag in tags]
        if not all(isinstance(tag, str) for tag in tags):
            raise InputError(f"tags are {brief(tags)}", location=where, hint="write a text or a named number for each")
        yield Tagged(file, [row] * len(words), words, tags)


def _spanned(file: RawFile, opened: Callable[[RawFile], Table]) -> Iterator[Spanned]:
    for row, words, said, _ in _rows(file, opened, ENTITIES):
        spans = [span(entity) for entity in said or ()]
        if None in spans:
            found = f"entity is {brief((said or ())[spans.index(None)])}"
            hint = 'write {"start": 0, "end": 2, "type": "person"}'
            raise InputError(found, location=f"{file.name}:{row}", hint=hint)
        yield Spanned(file, row, words, [entity for entity in spans if isinstance(entity, Entity)])


def _rows(
    file: RawFile, opened: Callable[[RawFile], Table], labels: Sequence[str]
) -> Iterator[tuple[int, tuple[str, ...], Any, Any]]:
    """Number, words, label and schema of each row."""
    table = _guarded(file, lambda: opened(file))
    tokens, label = _column(table.schema, TOKENS), _column(table.schema, labels)
    if tokens is None or label is None:
        wanted = f"{' or '.join(TOKENS)}, and {' or '.join((*TAGS, *ENTITIES))}"
        found = f"its columns are {', '.join(table.schema.names) or 'none'}"
        raise InputError(found, location=file.name, hint=f"call them {wanted}, in all files alike")
    batches, row = table.batches([tokens, label]), 0
    while (batch := _guarded(file, lambda: next(batches, None))) is not None:
        for words, said in zip(batch.column(tokens).to_pylist(), batch.column(label).to_pylist(), strict=True):
            row += 1
            if not (isinstance(words, list) and words and all(isinstance(word, str) and word for word in words)):
                found, hint = f"tokens are {brief(words)}", "give every row a list of words, none of them empty"
                raise InputError(found, location=f"{file.name}:{row}", hint=hint)
            yield row, tuple(words), said, table.schema
    if not row:
        raise InputError("no sentence in this file", location=file.name, hint="fill it or take it away")


def _guarded(file: RawFile, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        found = f"cannot be read: {str(error).partition(chr(10))[0][:100]}"
        raise InputError(found, location=file.name, hint="is the file whole, and of this layout?") from None


def _column(schema: Any, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in schema.names), None)


def _names(schema: Any) -> list[str]:
    """The names of numbered tags, as Hugging Face's features tell them."""
    told = (schema.metadata or {}).get(b"huggingface")
    features = json.loads(told)["info"]["features"] if told else {}
    feature = features.get(_column(schema, TAGS), {})
    names: list[str] = (feature.get("feature") or {}).get("names", []) if isinstance(feature, dict) else []
    return names
