"""doccano: JSON lines of texts with labelled spans."""

from collections.abc import Iterator, Sequence
from typing import Any

from raycner.data.layouts.json_values import every_item
from raycner.data.layouts.jsonl import Object
from raycner.data.layouts.layout import LAYOUTS, brief, span, tried
from raycner.data.layouts.offsets import Mark, Marked, TextLayout
from raycner.data.sources import RawFile
from raycner.errors import InputError

TEXTS, LABELS = ("text", "data"), ("label", "labels", "entities", "annotations")
"""The keys of text and labels, in exports of different versions."""


@LAYOUTS.register("doccano")
class Doccano(TextLayout):
    """The JSONL export of a sequence labelling project: `text` with `label`, a list of `[start, end, type]`; or, where
    relations are labelled too, with `entities` of `start_offset`, `end_offset` and `label`. Relations are ignored."""

    def marked(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Marked | InputError]:  # noqa: ARG002
        return tried(_marked, every_item(files))


def _marked(item: Object) -> Marked:
    text = next((item.fields[key] for key in TEXTS if key in item.fields), None)
    labels = next((item.fields[key] for key in LABELS if key in item.fields), None)
    if not (isinstance(text, str) and text.strip()):
        raise item.error(f"text is {brief(text)}", 'write "text": a text that is not empty')
    if not isinstance(labels, list):
        raise item.error(f"label is {brief(labels)}", "export the project as JSONL, with its spans")
    return Marked(item.file, item.line, text, [_mark(label, item) for label in labels])


def _mark(label: Any, item: Object) -> Mark:
    if isinstance(label, dict):
        label = [label.get("start_offset"), label.get("end_offset"), label.get("label")]
    if entity := span(label):
        return Mark(entity.start, entity.end, entity.type, item.line)
    raise item.error(f"label is {brief(label)}", "write [0, 4, type]; is it a project of sequence labelling?")
