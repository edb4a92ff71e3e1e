"""JSON lines: tokens with tags, or tokens with entities."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from raycner.data.entities import Entity
from raycner.data.layouts.layout import (
    ReadingConfig,
    Row,
    Spanned,
    Tagged,
    brief,
    filled,
    from_spans,
    from_tags,
    layout,
    span,
)
from raycner.data.sources import RawFile
from raycner.errors import InputError


@layout("jsonl")
def jsonl(files: Sequence[RawFile], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """One JSON object a line: `tokens` with `tags`, or `tokens` with `entities` of `start`, `end` (exclusive), `type`.

    An entity may also be a list `[start, end, type]`. Offsets count words. The first line decides between tags and
    entities for the whole corpus; other keys are ignored.
    """
    if "tags" in next(every(files)).said:
        yield from from_tags(lambda: map(_object_tags, every(files)), reading, notes)
    else:
        yield from from_spans(map(_object_spans, every(files)), reading, notes)


class Object(NamedTuple):
    """What a line says."""

    file: RawFile
    line: int
    said: dict[str, Any]

    def refusal(self, what: str, hint: str) -> InputError:
        return InputError(what, location=f"{self.file.name}:{self.line}", hint=hint)

    def words(self) -> tuple[str, ...]:
        tokens = self.said.get("tokens")
        if not (isinstance(tokens, list) and tokens and all(isinstance(word, str) and word for word in tokens)):
            raise self.refusal(f"tokens are {brief(tokens)}", 'write "tokens": a list of words, none of them empty')
        return tuple(tokens)


def every(files: Sequence[RawFile]) -> Iterator[Object]:
    """The objects of files, each of which must have some."""
    for file in files:
        yield from filled(objects(file), file)


def objects(file: RawFile) -> Iterator[Object]:
    """The objects of a file; blank lines are passed over."""
    for number, line in file.lines():
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            if "\\u" in line:
                json.dumps(said, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            found, hint = "an escape names half a character", "write the character itself, in UTF-8"
            raise InputError(found, location=f"{file.name}:{number}", hint=hint) from None
        except (ValueError, RecursionError) as error:
            at = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else error
            hint = "write one JSON object a line"
            raise InputError(f"not JSON: {at}", location=f"{file.name}:{number}", hint=hint) from None
        if not isinstance(said, dict):
            hint = "write one JSON object a line"
            raise InputError(f"found {brief(said)}", location=f"{file.name}:{number}", hint=hint)
        yield Object(file, number, said)


def _object_tags(item: Object) -> Tagged:
    words, tags = item.words(), item.said.get("tags")
    if not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        raise item.refusal(f"tags are {brief(tags)}", 'write "tags": a list of texts, on every line of the corpus')
    if len(tags) != len(words):
        raise item.refusal(f"{len(words)} tokens but {len(tags)} tags", "give every token one tag")
    return Tagged(item.file, [item.line] * len(words), words, tags)


def _object_spans(item: Object) -> Spanned:
    words, said = item.words(), item.said.get("entities")
    if not isinstance(said, list):
        raise item.refusal(f"entities are {brief(said)}", 'write "tags" or "entities" beside "tokens" on every line')
    return Spanned(item.file, item.line, words, [_object_span(entity, item) for entity in said])


def _object_span(said: Any, item: Object) -> Entity:
    if entity := span(said):
        return entity
    raise item.refusal(f"entity is {brief(said)}", 'write {"start": 0, "end": 2, "type": "person"}')
