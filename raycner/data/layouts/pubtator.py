"""PubTator: a title and an abstract, then a line for each entity, with offsets over both."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from raycner.data.layouts.layout import LAYOUTS, filled, tried
from raycner.data.layouts.offsets import Mark, Marked, TextLayout, with_marks
from raycner.data.sources import RawFile
from raycner.errors import InputError

_TEXT = re.compile(r"([^|\t]+)\|([a-z])\|(.*)")
_NUMBER = re.compile(r"\d{1,15}", re.ASCII)


@LAYOUTS.register("pubtator")
class Pubtator(TextLayout):
    """Documents such as those of BC5CDR and of PubTator's service: `ID|t|title`, `ID|a|abstract`, then lines of ID,
    start, end, text, type and identifier, with tabs between them; a blank line between documents.

    Offsets run over the texts joined by one character. Lines of relations are ignored.
    """

    def marked(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Marked | InputError]:  # noqa: ARG002
        return tried(_marked, (document for file in files for document in filled(_documents(file), file)))


@dataclass
class _Document:
    file: RawFile
    id: str
    line: int
    texts: list[str] = field(default_factory=list)
    marks: list[Mark | InputError] = field(default_factory=list)


def _marked(document: _Document) -> Marked | InputError:
    return with_marks(document.file, document.line, "\n".join(document.texts), document.marks)


def _documents(file: RawFile) -> Iterator[_Document | InputError]:
    """The documents of a file, and an error in place of a line that belongs to none."""
    document: _Document | None = None
    for number, line in file.lines():
        location = f"{file.name}:{number}"
        if text := _TEXT.fullmatch(line):
            if document is None or document.marks or text[1] != document.id:
                if document is not None:
                    yield document
                document = _Document(file, text[1], number)
            document.texts.append(text[3])
            continue
        if not line.strip():
            continue
        cells = line.split("\t")
        if document is None or cells[0] != document.id:
            hint = "write ID|t|title before the entities of ID"
            yield InputError(f"no text for {cells[0][:60]!r}", location=location, hint=hint)
            continue
        if len(cells) >= 2 and not _NUMBER.fullmatch(cells[1]):
            continue  # a relation: ID, its name, its arguments
        if len(cells) < 5 or not _NUMBER.fullmatch(cells[2]) or not cells[4]:
            hint = "write ID, start, end, text, type with tabs between them"
            document.marks.append(InputError(f"not an entity of PubTator: {line[:60]!r}", location=location, hint=hint))
            continue
        document.marks.append(Mark(int(cells[1]), int(cells[2]), cells[4], number, cells[3]))
    if document is not None:
        yield document
