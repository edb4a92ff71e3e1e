"""GLiNER: JSON of words with spans whose ends are inclusive."""

from collections.abc import Iterator, Sequence
from typing import Any

from raycner.data.entities import Entity
from raycner.data.layouts.json_values import every_item
from raycner.data.layouts.jsonl import Object
from raycner.data.layouts.layout import (
    LAYOUTS,
    Row,
    SpanLayout,
    Spanned,
    TextFileLayout,
    brief,
    from_spans,
    span,
    tried,
)
from raycner.data.sources import RawFile


@LAYOUTS.register("gliner")
class Gliner(TextFileLayout, SpanLayout):
    """Training data of GLiNER, an array or an object a line: `tokenized_text`, a list of words, and `ner`, a list of
    `[first, last, type]` in words, the last one included. Other keys are ignored."""

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        spanned = tried(_spanned, every_item(files))
        yield from from_spans(spanned, notes, repair=self.repair, nested=self.nested)


def _spanned(item: Object) -> Spanned:
    words, entities = item.fields.get("tokenized_text"), item.fields.get("ner")
    if not (isinstance(words, list) and words and all(isinstance(word, str) and word for word in words)):
        hint = 'write "tokenized_text": a list of words, none of them empty'
        raise item.error(f"tokenized_text is {brief(words)}", hint)
    if not isinstance(entities, list):
        raise item.error(f"ner is {brief(entities)}", 'write "ner": a list, which may be empty, in every object')
    return Spanned(item.file, item.line, tuple(words), [_entity(value, item) for value in entities])


def _entity(value: Any, item: Object) -> Entity:
    entity = span(value) if isinstance(value, list) else None
    if entity is None:
        raise item.error(f"entity is {brief(value)}", "write [first, last, type]")
    return Entity(entity.start, entity.end + 1, entity.type)
