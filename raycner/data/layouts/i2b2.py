"""i2b2 / UTHealth 2014, de-identification: a document an XML file, with TEXT and the TAGS of what is to be hidden."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar
from xml.etree.ElementTree import Element

from raycner.data.layouts.layout import LAYOUTS
from raycner.data.layouts.offsets import Mark, Marked, TextLayout, with_marks
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

    def marked(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Marked | InputError]:
        other: Counter[str] = Counter()
        yield from (_document(file, other) for file in files)
        if other:
            counts = ", ".join(f"{number} {kind}" for kind, number in sorted(other.items()))
            notes.append(f"not among the sixteen types, and left out: {counts}")


def _document(file: RawFile, other: Counter[str]) -> Marked | InputError:
    root = parse(file)
    text, tags = root.findtext("TEXT"), root.find("TAGS")
    if text is None or tags is None:
        return InputError("no TEXT and TAGS in it", location=file.name, hint="is it a file of the 2014 task?")
    return with_marks(file, 1, text, _marks(tags, file, other))


def _marks(tags: Iterable[Element], file: RawFile, other: Counter[str]) -> Iterator[Mark | InputError]:
    """The marks of TAGS, and an error in place of one that cannot be read."""
    names: set[str] = set()
    for tag in tags:
        if tag.tag not in CATEGORIES or "start" not in tag.attrib:
            continue
        name, kind = tag.get("id", f"#{len(names)}"), tag.get("TYPE", "")
        location = f"{file.name}:{name}"
        if name in names:
            yield InputError(f"{name} occurs twice", location=location, hint="give every tag an id of its own")
        names.add(name)
        try:
            start, end = int(tag.attrib["start"]), int(tag.attrib["end"])
        except (KeyError, ValueError):
            yield InputError("start and end are not numbers", location=location, hint="fix the file")
            continue
        if kind in TYPES:
            yield Mark(start, end, kind, 1, tag.get("text"))
        else:
            other[kind] += 1
