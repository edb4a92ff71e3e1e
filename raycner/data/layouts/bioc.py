"""BioC: collections of documents in passages, with annotations by offset; XML or JSON.

A document is read from either form into the same values, those of the JSON form.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any
from xml.etree.ElementTree import Element

from raycner.data.layouts.json_values import as_object, values
from raycner.data.layouts.layout import LAYOUTS, brief, filled, tried
from raycner.data.layouts.offsets import Mark, Marked, TextLayout, with_marks
from raycner.data.layouts.xml_document import parse
from raycner.data.sources import RawFile
from raycner.errors import InputError
from raycner.hashing import omit_default_from_hash

COLLECTIONS = ("documents", "PubTator3")
"""The key of the documents of a JSON collection."""


@LAYOUTS.register("bioc")
class Bioc(TextLayout):
    """BioC XML or JSON. Passages, or their sentences where these have the text, are read one by one; relations are
    ignored. An annotation without a type, as of a relation's argument, is refused."""

    type_key: str = omit_default_from_hash("type")
    """The infon that holds the type of an annotation."""

    def marked(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Marked | InputError]:  # noqa: ARG002
        for file in files:
            documents = _xml_documents(parse(file)) if _is_xml(file) else _json_documents(file)
            yield from filled(self._passages(file, documents), file)

    def _passages(
        self, file: RawFile, documents: Iterable[tuple[int, Any] | InputError]
    ) -> Iterator[Marked | InputError]:
        for texts in tried(partial(self._document, file), documents):
            yield from [texts] if isinstance(texts, InputError) else texts

    def _document(self, file: RawFile, numbered: tuple[int, Any]) -> list[Marked | InputError]:
        """The texts of a document and its line, and errors in place of those that cannot be read."""
        line, document = numbered
        name = _member(document, "id", str | int | None, file, line)
        location = f"{file.name}:{line}" if name is None else f"{file.name}: document {name}"
        passages = _member(document, "passages", list, file, line)
        return [text for passage in passages for text in self._texts(passage, file, line, location)]

    def _texts(self, passage: Any, file: RawFile, line: int, location: str) -> Iterator[Marked | InputError]:
        parts = [passage, *(_member(passage, "sentences", list | None, file, line) or [])]
        for part in parts:
            text = _member(part, "text", str | None, file, line)
            annotations = _member(part, "annotations", list | None, file, line) or []
            if not text and annotations:
                yield InputError("annotations without a text", location=location, hint="keep the text of passages")
            if text and text.strip():
                offset = _member(part, "offset", int, file, line)
                yield with_marks(file, line, text, tried(partial(self._mark, offset, file, line), annotations))

    def _mark(self, offset: int, file: RawFile, line: int, annotation: Any) -> Mark:
        infons = _member(annotation, "infons", dict, file, line)
        kind = infons.get(self.type_key)
        if not (isinstance(kind, str) and kind):
            hint = f"set scenario.corpus.type_key to one of {', '.join(infons) or 'its infons'}"
            raise InputError(f"an annotation without {self.type_key!r}", location=f"{file.name}:{line}", hint=hint)
        pieces = []
        for place in _member(annotation, "locations", list, file, line):
            start = _member(place, "offset", int, file, line) - offset
            pieces.append((start, start + _member(place, "length", int, file, line)))
        if not pieces:
            raise InputError("an annotation without a location", location=f"{file.name}:{line}", hint="give it one")
        pieces.sort()
        gaps = tuple((one[1], two[0]) for one, two in pairwise(pieces))
        return Mark(pieces[0][0], pieces[-1][1], kind, line, _member(annotation, "text", str | None, file, line), gaps)


def _member(value: Any, key: str, kind: Any, file: RawFile, line: int) -> Any:
    """A member of an object, which must be of this kind."""
    member = value.get(key) if isinstance(value, dict) else value
    if not isinstance(value, dict) or not isinstance(member, kind) or isinstance(member, bool):
        raise InputError(f"{key} is {brief(member)}", location=f"{file.name}:{line}", hint="is it BioC?")
    return member


def _is_xml(file: RawFile) -> bool:
    first = next((line for _, line in file.lines() if line.strip()), "")
    return first.lstrip().startswith("<")


def _json_documents(file: RawFile) -> Iterator[tuple[int, Any] | InputError]:
    """The documents of JSON collections, of arrays of documents, or of documents line by line, and an error in place
    of what is none."""
    for item in tried(as_object, values(file)):
        if isinstance(item, InputError):
            yield item
            continue
        key = next((key for key in COLLECTIONS if key in item.fields), None)
        documents = item.fields[key] if key else [item.fields]
        if not isinstance(documents, list):
            yield item.error(f"{key} are {brief(documents)}", "is it BioC?")
            continue
        yield from ((item.line, document) for document in documents)


def _xml_documents(root: Element) -> Iterator[tuple[int, Any]]:
    return ((1, _xml_document(document)) for document in root.iter("document"))


def _xml_document(document: Element) -> Mapping[str, Any]:
    passages = [
        {**_xml_part(passage), "sentences": [_xml_part(sentence) for sentence in passage.findall("sentence")]}
        for passage in document.findall("passage")
    ]
    return {"id": document.findtext("id"), "passages": passages}


def _xml_part(part: Element) -> dict[str, Any]:
    annotations = [
        {
            "infons": {infon.get("key") or "": infon.text or "" for infon in annotation.findall("infon")},
            "text": annotation.findtext("text"),
            "locations": [
                {"offset": _number(place.get("offset")), "length": _number(place.get("length"))}
                for place in annotation.findall("location")
            ],
        }
        for annotation in part.findall("annotation")
    ]
    return {"offset": _number(part.findtext("offset")), "text": part.findtext("text"), "annotations": annotations}


def _number(text: str | None) -> int | str | None:
    """A number that is written as one; anything else as it is, to be refused with its place."""
    digits = (text or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else text
