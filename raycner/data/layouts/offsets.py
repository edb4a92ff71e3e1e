"""JSON lines of text with character offsets; and, for every layout that marks text, how text becomes sentences."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from raycner.data.entities import Entity
from raycner.data.layouts.jsonl import Object, every
from raycner.data.layouts.layout import ReadingConfig, Row, Spanned, brief, from_spans, layout, span
from raycner.data.sources import RawFile
from raycner.data.words import Place, sentences, spelt, words
from raycner.errors import InputError


@layout("offsets")
def offsets(files: Sequence[RawFile], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """One JSON object a line: `text`, and `entities` of `start`, `end` (exclusive), `type`, in characters.

    An entity may also be a list `[start, end, type]`. Other keys are ignored; but an `id`, where there is one, is to be
    no other line's, and an entity's `text` is to be what stands there.
    """
    yield from from_texts(_unlike(map(_marked, every(files))), reading, notes)


@dataclass(frozen=True, slots=True)
class Mark:
    """An entity, in characters of a text, and what its file says stands there."""

    start: int
    end: int
    type: str
    line: int
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Marked:
    """A text with marks."""

    file: RawFile
    line: int
    """Where marks that are wrong together are said to be."""
    text: str
    marks: Sequence[Mark]
    id: Any = None


def from_texts(marked: Iterable[Marked], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """Rows from texts, cut into sentences and words; no sentence ends inside an entity.

    An entity that cuts a word, or does not say what stands there, is refused; lenient reading widens the one to whole
    words and drops the other, as it drops one that leaves the text, and counts both.
    """
    tally = {"widened": 0, "dropped": 0}
    yield from from_spans(_spanned(marked, reading, tally), reading, notes)
    if tally["widened"]:
        notes.append(f"{tally['widened']} entities that cut a word were widened to whole words")
    if tally["dropped"]:
        notes.append(f"{tally['dropped']} entities that are not in their text were dropped")


def _spanned(marked: Iterable[Marked], reading: ReadingConfig, tally: dict[str, int]) -> Iterator[Spanned]:
    for text in marked:
        kept: list[Mark] = []
        for mark in text.marks:
            wrong = _flaw(mark, text.text)
            if not wrong:
                kept.append(mark)
            elif reading.repair == "strict":
                hint = "mend the file, or set reading.repair=lenient"
                raise InputError(wrong, location=f"{text.file.name}:{mark.line}", hint=hint)
            else:
                tally["dropped"] += 1
        kept.sort(key=lambda mark: mark.start)
        coming = 0
        for begin, end in sentences(text.text, [(mark.start, mark.end) for mark in kept]):
            first = coming
            while coming < len(kept) and kept[coming].start < end:
                coming += 1
            yield _sentence(text, (begin, end), kept[first:coming], reading, tally)


def _sentence(
    text: Marked, place: Place, marks: Sequence[Mark], reading: ReadingConfig, tally: dict[str, int]
) -> Spanned:
    begin = place[0]
    places = words(text.text[slice(*place)])
    spans = []
    for mark in marks:
        start, end = mark.start - begin, mark.end - begin
        touched = [i for i, (a, b) in enumerate(places) if a < end and start < b]
        first, last = touched[0], touched[-1]
        if places[first][0] < start or places[last][1] > end:
            if reading.repair == "strict":
                a, b = begin + places[first][0], begin + places[last][1]
                wrong = f"entity {mark.start}..{mark.end} ({mark.type}) cuts a word: {brief(text.text[a:b])}"
                hint = "mend the file, or set reading.repair=lenient"
                raise InputError(wrong, location=f"{text.file.name}:{mark.line}", hint=hint)
            tally["widened"] += 1
        spans.append(Entity(first, last + 1, mark.type))
    line = marks[0].line if marks else text.line
    return Spanned(text.file, line, spelt(text.text[slice(*place)], places), spans)


def _flaw(mark: Mark, text: str) -> str:
    """Why this cannot be an entity of the text; empty when it can."""
    said = f"entity {mark.start}..{mark.end} ({mark.type})"
    if not 0 <= mark.start < mark.end <= len(text):
        return f"{said} lies outside the text's {len(text)} characters"
    there = text[mark.start : mark.end]
    if mark.text is not None and mark.text.split() != there.split():
        return f"{said} is said to be {brief(mark.text)}, where {brief(there)} stands"
    return "" if there.strip() else f"{said} holds no word"


def _marked(item: Object) -> Marked:
    text, said = item.said.get("text"), item.said.get("entities")
    if not (isinstance(text, str) and text.strip()):
        raise item.refusal(f"text is {brief(text)}", 'write "text": a text that is not empty')
    if not isinstance(said, list):
        raise item.refusal(f"entities are {brief(said)}", 'write "entities": a list, be it empty, on every line')
    return Marked(item.file, item.line, text, [_mark(entity, item) for entity in said], item.said.get("id"))


def _mark(said: Any, item: Object) -> Mark:
    if entity := span(said):
        text = said.get("text") if isinstance(said, dict) else None
        return Mark(entity.start, entity.end, entity.type, item.line, text if isinstance(text, str) else None)
    raise item.refusal(f"entity is {brief(said)}", 'write {"start": 0, "end": 4, "type": "person"}')


def _unlike(marked: Iterable[Marked]) -> Iterator[Marked]:
    """The same, as long as no two have one `id`."""
    ids: set[int] = set()  # of hashes: ids may be long, and a corpus may have millions
    for text in marked:
        if text.id is not None:
            key = hash(repr(text.id))
            if key in ids:
                line, hint = f"id {brief(text.id)} was there before", "give every text an id of its own, or none"
                raise InputError(line, location=f"{text.file.name}:{text.line}", hint=hint)
            ids.add(key)
        yield text
