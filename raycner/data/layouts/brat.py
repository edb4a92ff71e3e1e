"""brat standoff: a .txt of text beside an .ann of annotations, of which the entities (T lines) are read."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from raycner.data.layouts.layout import ReadingConfig, Row, layout
from raycner.data.layouts.offsets import Mark, Marked, from_texts
from raycner.data.sources import RawFile
from raycner.errors import InputError

_ENTITY = re.compile(r"(T\S+)\t(\S+) (\d+ \d+(?:;\d+ \d+)*)\t(.*)")


@layout("brat")
def brat(files: Sequence[RawFile], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """Documents of brat; the source is to find both files of each, as `data/brat/**/*.*` does with train, dev and test
    below. Relations, events, attributes and notes are passed over.

    An entity in several pieces with nothing but space between them (as where a line ends) is one; any other in several
    pieces is refused, or dropped and counted if reading is lenient.
    """
    texts = {file.name.removesuffix(".txt"): file for file in files if file.name.endswith(".txt")}
    annotated = [file for file in files if file.name.endswith(".ann")]
    for file in annotated:
        if file.name.removesuffix(".ann") not in texts:
            hint = "give scenario.source a pattern that finds the .txt beside it too, such as data/brat/**/*.*"
            raise InputError("its text is not in the source", location=file.name, hint=hint)
    lonely = texts.keys() - {file.name.removesuffix(".ann") for file in annotated}
    if lonely:
        hint = "give it an .ann, be it empty, or take it away"
        raise InputError("no .ann beside it", location=texts[min(lonely)].name, hint=hint)
    broken: list[str] = []
    documents = (_document(file, texts[file.name.removesuffix(".ann")], reading, broken) for file in annotated)
    yield from from_texts(documents, reading, notes)
    if broken:
        notes.append(f"{len(broken)} entities in several pieces were dropped")


def _document(file: RawFile, beside: RawFile, reading: ReadingConfig, broken: list[str]) -> Marked:
    text = beside.text()
    marks: dict[str, Mark] = {}
    for number, line in file.lines():
        if not line.startswith("T"):
            continue
        where = f"{file.name}:{number}"
        said = _ENTITY.fullmatch(line)
        if not said:
            hint = "write T1, a tab, TYPE START END, a tab, the text"
            raise InputError(f"not an entity of brat: {line[:60]!r}", location=where, hint=hint)
        name, kind, spans, words = said.groups()
        if name in marks:
            raise InputError(f"{name} was there before", location=where, hint="number the entities apart")
        pieces = [tuple(map(int, span.split(" "))) for span in spans.split(";")]
        if any(text[one[1] : two[0]].strip() or one[1] > two[0] for one, two in pairwise(pieces)):
            if reading.repair == "strict":
                line = f"{name} ({kind}) is in several pieces, which an entity here cannot be"
                raise InputError(line, location=where, hint="mend the file, or set reading.repair=lenient")
            broken.append(name)
            continue
        marks[name] = Mark(pieces[0][0], pieces[-1][1], kind, number, words)
    return Marked(file, 1, text, list(marks.values()))
