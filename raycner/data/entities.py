"""Entities, sentences, type inventories, and the tag schemes that encode entities."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Literal

from raycner.errors import InputError

Scheme = Literal["BIO", "BIOES", "IO", "IOB1", "IOE1", "IOE2"]
"""How tags encode entities. IOB1 writes B- only between adjacent entities of one type; IO cannot separate those. IOE1
writes E- only at the end of an entity before such a neighbour, IOE2 at the end of each."""
OUTSIDE = "O"


@dataclass(frozen=True, slots=True, order=True)
class Entity:
    """A named entity: word offsets, end exclusive, and its type."""

    start: int
    end: int
    type: str

    def overlaps(self, other: "Entity") -> bool:
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as a split shows it, without the annotations that the split hides."""

    id: int
    """Row in its corpus partition: the key of every column a method adds."""
    words: tuple[str, ...]
    entities: frozenset[Entity]
    """Gold, already restricted to the split's visible types."""
    pseudo: frozenset[Entity] = frozenset()
    """Predicted by the teacher; separate from gold until a head encodes both."""
    open: frozenset[str] = frozenset()
    """Types that words outside every gold entity may have: only some of their entities are annotated."""

    def outside(self, types: Collection[str]) -> list[int]:
        """The indices of the words that are in no gold entity of these types."""
        inside = {i for entity in self.entities if entity.type in types for i in range(entity.start, entity.end)}
        return [i for i in range(len(self.words)) if i not in inside]

    def without(self, types: Collection[str]) -> "Sentence":
        """The sentence without the words of its gold entities of these types, and without what overlaps them.

        >>> sentence = Sentence(0, ("Ada", "left", "Oslo"), frozenset({Entity(0, 1, "person"), Entity(2, 3, "city")}))
        >>> shorter = sentence.without({"person"})
        >>> shorter.words, shorter.entities
        (('left', 'Oslo'), frozenset({Entity(start=1, end=2, type='city')}))
        """
        remaining = self.outside(types)
        place = {i: new for new, i in enumerate(remaining)}
        entities = frozenset(
            Entity(place[entity.start], place[entity.end - 1] + 1, entity.type)
            for entity in self.entities
            if all(i in place for i in range(entity.start, entity.end))
        )
        return Sentence(self.id, tuple(self.words[i] for i in remaining), entities, open=self.open)

    def labelled(self) -> list[Entity]:
        """Gold entities, and the teacher's that overlap no gold one, in reading order."""
        pseudo = [e for e in self.pseudo if not any(e.overlaps(gold) for gold in self.entities)]
        return sorted([*self.entities, *pseudo])


@dataclass(frozen=True, slots=True)
class TypeInventory:
    """The types learned so far, in order: append-only, never reordered."""

    types: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    """sizes[k] = how many types step k brought."""

    def __post_init__(self) -> None:
        if sum(self.sizes) != len(self.types) or min(self.sizes, default=0) < 0:
            raise ValueError(f"sizes {self.sizes} do not add up to the {len(self.types)} types")
        repeated = [name for name, times in Counter(self.types).items() if times > 1]
        if repeated:
            raise InputError(f"type {repeated[0]!r} is learned twice", hint="name each type in one step only")

    def grow(self, new: Sequence[str]) -> "TypeInventory":
        """The inventory after one more step, which brings the types `new`.

        >>> grown = TypeInventory().grow(["person"]).grow(["place", "product"])
        >>> grown.old, grown.new
        (('person',), ('place', 'product'))
        """
        return TypeInventory((*self.types, *new), (*self.sizes, len(new)))

    def __len__(self) -> int:
        return len(self.types)

    @property
    def num_old(self) -> int:
        return len(self.types) - (self.sizes[-1] if self.sizes else 0)

    @property
    def old(self) -> tuple[str, ...]:
        return self.types[: self.num_old]

    @property
    def new(self) -> tuple[str, ...]:
        return self.types[self.num_old :]

    def block(self, step: int) -> tuple[str, ...]:
        """The types that step `step` brought."""
        ends = list(accumulate(self.sizes, initial=0))
        return self.types[ends[step] : ends[step + 1]]


def encode(entities: Iterable[Entity], length: int, scheme: Scheme = "BIO") -> list[str]:
    """Encode flat entities as one tag a word. IO merges adjacent entities of one type.

    >>> encode([Entity(0, 1, "person"), Entity(2, 4, "place")], length=4)
    ['B-person', 'O', 'B-place', 'I-place']
    """
    tags = [OUTSIDE] * length
    for entity in sorted(entities):
        first, last = entity.start, entity.end - 1
        prefixes = ["I"] * (entity.end - entity.start)
        if scheme == "BIO":
            prefixes[0] = "B"
        elif scheme == "BIOES":
            prefixes[0], prefixes[-1] = ("S", "S") if first == last else ("B", "E")
        elif scheme == "IOB1" and first > 0 and split_tag(tags[first - 1])[1] == entity.type:
            prefixes[0] = "B"
        elif scheme == "IOE1" and first > 0 and split_tag(tags[first - 1])[1] == entity.type:
            tags[first - 1] = f"E-{entity.type}"
        elif scheme == "IOE2":
            prefixes[-1] = "E"
        tags[entity.start : entity.end] = [f"{prefix}-{entity.type}" for prefix in prefixes]
    return tags


def decode(tags: Sequence[str]) -> list[Entity]:
    """Read entities from tags of any scheme, leniently: what cannot continue an entity begins a new one.

    This is how seqeval's default mode reads tags: I-x (or E-x) after O or after another type opens an entity.

    >>> decode(["B-person", "O", "I-place", "I-place"])
    [Entity(start=0, end=1, type='person'), Entity(start=2, end=4, type='place')]
    """
    entities: list[Entity] = []
    start, kind_before, previous = 0, "", OUTSIDE
    for i, tag in enumerate([*tags, OUTSIDE]):
        if tag == OUTSIDE == previous:
            continue
        prefix, kind = split_tag(tag)
        opens = prefix in ("B", "S") or kind != kind_before or previous in ("E", "S")
        if kind_before and opens:
            entities.append(Entity(start, i, kind_before))
        if kind and opens:
            start = i
        kind_before, previous = kind, prefix
    return entities


def breaches(tags: Sequence[str], scheme: Scheme) -> Iterator[tuple[int, str]]:
    """Where tags of a scheme's own kinds stand in an order it forbids: (word, what is wrong there).

    Only BIO, BIOES and IOE2 forbid any order; `belongs` says whether a tag is one of the scheme at all.
    """
    if scheme == "IOE2":
        yield from _unended(tags)
    if scheme not in ("BIO", "BIOES"):
        return
    previous, kind_before = OUTSIDE, ""
    for i, tag in enumerate([*tags, OUTSIDE]):
        if tag == OUTSIDE == previous:
            continue
        prefix, kind = split_tag(tag)
        open_kind = kind_before if scheme == "BIO" or previous in ("B", "I") else ""
        if prefix in ("I", "E"):
            if kind != open_kind:
                yield i, f"{tag} without a B-{kind} before it"
        elif open_kind and scheme == "BIOES":
            yield i - 1, f"{tags[i - 1]} without an E-{open_kind} after it"
        previous, kind_before = prefix, kind


def _unended(tags: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Where an entity of IOE2 lacks its E-."""
    for i, (tag, following) in enumerate(pairwise([*tags, OUTSIDE])):
        (prefix, kind), (_, next_kind) = split_tag(tag), split_tag(following)
        if prefix == "I" and next_kind != kind:
            yield i, f"{tag} without an E-{kind} after it"


def belongs(tag: str, scheme: Scheme) -> bool:
    """Whether a scheme has tags of this kind."""
    return split_tag(tag)[0] in _KINDS[scheme]


def detect(sentences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme that a corpus is written in, from its tags.

    Only I- (or bare types): IO. I- and E- alone: IOE1 where each E- has a neighbour of its type, else IOE2. S- or E-
    (L-, U-): BIOES. B- that always parts neighbours of one type, with some I- opening an entity: IOB1. Anything else:
    BIO, whose breaches strict reading then reports.
    """
    prefixes: set[str] = set()
    opened_by_i, parts_only, ends_before_neighbour = False, True, True
    for tags in sentences:
        previous, kind_before = OUTSIDE, ""
        for tag in tags:
            if tag == OUTSIDE == previous:
                continue
            prefix, kind = split_tag(tag)
            prefixes.add(prefix)
            opened_by_i |= prefix == "I" and (previous == OUTSIDE or kind != kind_before)
            parts_only &= prefix != "B" or (previous != OUTSIDE and kind == kind_before)
            ends_before_neighbour &= previous != "E" or (prefix != OUTSIDE and kind == kind_before)
            previous, kind_before = prefix, kind
        ends_before_neighbour &= previous != "E"
    if {"I", "E"} <= prefixes <= {OUTSIDE, "I", "E"}:
        return "IOE1" if ends_before_neighbour else "IOE2"
    if prefixes & {"E", "S"}:
        return "BIOES"
    if "B" not in prefixes:
        return "IO"
    return "IOB1" if opened_by_i and parts_only else "BIO"


_PREFIXES = {"B": "B", "I": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
_KINDS: dict[Scheme, frozenset[str]] = {
    "BIO": frozenset({OUTSIDE, "B", "I"}),
    "IOB1": frozenset({OUTSIDE, "B", "I"}),
    "IOE1": frozenset({OUTSIDE, "I", "E"}),
    "IOE2": frozenset({OUTSIDE, "I", "E"}),
    "IO": frozenset({OUTSIDE, "I", ""}),
    "BIOES": frozenset({OUTSIDE, "B", "I", "E", "S"}),
}
_MISSPELT = re.compile(r"|[BIOESLU]([-_:/.].*)?", re.IGNORECASE | re.DOTALL)


@lru_cache(maxsize=4096)
def split_tag(tag: str) -> tuple[str, str]:
    """A tag's prefix and type. BILOU's L and U are E and S.

    A bare type ("person-actor", as Few-NERD writes it) has the prefix "" and reads like I; what looks like a prefix
    that lost its type or its dash ("B", "B-", "b_PER", an empty tag) has the prefix "?", which is no scheme's.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    head, dash, kind = tag.partition("-")
    if dash and kind and head in _PREFIXES:
        return _PREFIXES[head], kind
    return "?" if _MISSPELT.fullmatch(tag) else "", tag


def flaw(entities: Sequence[Entity], length: int, *, nested: bool = False) -> str:
    """Why these spans cannot be the entities of a sentence of `length` words; empty when they can.

    Flat entities share no word; nested ones may, but none occurs twice.
    """
    for entity in entities:
        if not 0 <= entity.start < entity.end <= length:
            return f"span {entity.start}..{entity.end} ({entity.type}) lies outside the sentence's {length} words"
    ordered = sorted(entities)
    for one, two in pairwise(ordered):
        if one == two if nested else one.overlaps(two):
            spans = f"{one.start}..{one.end} ({one.type}) and {two.start}..{two.end} ({two.type})"
            return f"spans {spans} overlap"
    return ""
