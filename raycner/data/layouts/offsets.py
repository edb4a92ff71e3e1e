"""JSON lines of text with character offsets; and how text becomes sentences, for every layout that annotates text."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raycner.data.entities import Entity
from raycner.data.layouts.jsonl import Object, every
from raycner.data.layouts.layout import LAYOUTS, REPAIR_HINT, Repair, Row, SpanLayout, Spanned, brief, from_spans, span
from raycner.data.sources import RawFile
from raycner.data.words import Place, sentences, spelt, words
from raycner.errors import InputError


@LAYOUTS.register("offsets")
class Offsets(SpanLayout):
    """One JSON object a line: `text`, and `entities` of `start`, `end` (exclusive), `type`, in characters.

    An entity may also be a list `[start, end, type]`. Other keys are ignored, but for two checks: an `id` occurs once,
    and the `text` of an entity is the text at its place.
    """

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        yield from from_texts(_distinct(map(_marked, every(files))), notes, repair=self.repair, nested=self.nested)


@dataclass(frozen=True, slots=True)
class Mark:
    """An entity, in characters of a text, and the text that its file gives for it."""

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
    """Where errors that concern several marks are reported."""
    text: str
    marks: Sequence[Mark]
    id: Any = None


def from_texts(marked: Iterable[Marked], notes: list[str], *, repair: Repair, nested: bool) -> Iterator[Row]:
    """Rows from texts, cut into sentences and words; no sentence ends inside an entity.

    An entity that cuts a word, or whose text is not the text at its place, is refused, unless the offsets of the whole
    text fit once CR and LF count as one. Lenient reading widens the first
    to whole words, drops the second and any that leaves the text, and counts both.
    """
    tally = Counter({"widened": 0, "dropped": 0, "line ends": 0})
    aligned = (_with_counted_line_ends(text, tally) for text in marked)
    yield from from_spans(_spanned(aligned, repair, tally), notes, repair=repair, nested=nested)
    if tally["line ends"]:
        notes.append(f"{tally['line ends']} texts whose offsets count a line end of CR and LF as one character")
    if tally["widened"]:
        notes.append(f"{tally['widened']} entities that cut a word were widened to whole words")
    if tally["dropped"]:
        notes.append(f"{tally['dropped']} entities that are not in their text were dropped")


def _with_counted_line_ends(marked: Marked, tally: Counter[str]) -> Marked:
    """The text with the line ends that its offsets count: brat counts CR and LF as one character."""
    if "\r\n" not in marked.text or not _contradictions(marked.marks, marked.text):
        return marked
    text = marked.text.replace("\r\n", "\n")
    if any(mark.text is None for mark in marked.marks) or _contradictions(marked.marks, text):
        return marked
    tally["line ends"] += 1
    return replace(marked, text=text)


def _contradictions(marks: Iterable[Mark], text: str) -> int:
    """How many entities are not in the text, or are not the text at their places."""
    return sum(bool(_flaw(mark, text)) for mark in marks)


def _spanned(marked: Iterable[Marked], repair: Repair, tally: Counter[str]) -> Iterator[Spanned]:
    for text in marked:
        marks: list[Mark] = []
        for mark in text.marks:
            contradiction = _flaw(mark, text.text)
            if not contradiction:
                marks.append(mark)
            elif repair == "strict":
                raise InputError(contradiction, location=f"{text.file.name}:{mark.line}", hint=REPAIR_HINT)
            else:
                tally["dropped"] += 1
        marks.sort(key=lambda mark: mark.start)
        position = 0
        for begin, end in sentences(text.text, [(mark.start, mark.end) for mark in marks]):
            first = position
            while position < len(marks) and marks[position].start < end:
                position += 1
            yield _sentence(text, (begin, end), marks[first:position], repair, tally)


def _sentence(text: Marked, place: Place, marks: Sequence[Mark], repair: Repair, tally: Counter[str]) -> Spanned:
    begin = place[0]
    places = words(text.text[slice(*place)])
    spans = []
    for mark in marks:
        start, end = mark.start - begin, mark.end - begin
        touched = [i for i, (a, b) in enumerate(places) if a < end and start < b]
        first, last = touched[0], touched[-1]
        if places[first][0] < start or places[last][1] > end:
            if repair == "strict":
                a, b = begin + places[first][0], begin + places[last][1]
                line = f"entity {mark.start}..{mark.end} ({mark.type}) cuts a word: {brief(text.text[a:b])}"
                raise InputError(line, location=f"{text.file.name}:{mark.line}", hint=REPAIR_HINT)
            tally["widened"] += 1
        spans.append(Entity(first, last + 1, mark.type))
    line_number = marks[0].line if marks else text.line
    return Spanned(text.file, line_number, spelt(text.text[slice(*place)], places), spans)


def _flaw(mark: Mark, text: str) -> str:
    """Why this cannot be an entity of the text; empty when it can."""
    name = f"entity {mark.start}..{mark.end} ({mark.type})"
    if not 0 <= mark.start < mark.end <= len(text):
        return f"{name} lies outside the text's {len(text)} characters"
    actual = text[mark.start : mark.end]
    if mark.text is not None and mark.text.split() != actual.split():
        return f"{name} should be {brief(mark.text)}, but the text there is {brief(actual)}"
    return "" if actual.strip() else f"{name} holds no word"


def _marked(item: Object) -> Marked:
    text, entities = item.fields.get("text"), item.fields.get("entities")
    if not (isinstance(text, str) and text.strip()):
        raise item.error(f"text is {brief(text)}", 'write "text": a text that is not empty')
    if not isinstance(entities, list):
        raise item.error(
            f"entities are {brief(entities)}", 'write "entities": a list, which may be empty, on every line'
        )
    return Marked(item.file, item.line, text, [_mark(entity, item) for entity in entities], item.fields.get("id"))


def _mark(value: Any, item: Object) -> Mark:
    if entity := span(value):
        text = value.get("text") if isinstance(value, dict) else None
        return Mark(entity.start, entity.end, entity.type, item.line, text if isinstance(text, str) else None)
    raise item.error(f"entity is {brief(value)}", 'write {"start": 0, "end": 4, "type": "person"}')


def _distinct(marked: Iterable[Marked]) -> Iterator[Marked]:
    """The same texts. Raises `InputError` when two have one `id`."""
    ids: set[int] = set()  # of hashes: ids may be long, and a corpus may have millions
    for text in marked:
        if text.id is not None:
            key = hash(repr(text.id))
            if key in ids:
                line, hint = f"id {brief(text.id)} occurs twice", "give every text an id of its own, or none"
                raise InputError(line, location=f"{text.file.name}:{text.line}", hint=hint)
            ids.add(key)
        yield text
