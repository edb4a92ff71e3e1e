"""JSON lines of text with character offsets; and how text becomes sentences, for every layout that annotates text."""

from abc import abstractmethod
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise
from typing import Any

from raycner.data.entities import Entity
from raycner.data.layouts.jsonl import Object, every_line
from raycner.data.layouts.layout import (
    LAYOUTS,
    REPAIR_HINT,
    Repair,
    Row,
    SpanLayout,
    Spanned,
    TextFileLayout,
    brief,
    from_spans,
    span,
    tried,
)
from raycner.data.sources import RawFile
from raycner.data.words import Place, sentences, spelt, words
from raycner.errors import InputError
from raycner.hashing import omit_default_from_hash


@dataclass(frozen=True, slots=True)
class Mark:
    """An entity, in characters of a text, and the text that its file gives for it."""

    start: int
    end: int
    type: str
    line: int
    text: str | None = None
    gaps: tuple[Place, ...] = ()
    """The stretches within it that do not belong to it."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A text with marks."""

    file: RawFile
    line: int
    """Where errors that concern several marks are reported."""
    text: str
    marks: Sequence[Mark]
    id: Any = None


def with_marks(file: RawFile, line: int, text: str, marks: Iterable[Mark | InputError]) -> Marked | InputError:
    """A text with its marks, or the errors of all marks that cannot be read."""
    read = list(marks)
    errors = [mark for mark in read if isinstance(mark, InputError)]
    return InputError.together(errors) if errors else Marked(file, line, text, [m for m in read if isinstance(m, Mark)])


@dataclass(frozen=True, kw_only=True)
class TextLayout(TextFileLayout, SpanLayout):
    """A layout of texts with marks."""

    cut_words: bool = omit_default_from_hash(False)
    """Whether a word is cut where an entity begins or ends inside it, as in Korean, in Thai, or in 5mg. Text to predict
    on has no entities yet, so its words are not cut."""

    @abstractmethod
    def marked(self, files: Sequence[RawFile], notes: list[str]) -> Iterable[Marked | InputError]:
        """The texts of files, with their marks, and an error in place of a text that cannot be read."""

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        texts = self.marked(files, notes)
        yield from from_texts(texts, notes, repair=self.repair, nested=self.nested, cut_words=self.cut_words)


@LAYOUTS.register("offsets")
class Offsets(TextLayout):
    """One JSON object a line: `text`, and `entities` of `start`, `end` (exclusive), `type`, in characters.

    An entity may also be a list `[start, end, type]`. Other keys are ignored, but for two checks: an `id` occurs once,
    and the `text` of an entity is the text at its place.
    """

    def marked(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Marked | InputError]:  # noqa: ARG002
        return _distinct(tried(_marked, every_line(files)))


def from_texts(
    marked: Iterable[Marked | InputError],
    notes: list[str],
    *,
    repair: Repair,
    nested: bool,
    cut_words: bool = False,
) -> Iterator[Row]:
    """Rows from texts, cut into sentences and words; no sentence ends inside an entity. `marked` yields an `InputError`
    in place of a text that it cannot read.

    An entity in several pieces with more than space between them is refused, and so is one that cuts a word, unless
    `cut_words` cuts the word too. An entity whose text is not the text at its place is refused, unless all offsets of
    its text fit in another count (`_recounted`). Lenient reading widens an entity that cuts a word to whole words,
    drops the others and any that leaves the text, and counts all of them.
    """
    tally = Counter[str]()
    recounted = (text if isinstance(text, InputError) else _recounted(text, tally) for text in marked)
    yield from from_spans(_spanned(recounted, repair, tally, cut_words), notes, repair=repair, nested=nested)
    notes += [f"{tally[what]} {what}" for what in _TALLIED if tally[what]]


CR_LF = "texts whose offsets count a line end of CR and LF as one character"
UTF_16 = "texts whose offsets count characters beyond the 16-bit range as two"
WIDENED = "entities that cut a word were widened to whole words"
CUT = "words were cut where an entity begins or ends inside them; words of text to predict on are not"
IN_PIECES = "entities in several pieces were dropped"
MISPLACED = "entities that are not in their text were dropped"
_TALLIED = (CR_LF, UTF_16, WIDENED, CUT, IN_PIECES, MISPLACED)


def _recounted(marked: Marked, tally: Counter[str]) -> Marked:
    """The text and its marks in offsets that fit: brat counts CR and LF as one character, and JavaScript characters
    beyond the 16-bit range as two. Another count is accepted only where it explains the text of every mark."""
    if any(mark.text is None for mark in marked.marks) or _is_consistent(marked):
        return marked
    candidates = []
    if "\r\n" in marked.text:
        candidates.append((CR_LF, replace(marked, text=marked.text.replace("\r\n", "\n"))))
    if max(marked.text, default="") > "\uffff":
        units = list(accumulate((1 + (character > "\uffff") for character in marked.text), initial=0))
        candidates.append((UTF_16, replace(marked, marks=[_in_characters(mark, units) for mark in marked.marks])))
    for count, candidate in candidates:
        if _is_consistent(candidate):
            tally[count] += 1
            return candidate
    return marked


def _in_characters(mark: Mark, units: Sequence[int]) -> Mark:
    """A mark whose offsets count 16-bit units, in characters; `units` says where each character begins."""
    gaps = tuple((bisect_left(units, a), bisect_left(units, b)) for a, b in mark.gaps)
    return replace(mark, start=bisect_left(units, mark.start), end=bisect_left(units, mark.end), gaps=gaps)


def _is_consistent(marked: Marked) -> bool:
    """Whether every entity is the text at its place."""
    return not any(_misplacement(mark, marked.text) for mark in marked.marks)


def _spanned(
    marked: Iterable[Marked | InputError], repair: Repair, tally: Counter[str], cut_words: bool
) -> Iterator[Spanned | InputError]:
    for text in marked:
        if isinstance(text, InputError):
            yield text
            continue
        marks: list[Mark] = []
        for mark in text.marks:
            misplacement = _misplacement(mark, text.text)
            contradiction = misplacement or _discontinuity(mark, text.text)
            if not contradiction:
                marks.append(mark)
            elif repair == "strict":
                yield InputError(contradiction, location=f"{text.file.name}:{mark.line}", hint=REPAIR_HINT)
            else:
                tally[MISPLACED if misplacement else IN_PIECES] += 1
        marks.sort(key=lambda mark: mark.start)
        position = 0
        for begin, end in sentences(text.text, [(mark.start, mark.end) for mark in marks]):
            first = position
            while position < len(marks) and marks[position].start < end:
                position += 1
            yield from _sentence(text, (begin, end), marks[first:position], repair, tally, cut_words)


def _sentence(
    text: Marked, place: Place, marks: Sequence[Mark], repair: Repair, tally: Counter[str], cut_words: bool
) -> Iterator[Spanned | InputError]:
    """A sentence of a text, after the errors of marks that cut a word."""
    begin = place[0]
    places = words(text.text[slice(*place)])
    if cut_words and marks:
        borders = {offset - begin for mark in marks for offset in (mark.start, mark.end)}
        parts = [_cut(word, borders) for word in places]
        tally[CUT] += sum(len(parts_of_word) > 1 for parts_of_word in parts)
        places = [part for parts_of_word in parts for part in parts_of_word]
    spans = []
    for mark in marks:
        start, end = mark.start - begin, mark.end - begin
        touched = [i for i, (a, b) in enumerate(places) if a < end and start < b]
        first, last = touched[0], touched[-1]
        if places[first][0] < start or places[last][1] > end:
            if repair == "strict":
                a, b = begin + places[first][0], begin + places[last][1]
                line = f"entity {mark.start}..{mark.end} ({mark.type}) cuts a word: {brief(text.text[a:b])}"
                yield InputError(line, location=f"{text.file.name}:{mark.line}", hint=CUT_HINT)
                continue
            tally[WIDENED] += 1
        spans.append(Entity(first, last + 1, mark.type))
    line_number = marks[0].line if marks else text.line
    yield Spanned(text.file, line_number, spelt(text.text[slice(*place)], places), spans)


CUT_HINT = "fix the file, or set scenario.corpus.cut_words=true, or scenario.corpus.repair=lenient"


def _cut(word: Place, borders: Iterable[int]) -> list[Place]:
    """The parts of a word between the borders inside it."""
    return list(pairwise(sorted({*word, *(border for border in borders if word[0] < border < word[1])})))


def _misplacement(mark: Mark, text: str) -> str:
    """Why this is no entity of the text; empty when it is."""
    name = f"entity {mark.start}..{mark.end} ({mark.type})"
    if not 0 <= mark.start < mark.end <= len(text):
        return f"{name} lies outside the text's {len(text)} characters"
    bounds = [mark.start, *chain.from_iterable(mark.gaps), mark.end]
    actual = " ".join(text[a:b] for a, b in zip(bounds[::2], bounds[1::2], strict=True))
    if mark.text is not None and mark.text.split() != actual.split():
        return f"{name} should be {brief(mark.text)}, but the text there is {brief(actual)}"
    return "" if actual.strip() else f"{name} holds no word"


def _discontinuity(mark: Mark, text: str) -> str:
    """Why the pieces of an entity are not one; empty when nothing but space is between them."""
    if any(a > b or text[a:b].strip() for a, b in mark.gaps):
        return f"entity {mark.start}..{mark.end} ({mark.type}) is in several pieces, which an entity here cannot be"
    return ""


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


def _distinct(marked: Iterable[Marked | InputError]) -> Iterator[Marked | InputError]:
    """The same texts, with an error in place of one whose `id` an earlier one has."""
    ids: set[int] = set()  # of hashes: ids may be long, and a corpus may have millions
    for text in marked:
        if isinstance(text, Marked) and text.id is not None:
            key = hash(repr(text.id))
            if key in ids:
                line, hint = f"id {brief(text.id)} occurs twice", "give every text an id of its own, or none"
                yield InputError(line, location=f"{text.file.name}:{text.line}", hint=hint)
                continue
            ids.add(key)
        yield text
