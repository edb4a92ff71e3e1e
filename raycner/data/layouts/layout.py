"""Layouts: how raw files spell sentences. Each turns files into rows, one at a time, and says what it had to decide.

One file a layout; dropping a file here registers it. To add a layout, write a generator of rows and register it:

    @layout("my_corpus", types=("city", "river"))
    def my_corpus(files, reading, notes):
        for file in files:
            for number, line in file.lines():
                yield file.part, tuple(line.split()), ()
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from raycner.data.entities import OUTSIDE, Entity, Scheme, belongs, breaches, decode, detect, flaw, split_tag
from raycner.data.sources import Part, RawFile, find
from raycner.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ReadingConfig:
    """How raw files are read."""

    scheme: Literal["detect", "BIO", "BIOES", "IO", "IOB1"] = "detect"
    """How tags spell entities; `detect` tells it from all tags of the corpus and notes what it found."""
    token_column: int = 0
    """Where the word stands in a line of columns; negative counts from the end."""
    tag_column: int = -1
    """Where the tag stands."""
    repair: Literal["strict", "lenient"] = "strict"
    """Tags or spans that contradict themselves: strict refuses them, lenient mends and counts them. Lenient reads tags
    as seqeval's default mode does, widens entities that cut a word to whole words, and drops spans that leave the
    sentence or overlap an earlier one."""
    nested: bool = False
    """Whether entities may overlap: spans (jsonl, conll2012) are then read as they are, for heads that can say them."""
    grain: Literal["fine", "coarse"] = "fine"
    """Which types of Few-NERD are read: 66 such as person-actor, or the 8 before the dash."""
    dev_share: float = 0.1
    """The share of the training sentences that becomes dev when the source has no dev file."""
    test_share: float = 0.1
    """Likewise for test."""
    seed: int = 0
    """Decides which sentences are carved, and what the generated corpus says."""
    sentences: int = 2000
    """How many training sentences the generated corpus has; dev and test have a quarter of that each."""

    def __post_init__(self) -> None:
        if not (0 < self.dev_share < 1 and 0 < self.test_share < 1 and self.dev_share + self.test_share < 1):
            shares = f"dev_share={self.dev_share} and test_share={self.test_share}"
            raise ValueError(f"{shares} must be above 0 and leave something to train on")
        if self.token_column == self.tag_column:
            raise ValueError(f"token_column and tag_column are both {self.tag_column}: a word is not its own tag")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed={self.seed} must be from 0 to 2**32 - 1")
        if self.sentences < 4:
            raise ValueError(f"sentences={self.sentences} must be at least 4")


class Row(NamedTuple):
    """One sentence, as every layout says it: entities are sorted, inside it, and flat unless read as nested."""

    part: Part
    words: tuple[str, ...]
    entities: Sequence[Entity]


class Reader(Protocol):
    """Reads files (none, for a generated corpus) in order, and adds to `notes` what it decided."""

    def __call__(self, files: Sequence[RawFile], reading: ReadingConfig, notes: list[str], /) -> Iterator[Row]: ...


Find = Callable[[str, list[str]], list[RawFile]]


@dataclass(frozen=True)
class Layout:
    read: Reader
    types: tuple[str, ...] = ()
    """The learning order of a named corpus; alphabetical when empty."""
    has_files: bool = True
    find: Find = find
    """How a source becomes files."""


LAYOUTS: dict[str, Layout] = {}


def layout(
    name: str, *, types: tuple[str, ...] = (), has_files: bool = True, find: Find = find
) -> Callable[[Reader], Reader]:
    """Register a reader as the layout `name`."""

    def register(read: Reader) -> Reader:
        if name in LAYOUTS:
            raise TypeError(f"layout {name!r} is defined twice")
        LAYOUTS[name] = Layout(read, types, has_files, find)
        return read

    return register


class Tagged(NamedTuple):
    """A sentence that a file spells with tags."""

    file: RawFile
    lines: Sequence[int]
    """The line of each word."""
    words: tuple[str, ...]
    tags: Sequence[str]

    def where(self, word: int) -> str:
        return f"{self.file.name}:{self.lines[word]}"


class Spanned(NamedTuple):
    """A sentence that a file spells with spans."""

    file: RawFile
    line: int
    words: tuple[str, ...]
    spans: list[Entity]


def from_tags(
    read: Callable[[], Iterable[Tagged]],
    reading: ReadingConfig,
    notes: list[str],
    names: Mapping[str, str] | None = None,
) -> Iterator[Row]:
    """Rows from tags. `read` starts over at each call: once to detect the scheme, once for the rows.

    `names` maps every type that the files may name to the name it gets here.
    """
    scheme: Scheme
    if reading.scheme == "detect":
        scheme = detect(sentence.tags for sentence in read())
        notes.append(f"tags read as {scheme} (detected)")
    else:
        scheme = reading.scheme
    mended = 0
    for sentence in read():
        if set(sentence.tags) == {OUTSIDE}:
            yield Row(sentence.file.part, sentence.words, ())
            continue
        _refuse_unknown(sentence, scheme, names)
        for word, wrong in breaches(sentence.tags, scheme):
            if reading.repair == "strict":
                hint = "mend the file, or set reading.repair=lenient"
                raise InputError(f"{wrong} (tags are {scheme})", location=sentence.where(word), hint=hint)
            mended += 1
        entities = decode(sentence.tags)
        if names is not None:
            entities = [Entity(entity.start, entity.end, names[entity.type]) for entity in entities]
        yield Row(sentence.file.part, sentence.words, entities)
    if mended:
        notes.append(f"{mended} tags that broke {scheme} were mended")


def from_spans(read: Iterable[Spanned], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """Rows from spans."""
    dropped = 0
    for sentence in read:
        length = len(sentence.words)
        wrong = flaw(sentence.spans, length, nested=reading.nested)
        if wrong and reading.repair == "strict":
            hint = "mend the file, or set reading.repair=lenient"
            raise InputError(wrong, location=f"{sentence.file.name}:{sentence.line}", hint=hint)
        kept: list[Entity] = []
        for span in sorted(sentence.spans):
            if not flaw([*kept[-1:], span], length, nested=reading.nested):
                kept.append(span)
        dropped += len(sentence.spans) - len(kept)
        yield Row(sentence.file.part, sentence.words, kept)
    if dropped:
        notes.append(f"{dropped} spans that left their sentence or overlapped an earlier one were dropped")


_SPELLING = {
    "BIO": "O, B-TYPE, I-TYPE",
    "IOB1": "O, I-TYPE, B-TYPE",
    "BIOES": "O, B-TYPE, I-TYPE, E-TYPE, S-TYPE",
    "IO": "O, I-TYPE or a bare TYPE",
}


def _refuse_unknown(sentence: Tagged, scheme: Scheme, names: Mapping[str, str] | None) -> None:
    for word, tag in enumerate(sentence.tags):
        if not belongs(tag, scheme):
            hint = (
                f"{scheme} writes {_SPELLING[scheme]}; if the file does not, set reading.scheme or reading.tag_column"
            )
            raise InputError(f"tag {tag!r} is not {scheme}", location=sentence.where(word), hint=hint)
        kind = split_tag(tag)[1]
        if kind and names is not None and kind not in names:
            hint = f"known: {', '.join(names)}; for other types use the layout columns"
            raise InputError(f"type {kind!r} is not one of this corpus", location=sentence.where(word), hint=hint)


T = TypeVar("T")


def filled(items: Iterable[T], file: RawFile) -> Iterator[T]:
    """The items of a file that must have some."""
    empty = True
    for item in items:
        empty = False
        yield item
    if empty:
        raise InputError("no sentence in this file", location=file.name, hint="fill it or take it away")


def span(said: Any) -> Entity | None:
    """The entity that `{"start": 0, "end": 2, "type": "person"}` or `[0, 2, "person"]` says; None if it says none."""
    if isinstance(said, dict):
        said = [said.get("start"), said.get("end"), said.get("type")]
    match said:
        case [int(start), int(end), str(kind)] if kind and bool not in (type(start), type(end)):
            return Entity(start, end, kind)
    return None


def brief(said: Any) -> str:
    """What a file says, as far as one line has room for it."""
    text = "missing" if said is None else json.dumps(said, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
