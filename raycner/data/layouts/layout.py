"""Layouts: how raw files encode annotated sentences. A layout owns its settings as fields, and notes what it decided.

One file per layout; a file in this folder registers itself. To add one, yield a row for each sentence:

    @LAYOUTS.register("my_corpus")
    class MyCorpus(FileLayout):
        \"\"\"A word a line; one that ends in a mark is a city.\"\"\"

        mark: str = "*"

        def rows(self, files, notes):
            for file in files:
                for _, line in file.lines():
                    yield Row(file.part, (line.rstrip(self.mark),), [Entity(0, 1, "city")] * line.endswith(self.mark))
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from raycner.addresses import shown
from raycner.data.entities import OUTSIDE, Entity, Scheme, belongs, breaches, decode, flaw, split_tag
from raycner.data.reading_errors import SentenceErrors
from raycner.data.sources import PARTS, LineEnds, Part, RawFile, find, named_parts
from raycner.data.tag_notation import CanonicalTags, Notation, Tagged, WrittenScheme, detected, refuse_several
from raycner.data.type_names import TypeNames
from raycner.errors import InputError
from raycner.hashing import Plain, not_hashed, omit_default_from_hash, plain
from raycner.registry import Registry
from raycner.settings import build, merge

LAYOUTS = Registry("layout", group="raycner.layouts")
Repair = Literal["strict", "lenient"]


class Row(NamedTuple):
    """One sentence: entities are sorted, inside the sentence, and flat unless nested ones are read."""

    part: Part
    words: tuple[str, ...]
    entities: Sequence[Entity]


@dataclass(frozen=True, kw_only=True)
class Layout(ABC):
    """How a corpus becomes sentences."""

    family: ClassVar[Registry] = LAYOUTS
    name: ClassVar[str]
    types: ClassVar[tuple[str, ...]] = ()
    """The learning order of a named corpus; alphabetical when empty."""
    is_trained_on: ClassVar[bool] = True
    """Whether it must have training sentences."""

    @property
    def source(self) -> str:
        """What errors and ledgers call the corpus."""
        return self.name

    @property
    def allows_overlap(self) -> bool:
        """Whether entities may overlap, which only some heads can predict."""
        return False

    @property
    def chosen(self) -> dict[str, Plain]:
        """The settings that are not at their default."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: plain(value) for name, (value, default) in values.items() if value != default}

    @abstractmethod
    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        """The sentences of files (none, for a generated corpus), in order; decisions are added to `notes`."""


@dataclass(frozen=True, kw_only=True)
class FileLayout(Layout):
    """A layout of files. Where a corpus has no dev or test file, a share of its training sentences is set aside."""

    path: str = not_hashed(default="")
    """A folder, a file, a pattern, or any URI that pyarrow.fs opens."""
    dev_share: float = 0.1
    """The share of the training sentences that becomes dev when there is no dev file."""
    test_share: float = 0.1
    """Likewise for test."""
    seed: int = 0
    """Draws the sentences that are set aside."""
    train: str | tuple[str, ...] = not_hashed(default="")
    """In place of `path`: the training files, each a file, a folder or a pattern."""
    dev: str | tuple[str, ...] = not_hashed(default="")
    """Likewise for dev."""
    test: str | tuple[str, ...] = not_hashed(default="")
    """Likewise for test."""

    def __post_init__(self) -> None:
        if not (0 < self.dev_share < 1 and 0 < self.test_share < 1 and self.dev_share + self.test_share < 1):
            shares = f"dev_share={self.dev_share} and test_share={self.test_share}"
            raise ValueError(f"{shares} must be above 0 and leave something to train on")
        check_seed(self.seed)

    @property
    def source(self) -> str:
        places = [f"{part}={','.join(map(shown, sources))}" for part, sources in self.parts.items()]
        return " ".join([self.name, *(places or [shown(self.path)])])

    @property
    def parts(self) -> dict[Part, tuple[str, ...]]:
        """The sources of the parts that are given by name."""
        given: dict[Part, str | tuple[str, ...]] = {"train": self.train, "dev": self.dev, "test": self.test}
        named = {part: (value,) if isinstance(value, str) else value for part, value in given.items()}
        return {part: sources for part, sources in named.items() if any(sources)}

    def files(self, notes: list[str]) -> list[RawFile]:
        """The files of the parts, or those at `path`, by part and then by name. Raises `InputError` if there are none.

        A part that is given by name has these files and no other.
        """
        parts = self.parts
        if parts and self.path:
            hint = f"set path, or {', '.join(parts)}; scenario.corpus.path='' takes it back"
            raise InputError("both the path and parts are set", location="scenario.corpus", hint=hint)
        if parts and "train" not in parts:
            hint = "set it to files, a folder or a pattern"
            raise InputError(f"{' and '.join(parts)} without training", location="scenario.corpus.train", hint=hint)
        if not (self.path or parts):
            hint = "set it to a file, a folder, a pattern or a URI"
            raise InputError(f"the layout {self.name} needs files", location="scenario.corpus.path", hint=hint)
        return self.decoded(self.named_files(notes) if parts else self.find(notes))

    def find(self, notes: list[str]) -> list[RawFile]:
        """How `path` becomes files."""
        return find(self.path, notes)

    def named_files(self, notes: list[str]) -> list[RawFile]:
        """How `train`, `dev` and `test` become files."""
        return named_parts(self.parts, notes)

    def decoded(self, files: Sequence[RawFile]) -> list[RawFile]:
        """The files as this layout decodes them."""
        return list(files)

    def fields(self, files: Sequence[RawFile]) -> str:  # noqa: ARG002
        """The columns or fields of words and labels that are read, for people; empty where nothing was chosen."""
        return ""


@dataclass(frozen=True, kw_only=True)
class TextFileLayout(FileLayout):
    """A layout of text files."""

    encoding: str = omit_default_from_hash("utf-8")
    """How bytes become characters: utf-8, utf-16, latin-1, cp1252, gb18030, or any other codec of Python."""
    line_ends: LineEnds = omit_default_from_hash("lf")
    """What ends a line: lf (or CRLF), or cr, a carriage return alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            "a".encode(self.encoding)
        except LookupError:
            raise ValueError(f"there is no encoding {self.encoding!r}; write utf-8, utf-16, latin-1, cp1252") from None

    def decoded(self, files: Sequence[RawFile]) -> list[RawFile]:
        setting = "scenario.corpus.encoding"
        return [
            replace(file, encoding=self.encoding, encoding_setting=setting, line_ends=self.line_ends) for file in files
        ]


@dataclass(frozen=True, kw_only=True)
class RepairLayout(FileLayout):
    """A layout whose annotations may contradict themselves."""

    repair: Repair = "strict"
    """Tags or spans that contradict themselves: strict refuses them, lenient repairs and counts them. Lenient reads
    tags as seqeval's default mode does, widens entities that cut a word to whole words, and drops spans that leave the
    sentence or overlap an earlier one."""


@dataclass(frozen=True, kw_only=True)
class TagLayout(RepairLayout):
    """A layout of tags."""

    scheme: WrittenScheme = "detect"
    """How tags encode entities; `detect` infers it from all tags of the corpus and notes the result, or refuses tags
    that look like none. BIOES, IOBES and BILOU are one scheme, so are BMES and BMEWO, and BIO and IOB2. IOE2 ends every
    entity with E-, IOE1 only an entity before a neighbour of its type."""
    outside: str = omit_default_from_hash(OUTSIDE)
    """The tag of a word in no entity."""
    affix: Literal["prefix", "suffix"] = omit_default_from_hash("prefix")
    """Where a tag has its B or I: prefix as in B-PER, suffix as in PER-B."""

    @property
    def notation(self) -> Notation:
        """How the files write tags."""
        return Notation(self.scheme, self.outside, self.affix, self.tag_hint)

    @property
    def tag_hint(self) -> str:
        """What a reader of the wrong tags can set."""
        return 'check "tags"'


@dataclass(frozen=True, kw_only=True)
class SpanLayout(RepairLayout):
    """A layout of spans."""

    nested: bool = False
    """Whether entities may overlap: spans are then read as they are, for heads that can predict them."""

    @property
    def allows_overlap(self) -> bool:
        return self.nested


@dataclass(frozen=True, kw_only=True)
class WordLayout(TagLayout, SpanLayout):
    """A layout of words with either tags or spans."""

    tag_names: tuple[str, ...] = omit_default_from_hash(())
    """The tags that numbers stand for, from 0, such as [O, B-PER, I-PER], where a file has numbers without names."""


def build_layout(settings: Mapping[str, Plain], location: str) -> Layout:
    """The layout of plain settings. Raises `InputError` with a name below `location`."""
    return build(Layout, settings, location)  # type: ignore[type-abstract]


def check_seed(seed: int) -> None:
    """Raise ValueError for what numpy's RandomState does not take."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed} must be from 0 to 2**32 - 1")


class Spanned(NamedTuple):
    """A sentence that a file encodes with spans."""

    file: RawFile
    line: int
    words: tuple[str, ...]
    spans: list[Entity]


def from_tags(
    read: Callable[[], Iterable[Tagged | InputError]],
    notes: list[str],
    *,
    notation: Notation,
    repair: Repair,
    names: Mapping[str, str] | None = None,
) -> Iterator[Row]:
    """Rows from tags. `read` starts over at each call: once to detect the scheme, once for the rows. It yields an
    `InputError` in place of a sentence that it cannot read.

    `names` maps every type that the files may have to its name in the corpus.
    """
    if notation.scheme == "detect":
        notation = _detected(read, notation, repair)
        notes.append(f"tags read as {notation.scheme} (detected)")
    errors, canonical = SentenceErrors(repair), CanonicalTags(notation)
    scheme, checked = notation.tag_scheme, {OUTSIDE}
    repaired = 0
    unread: list[str] = []
    for sentence in errors.readable(read()):
        tags = [canonical[tag] for tag in sentence.tags]
        distinct = set(tags)
        if not distinct <= checked:
            unknown = list(_unknown(sentence, tags, scheme, names, notation))
            if repair == "strict":
                for _, error in unknown:
                    errors.add(error)
            for word, error in unknown:
                tags[word] = OUTSIDE
                unread.append(error.location)
            distinct = set(tags)
            checked |= distinct
        if distinct == {OUTSIDE}:
            yield Row(sentence.file.part, sentence.words, ())
            continue
        for word, breach in breaches(tags, scheme):
            if repair == "strict":
                what = f"{breach} (tags are {notation.scheme})"
                errors.add(InputError(what, location=sentence.location(word), hint=REPAIR_HINT))
            repaired += 1
        entities = decode(tags)
        if names is not None:
            entities = [Entity(entity.start, entity.end, names[entity.type]) for entity in entities]
        yield Row(sentence.file.part, sentence.words, entities)
    notes += [*canonical.notes(), *errors.notes()]
    if repaired:
        notes.append(f"{repaired} tags that broke {notation.scheme} were repaired")
    if unread:
        notes.append(f"{len(unread)} tags that are not {notation.scheme} were read as O, the first at {unread[0]}")


def _detected(read: Callable[[], Iterable[Tagged | InputError]], notation: Notation, repair: Repair) -> Notation:
    """The notation with its scheme. Raises the errors of sentences rather than that of a scheme."""
    errors = SentenceErrors(repair)
    try:
        return detected(lambda: errors.readable(read()), notation)
    except InputError:
        errors.end_file()
        raise


def from_spans(
    read: Iterable[Spanned | InputError], notes: list[str], *, repair: Repair, nested: bool
) -> Iterator[Row]:
    """Rows from spans. `read` yields an `InputError` in place of a sentence that it cannot read."""
    errors, names = SentenceErrors(repair), TypeNames()
    dropped = 0
    for sentence in errors.readable(read):
        location = f"{sentence.file.name}:{sentence.line}"
        spans = [Entity(span.start, span.end, names[span.type]) for span in sentence.spans]
        if not all(span.type for span in spans):
            errors.add(InputError("a type without a visible character", location=location, hint="name the type"))
            continue
        length = len(sentence.words)
        contradiction = flaw(spans, length, nested=nested)
        if contradiction and repair == "strict":
            errors.add(InputError(contradiction, location=location, hint=REPAIR_HINT))
        entities: list[Entity] = []
        for span in sorted(spans):
            if not flaw([*entities[-1:], span], length, nested=nested):
                entities.append(span)
        dropped += len(spans) - len(entities)
        yield Row(sentence.file.part, sentence.words, entities)
    notes += [*names.notes(), *errors.notes()]
    if dropped:
        notes.append(f"{dropped} spans that left their sentence or overlapped an earlier one were dropped")


REPAIR_HINT = "fix the file, or set scenario.corpus.repair=lenient"
_SPELLING = {
    "BIO": "O, B-TYPE, I-TYPE",
    "BIOES": "O, B-TYPE, I-TYPE, E-TYPE, S-TYPE",
    "BMES": "O, B-TYPE, M-TYPE, E-TYPE, S-TYPE or W-TYPE",
    "IO": "O, I-TYPE or a bare TYPE",
    "IOB1": "O, I-TYPE, B-TYPE",
    "IOE1": "O, I-TYPE, E-TYPE",
    "IOE2": "O, I-TYPE, E-TYPE",
}


def _unknown(
    sentence: Tagged, tags: Sequence[str], scheme: Scheme, names: Mapping[str, str] | None, notation: Notation
) -> Iterator[tuple[int, InputError]]:
    """The words whose tag is none of the scheme, with the error. Raises `InputError` for several tags in one."""
    for word, tag in enumerate(tags):
        if tag == OUTSIDE:
            continue
        location = sentence.location(word)
        refuse_several(tag, location)
        if not belongs(tag, scheme):
            written = "BMES" if notation.is_bmes else scheme
            settings = f"set scenario.corpus.scheme or {notation.setting}"
            hint = f"{written} writes {_SPELLING[written]}; if the file does not, {settings}"
            yield word, InputError(f"tag {sentence.tags[word]!r} is not {written}", location=location, hint=hint)
        elif names is not None and split_tag(tag)[1] not in names:
            hint = f"known: {', '.join(names)}; for other types use the layout columns"
            what = f"type {split_tag(tag)[1]!r} is not one of this corpus"
            yield word, InputError(what, location=location, hint=hint)


T = TypeVar("T")


def layout_over(base: Layout, settings: Mapping[str, Plain], location: str) -> Layout:
    """A layout with other settings laid over it: a path takes the place of parts, and the reverse."""
    below = plain(base)
    if "path" in settings:
        below = {key: value for key, value in below.items() if key not in PARTS}
    elif settings.keys() & set(PARTS):
        below = {key: value for key, value in below.items() if key not in (*PARTS, "path")}
    return build_layout(merge(below, settings), location)


def filled(items: Iterable[T], file: RawFile) -> Iterator[T]:
    """The items of a file that must have some."""
    empty = True
    for item in items:
        empty = False
        yield item
    if empty:
        raise InputError("no sentence in this file", location=file.name, hint="fill it or remove it")


Item = TypeVar("Item")


def tried(read: Callable[[Item], T], items: Iterable[Item | InputError]) -> Iterator[T | InputError]:
    """What `read` makes of each item, and the error in place of one that it refuses."""
    for item in items:
        try:
            yield item if isinstance(item, InputError) else read(item)
        except InputError as error:
            yield error


def span(value: Any) -> Entity | None:
    """The entity of `{"start": 0, "end": 2, "type": "person"}` or `[0, 2, "person"]`; None if it is neither."""
    if isinstance(value, dict):
        value = [value.get("start"), value.get("end"), value.get("type")]
    match value:
        case [int(start), int(end), str(kind)] if kind and bool not in (type(start), type(end)):
            return Entity(start, end, kind)
    return None


def named(tags: Sequence[Any], names: Sequence[str], location: str) -> list[str]:
    """The tags that numbers stand for. Raises `InputError` for a number without a name, and for what is no number."""
    if not all(type(tag) is int and 0 <= tag < len(names) for tag in tags):
        hint = "set scenario.corpus.tag_names to all tags in order, such as [O,B-PER,I-PER], or write tags as text"
        raise InputError(f"tags are numbers without names: {brief(tags)}", location=location, hint=hint)
    return [names[tag] for tag in tags]


def brief(value: Any) -> str:
    """A value from a file, shortened to fit an error message."""
    text = "missing" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
