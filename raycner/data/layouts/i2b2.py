"""i2b2 / UTHealth 2014, de-identification: a document an XML file, with TEXT and the TAGS of what is to be hidden."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar

from raycner.data.layouts.layout import LAYOUTS
from raycner.data.layouts.offsets import Mark, Marked, TextLayout
from raycner.data.layouts.xml_document import parse
from raycner.data.sources import RawFile
from raycner.errors import InputError

CATEGORIES = frozenset({"NAME", "PROFESSION", "LOCATION", "AGE", "DATE", "CONTACT", "ID", "PHI"})
"""The elements of TAGS that mark what is to be hidden; their TYPE says what it is. Other elements are ignored."""
TYPES = (
    *("AGE", "CITY", "COUNTRY", "DATE", "DOCTOR", "HOSPITAL", "IDNUM", "MEDICALRECORD"),
    *("ORGANIZATION", "PATIENT", "PHONE", "PROFESSION", "STATE", "STREET", "USERNAME", "ZIP"),
)
"""The sixteen types that continual recognition is published on. Source: CFNER's corpus (that these are the names of
the 2014 task is INFERRED)."""


@LAYOUTS.register("i2b2")
class I2b2(TextLayout):
    """The XML files of 2014, matched by a path such as `data/i2b2/**/*.xml`, with train and test in their folders'
    names. Entities of other types than the sixteen are left out, and counted."""

    types: ClassVar[tuple[str, ...]] = TYPES

    def marked(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Marked]:
        other: Counter[str] = Counter()
        yield from (_document(file, other) for file in files)
        if other:
            counts = ", ".join(f"{number} {kind}" for kind, number in sorted(other.items()))
            notes.append(f"not among the sixteen types, and left out: {counts}")


def _document(file: RawFile, other: Counter[str]) -> Marked:
    root = parse(file)
    text, tags = root.findtext("TEXT"), root.find("TAGS")
    if text is None or tags is None:
        raise InputError("no TEXT and TAGS in it", location=file.name, hint="is it a file of the 2014 task?")
    marks: dict[str, Mark] = {}
    for tag in tags:
        if tag.tag not in CATEGORIES or "start" not in tag.attrib:
            continue
        name, kind = tag.get("id", f"#{len(marks)}"), tag.get("TYPE", "")
        location = f"{file.name}:{name}"
        try:
            start, end = int(tag.attrib["start"]), int(tag.attrib["end"])
        except (KeyError, ValueError):
            raise InputError("start and end are not numbers", location=location, hint="fix the file") from None
        if name in marks:
            raise InputError(f"{name} occurs twice", location=file.name, hint="give every tag an id of its own")
        if kind not in TYPES:
            other[kind] += 1
            continue
        marks[name] = Mark(start, end, kind, 1, tag.get("text"))
    return Marked(file, 1, text, list(marks.values()))
