"""JSON lines: tokens with tags, or tokens with entities."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from raycner.data.entities import Entity
from raycner.data.layouts.layout import (
    LAYOUTS,
    Row,
    Spanned,
    TextFileLayout,
    WordLayout,
    brief,
    filled,
    from_spans,
    from_tags,
    named,
    span,
    tried,
)
from raycner.data.sources import RawFile
from raycner.data.tag_notation import Tagged
from raycner.errors import InputError

TAGS = ("ner_tags", "tags")
"""Accepted keys of tags."""


@LAYOUTS.register("jsonl")
class Jsonl(TextFileLayout, WordLayout):
    """One JSON object a line: `tokens` with `tags` (or ner_tags, as `Dataset.to_json` writes them), or `tokens` with
    `entities` of `start`, `end` (exclusive), `type`.

    An entity may also be a list `[start, end, type]`. Offsets count words. The first line decides between tags and
    entities for the whole corpus; other keys are ignored. Tags are text, or numbers that `tag_names` names.
    """

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        keys = self._tag_keys(files)
        if len(keys) > 1:
            notes.append(f"{keys[0]} read; not read: {', '.join(keys[1:])}")
        if keys:
            read = partial(_object_tags, key=keys[0], names=self.tag_names)
            yield from from_tags(
                lambda: tried(read, every_line(files)), notes, notation=self.notation, repair=self.repair
            )
        else:
            spanned = tried(_object_spans, every_line(files))
            yield from from_spans(spanned, notes, repair=self.repair, nested=self.nested)

    def fields(self, files: Sequence[RawFile]) -> str:
        return f"tokens and {[*self._tag_keys(files), 'entities'][0]}"

    def _tag_keys(self, files: Sequence[RawFile]) -> list[str]:
        """The keys of tags in the first object that can be read."""
        first = next((item for item in every_line(files) if isinstance(item, Object)), None)
        return [key for key in TAGS if first is not None and key in first.fields]


class Object(NamedTuple):
    """The JSON object of a line."""

    file: RawFile
    line: int
    fields: dict[str, Any]

    def error(self, what: str, hint: str) -> InputError:
        return InputError(what, location=f"{self.file.name}:{self.line}", hint=hint)

    def words(self) -> tuple[str, ...]:
        tokens = self.fields.get("tokens")
        if not (isinstance(tokens, list) and tokens and all(isinstance(word, str) and word for word in tokens)):
            raise self.error(f"tokens are {brief(tokens)}", 'write "tokens": a list of words, none of them empty')
        return tuple(tokens)


def every(files: Sequence[RawFile]) -> Iterator[Object]:
    """The objects of files, each of which must have some. Raises `InputError` at the first line that holds none."""
    for file in files:
        yield from filled(objects(file), file)


def every_line(files: Sequence[RawFile]) -> Iterator[Object | InputError]:
    """The objects of files, each of which must have some, and an error in place of a line that holds none."""
    for file in files:
        yield from filled(lines(file), file)


def lines(file: RawFile) -> Iterator[Object | InputError]:
    """The objects of a file, and an error in place of a line that holds none; blank lines are ignored."""
    for number, line in file.lines():
        if line.strip():
            try:
                yield _object(file, number, line)
            except InputError as error:
                yield error


def objects(file: RawFile) -> Iterator[Object]:
    """The objects of a file. Raises `InputError` at the first line that holds none."""
    for item in lines(file):
        if isinstance(item, InputError):
            raise item
        yield item


def _object(file: RawFile, number: int, line: str) -> Object:
    try:
        value = json.loads(line)
        if "\\u" in line:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        what, hint = "an escape names half a character", "write the character itself, in UTF-8"
        raise InputError(what, location=f"{file.name}:{number}", hint=hint) from None
    except (ValueError, RecursionError) as error:
        at = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else error
        hint = "write one JSON object a line"
        raise InputError(f"not JSON: {at}", location=f"{file.name}:{number}", hint=hint) from None
    if not isinstance(value, dict):
        hint = "write one JSON object a line"
        raise InputError(f"found {brief(value)}", location=f"{file.name}:{number}", hint=hint)
    return Object(file, number, value)


def _object_tags(item: Object, key: str, names: Sequence[str]) -> Tagged:
    words, tags = item.words(), item.fields.get(key)
    if not isinstance(tags, list):
        raise item.error(f"{key} are {brief(tags)}", f'write "{key}": a list of texts, on every line of the corpus')
    if any(type(tag) is int for tag in tags):
        tags = named(tags, names, f"{item.file.name}:{item.line}")
    if not all(isinstance(tag, str) for tag in tags):
        raise item.error(f"{key} are {brief(tags)}", f'write "{key}": a list of texts, on every line of the corpus')
    if len(tags) != len(words):
        raise item.error(f"{len(words)} tokens but {len(tags)} tags", "give every token one tag")
    return Tagged(item.file, [item.line] * len(words), words, tags)


def _object_spans(item: Object) -> Spanned:
    words, entities = item.words(), item.fields.get("entities")
    if not isinstance(entities, list):
        hint = 'write "tags" or "entities" next to "tokens" on every line'
        raise item.error(f"entities are {brief(entities)}", hint)
    return Spanned(item.file, item.line, words, [_object_span(entity, item) for entity in entities])


def _object_span(value: Any, item: Object) -> Entity:
    if entity := span(value):
        return entity
    raise item.error(f"entity is {brief(value)}", 'write {"start": 0, "end": 2, "type": "person"}')
