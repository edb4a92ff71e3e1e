"""Layouts: how raw files spell sentences. Each turns files into rows, one at a time, and says what it had to decide.

To add a layout, write a generator of rows and register it:

>>> @layout("my_corpus", types=("city", "river"))
... def my_corpus(files, reading, notes):
...     for file in files:
...         for number, line in file.lines():
...             yield file.part, tuple(line.split()), ()
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from raycner.data import demo as generated
from raycner.data.entities import OUTSIDE, Entity, Scheme, belongs, breaches, decode, detect, flaw, split_tag
from raycner.data.sources import PARTS, Part, RawFile
from raycner.errors import Refusal


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
    as seqeval's default mode does, and drops spans that leave the sentence or overlap an earlier one."""
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
    """One sentence, as every layout says it: entities are flat, sorted and inside the sentence."""

    part: Part
    words: tuple[str, ...]
    entities: Sequence[Entity]


class Reader(Protocol):
    """Reads files (none, for a generated corpus) in order, and adds to `notes` what it decided."""

    def __call__(self, files: Sequence[RawFile], reading: ReadingConfig, notes: list[str], /) -> Iterator[Row]: ...


@dataclass(frozen=True)
class Layout:
    read: Reader
    types: tuple[str, ...] = ()
    """The learning order of a named corpus; alphabetical when empty."""
    has_files: bool = True


LAYOUTS: dict[str, Layout] = {}


def layout(name: str, *, types: tuple[str, ...] = (), has_files: bool = True) -> Callable[[Reader], Reader]:
    """Register a reader as the layout `name`."""

    def register(read: Reader) -> Reader:
        if name in LAYOUTS:
            raise TypeError(f"layout {name!r} is defined twice")
        LAYOUTS[name] = Layout(read, types, has_files)
        return read

    return register


@layout("columns")
def columns(files: Sequence[RawFile], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """CoNLL-style: a word a line, its tag in one column, a blank line between sentences, `-DOCSTART-` lines ignored.

    A line with tabs is split at tabs only, any other at ASCII spaces: a word may be a strange Unicode space.
    """
    yield from from_tags(lambda: _columns(files, reading), reading, notes)


@layout("jsonl")
def jsonl(files: Sequence[RawFile], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """One JSON object a line: `tokens` with `tags`, or `tokens` with `entities` of `start`, `end` (exclusive), `type`.

    An entity may also be a list `[start, end, type]`. Offsets count words. The first line decides between tags and
    entities for the whole corpus; other keys are ignored.
    """
    if "tags" in next(_objects(files)).said:
        yield from from_tags(lambda: map(_object_tags, _objects(files)), reading, notes)
    else:
        yield from from_spans(map(_object_spans, _objects(files)), reading, notes)


@layout("demo", has_files=False)
def demo(_: Sequence[RawFile], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """The generated corpus."""
    notes.append(f"generated from seed {reading.seed}")
    for part, number in zip(PARTS, (reading.sentences, reading.sentences // 4, reading.sentences // 4), strict=True):
        for words, entities in generated.sentences(part, number, reading.seed):
            yield Row(part, words, entities)


_CONLL2003 = {"LOC": "location", "MISC": "misc", "ORG": "organisation", "PER": "person"}


@layout("conll2003", types=tuple(_CONLL2003.values()))
def conll2003(files: Sequence[RawFile], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """CoNLL2003 in columns; the files' LOC, MISC, ORG and PER get the long names that benchmarks order types by."""
    names = _CONLL2003 | {name: name for name in _CONLL2003.values()}
    yield from from_tags(lambda: _columns(files, reading), reading, notes, names)


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
                remedy = "mend the file, or set reading.repair=lenient"
                raise Refusal(f"{wrong} (tags are {scheme})", where=sentence.where(word), remedy=remedy)
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
        wrong = flaw(sentence.spans, length)
        if wrong and reading.repair == "strict":
            remedy = "mend the file, or set reading.repair=lenient"
            raise Refusal(wrong, where=f"{sentence.file.name}:{sentence.line}", remedy=remedy)
        kept: list[Entity] = []
        for span in sorted(sentence.spans):
            if not flaw([*kept[-1:], span], length):
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
            remedy = (
                f"{scheme} writes {_SPELLING[scheme]}; if the file does not, set reading.scheme or reading.tag_column"
            )
            raise Refusal(f"tag {tag!r} is not {scheme}", where=sentence.where(word), remedy=remedy)
        kind = split_tag(tag)[1]
        if kind and names is not None and kind not in names:
            remedy = f"known: {', '.join(names)}; for other types use the layout columns"
            raise Refusal(f"type {kind!r} is not one of this corpus", where=sentence.where(word), remedy=remedy)


def _columns(files: Sequence[RawFile], reading: ReadingConfig) -> Iterator[Tagged]:
    for file in files:
        for block in _filled(_blocks(file), file):
            lines = [number for number, _ in block]
            width = len(block[0][1])
            token, tag = (column % width for column in _placed(reading, width, f"{file.name}:{lines[0]}"))
            words = tuple(cells[token] for _, cells in block)
            if "" in words:
                where = f"{file.name}:{lines[words.index('')]}"
                raise Refusal("a tag without a word", where=where, remedy="write the word or remove the line")
            yield Tagged(file, lines, words, [cells[tag].strip(" ") for _, cells in block])


def _placed(reading: ReadingConfig, width: int, where: str) -> tuple[int, int]:
    """The columns of word and tag, as they are configured, when a line of this width has both of them apart."""
    token, tag = reading.token_column, reading.tag_column
    if not (-width <= token < width and -width <= tag < width) or token % width == tag % width:
        found = f"{width} column{'s' * (width > 1)}, too few for a word in column {token} and a tag in column {tag}"
        remedy = "columns are parted by tabs or spaces; set reading.token_column and reading.tag_column"
        raise Refusal(found, where=where, remedy=remedy)
    return token, tag


def _blocks(file: RawFile) -> Iterator[list[tuple[int, list[str]]]]:
    """The sentences of a file of columns: each a list of numbered lines, split into cells."""
    block: list[tuple[int, list[str]]] = []
    width = 0
    for number, line in file.lines():
        if not line.strip(" \t") or line.startswith("-DOCSTART-"):
            if block:
                yield block
            block = []
            continue
        cells = line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))
        width = width or len(cells)
        if len(cells) != width:
            found = f"{len(cells)} columns where the lines above have {width}: {line!r}"
            raise Refusal(found, where=f"{file.name}:{number}", remedy="give every line the same columns")
        block.append((number, cells))
    if block:
        yield block


class _Object(NamedTuple):
    file: RawFile
    line: int
    said: dict[str, Any]

    def refusal(self, what: str, remedy: str) -> Refusal:
        return Refusal(what, where=f"{self.file.name}:{self.line}", remedy=remedy)

    def words(self) -> tuple[str, ...]:
        tokens = self.said.get("tokens")
        if not (isinstance(tokens, list) and tokens and all(isinstance(word, str) and word for word in tokens)):
            raise self.refusal(f"tokens are {_brief(tokens)}", 'write "tokens": a list of words, none of them empty')
        return tuple(tokens)


def _objects(files: Sequence[RawFile]) -> Iterator[_Object]:
    for file in files:
        numbered = ((number, line) for number, line in file.lines() if line.strip())
        for number, line in _filled(numbered, file):
            try:
                said = json.loads(line)
                if "\\u" in line:
                    json.dumps(said, ensure_ascii=False).encode()
            except json.JSONDecodeError as error:
                found = f"not JSON: {error.msg} at character {error.pos + 1}"
                raise Refusal(found, where=f"{file.name}:{number}", remedy="write one JSON object a line") from None
            except UnicodeEncodeError:
                found, remedy = "an escape names half a character", "write the character itself, in UTF-8"
                raise Refusal(found, where=f"{file.name}:{number}", remedy=remedy) from None
            if not isinstance(said, dict):
                remedy = "write one JSON object a line"
                raise Refusal(f"found {_brief(said)}", where=f"{file.name}:{number}", remedy=remedy)
            yield _Object(file, number, said)


def _object_tags(item: _Object) -> Tagged:
    words, tags = item.words(), item.said.get("tags")
    if not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        raise item.refusal(f"tags are {_brief(tags)}", 'write "tags": a list of texts, on every line of the corpus')
    if len(tags) != len(words):
        raise item.refusal(f"{len(words)} tokens but {len(tags)} tags", "give every token one tag")
    return Tagged(item.file, [item.line] * len(words), words, tags)


def _object_spans(item: _Object) -> Spanned:
    words, said = item.words(), item.said.get("entities")
    if not isinstance(said, list):
        raise item.refusal(f"entities are {_brief(said)}", 'write "tags" or "entities" beside "tokens" on every line')
    return Spanned(item.file, item.line, words, [_object_span(entity, item) for entity in said])


def _object_span(said: Any, item: _Object) -> Entity:
    if isinstance(said, dict):
        said = [said.get("start"), said.get("end"), said.get("type")]
    match said:
        case [int(start), int(end), str(kind)] if kind and bool not in (type(start), type(end)):
            return Entity(start, end, kind)
    raise item.refusal(f"entity is {_brief(said)}", 'write {"start": 0, "end": 2, "type": "person"}')


T = TypeVar("T")


def _filled(items: Iterable[T], file: RawFile) -> Iterator[T]:
    """The items of a file that must have some."""
    empty = True
    for item in items:
        empty = False
        yield item
    if empty:
        raise Refusal("no sentence in this file", where=file.name, remedy="fill it or take it away")


def _brief(said: Any) -> str:
    text = "missing" if said is None else json.dumps(said, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
