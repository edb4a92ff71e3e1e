"""spaCy: documents as JSON or as a DocBin, read without spaCy."""

from collections.abc import Iterator, Sequence
from typing import Any

from raycner.data.layouts.doc_bin import documents
from raycner.data.layouts.json_values import Value, values
from raycner.data.layouts.layout import LAYOUTS, brief, filled, span
from raycner.data.layouts.offsets import Mark, Marked, TextLayout
from raycner.data.sources import RawFile
from raycner.errors import InputError

HINT = 'write {"text": ..., "ents": [...]} or [text, {"entities": [[0, 4, "PERSON"]]}]'


@LAYOUTS.register("spacy")
class Spacy(TextLayout):
    """`.spacy` files (DocBin), and JSON: objects of `Doc.to_json`, or pairs of a text and its `entities`.

    The text is split into words again. Words whose annotation is missing count as outside, and are noted; spaCy 2's
    training JSON (`paragraphs`) is converted by `spacy convert` first.
    """

    def marked(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Marked | InputError]:
        unannotated = 0
        for file in files:
            if not file.name.endswith(".spacy"):
                yield from filled(_of_json(file), file)
                continue
            for document in filled(documents(file), file):
                unannotated += document.unannotated
                marks = [Mark(start, end, kind, document.number) for start, end, kind in document.entities]
                if document.text.strip():
                    yield Marked(file, document.number, document.text, marks)
        if unannotated:
            notes.append(f"{unannotated} words without any annotation are read as outside")


def _of_json(file: RawFile) -> Iterator[Marked | InputError]:
    for value in values(file):
        try:
            yield value if isinstance(value, InputError) else _of_value(value)
        except InputError as error:
            yield error


def _of_value(value: Value) -> Marked:
    fields = value.value
    if isinstance(fields, list) and len(fields) == 2 and isinstance(fields[1], dict):
        text, entities = fields[0], fields[1].get("entities")
    elif isinstance(fields, dict) and "paragraphs" in fields:
        raise _error(value, "the training JSON of spaCy 2", "convert it with `spacy convert` to .spacy")
    elif isinstance(fields, dict):
        text, entities = fields.get("text"), fields.get("ents")
    else:
        raise _error(value, f"found {brief(fields)}", HINT)
    if not (isinstance(text, str) and text.strip()):
        raise _error(value, f"text is {brief(text)}", HINT)
    if not isinstance(entities, list):
        raise _error(value, f"entities are {brief(entities)}", HINT)
    return Marked(value.file, value.line, text, [_mark(entity, value) for entity in entities])


def _mark(entity: Any, value: Value) -> Mark:
    if isinstance(entity, dict):
        entity = [entity.get("start"), entity.get("end"), entity.get("label")]
    if mark := span(entity):
        return Mark(mark.start, mark.end, mark.type, value.line)
    raise _error(value, f"entity is {brief(entity)}", HINT)


def _error(value: Value, what: str, hint: str) -> InputError:
    return InputError(what, location=f"{value.file.name}:{value.line}", hint=hint)
