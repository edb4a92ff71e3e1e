"""brat standoff: a .txt of text next to an .ann of annotations, of which the entities (T lines) are read."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from raycner.data.layouts.layout import LAYOUTS
from raycner.data.layouts.offsets import Mark, Marked, TextLayout, with_marks
from raycner.data.sources import RawFile
from raycner.errors import InputError

_ENTITY = re.compile(r"(T\S+)\t(\S+) (\d{1,15} \d{1,15}(?:;\d{1,15} \d{1,15})*)\t(.*)")


@LAYOUTS.register("brat")
class Brat(TextLayout):
    """Documents of brat; the path must match both files of each, as `data/brat/**/*.*` does with train, dev and test
    below. Relations, events, attributes and notes are ignored.

    An entity in several pieces with nothing but space between them (as where a line ends) is one; any other in several
    pieces is refused, or dropped and counted if `repair` is lenient.
    """

    def marked(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Marked | InputError]:  # noqa: ARG002
        texts = {file.name.removesuffix(".txt"): file for file in files if file.name.endswith(".txt")}
        annotations = {file.name.removesuffix(".ann"): file for file in files if file.name.endswith(".ann")}
        _require_pairs(texts, annotations)
        return (with_marks(file, 1, texts[name].text(), _marks(file)) for name, file in annotations.items())


def _marks(annotation: RawFile) -> Iterator[Mark | InputError]:
    """The entities of an .ann, and an error in place of a line that is none."""
    names: set[str] = set()
    for number, line in annotation.lines():
        if not line.startswith("T"):
            continue
        location = f"{annotation.name}:{number}"
        match = _ENTITY.fullmatch(line)
        if not match:
            hint = "write T1, a tab, TYPE START END, a tab, the text"
            yield InputError(f"not an entity of brat: {line[:60]!r}", location=location, hint=hint)
            continue
        name, kind, spans, words = match.groups()
        if name in names:
            yield InputError(f"{name} occurs twice", location=location, hint="give every entity its own number")
        names.add(name)
        pieces = [tuple(map(int, span.split(" "))) for span in spans.split(";")]
        gaps = tuple((one[1], two[0]) for one, two in pairwise(pieces))
        yield Mark(pieces[0][0], pieces[-1][1], kind, number, words, gaps)


def _require_pairs(texts: Mapping[str, RawFile], annotations: Mapping[str, RawFile]) -> None:
    """Raise `InputError` for a text without annotations, and for annotations without a text."""
    for name, file in annotations.items():
        if name not in texts:
            hint = "give scenario.corpus.path a pattern that also matches the .txt, such as data/brat/**/*.*"
            raise InputError("its text is not in the source", location=file.name, hint=hint)
    if unannotated := texts.keys() - annotations.keys():
        hint = "add an .ann, which may be empty, or remove the text"
        raise InputError("there is no .ann for it", location=texts[min(unannotated)].name, hint=hint)
