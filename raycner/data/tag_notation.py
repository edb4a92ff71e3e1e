"""Tag notation: how files write tags, and whether a column looks like tags of entities at all.

Detection accepts a scheme only where the tags look like it. Otherwise it raises one `InputError` that says what the
column looks like instead, and which setting reads it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal, NamedTuple, cast

from raycner.data.entities import OUTSIDE, Scheme, detect, split_tag
from raycner.data.sources import RawFile
from raycner.data.type_names import TypeNames, visible
from raycner.errors import InputError

WrittenScheme = Literal[
    "detect", "BIO", "IOB2", "BIOES", "IOBES", "BILOU", "BMES", "BMEWO", "IO", "IOB1", "IOE1", "IOE2"
]
_SAME: Mapping[WrittenScheme, Scheme] = {
    "IOB2": "BIO",
    "IOBES": "BIOES",
    "BILOU": "BIOES",
    "BMES": "BIOES",
    "BMEWO": "BIOES",
}
"""Other names of schemes; the tags of BMES are those of BIOES once M and W are I and S."""
OTHER_OUTSIDE = frozenset({"0", "_", "-", "*", ".", "o", "out", "outside", "other", "none", "null", "nil", "na", "n/a"})
"""Tags that some files write for a word in no entity, in lower case."""
PARTS_OF_SPEECH = frozenset(
    {
        *("CC", "CD", "DT", "EX", "FW", "IN", "JJ", "JJR", "JJS", "LS", "MD", "NN", "NNS", "NNP", "NNPS", "NP", "NPS"),
        *("PDT", "POS", "PRP", "PRP$", "RB", "RBR", "RBS", "RP", "SYM", "TO", "UH", "VB", "VBD", "VBG", "VBN", "VBP"),
        *("VBZ", "WDT", "WP", "WP$", "WRB"),
        *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "CONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT"),
        *("SCONJ", "VERB", "X"),
    }
)
"""Penn Treebank and Universal Dependencies."""
SAMPLE = 1000
"""Sentences whose words are looked at to tell words from tags."""
_PREFIXES = "BIESLUMW"
_PREFIXED = re.compile(f"[{_PREFIXES}]-.+")
_SUFFIXED = re.compile(f".+-[{_PREFIXES}]")
_SEVERAL = re.compile(f"[|,;+](?:O$|[{_PREFIXES}]-.)")


class Tagged(NamedTuple):
    """A sentence that a file encodes with tags."""

    file: RawFile
    lines: Sequence[int]
    """The line of each word."""
    words: tuple[str, ...]
    tags: Sequence[str]

    def location(self, word: int) -> str:
        return f"{self.file.name}:{self.lines[word]}"


@dataclass(frozen=True)
class Notation:
    """How the files of a corpus write tags."""

    scheme: WrittenScheme = "detect"
    outside: str = OUTSIDE
    affix: Literal["prefix", "suffix"] = "prefix"
    setting: str = "check the tags"
    """The hint for a reader of the wrong column."""

    def canonical(self, tag: str) -> str:
        """A tag as `split_tag` reads it: prefix, dash, type; BMES's M and W are I and S.

        >>> Notation("BIO", outside="_", affix="suffix").canonical("PER-B"), Notation("BMES").canonical("M-LOC")
        ('B-PER', 'I-LOC')
        """
        tag = visible(tag)
        if tag == self.outside:
            return OUTSIDE
        if self.affix == "suffix" and _SUFFIXED.fullmatch(tag):
            kind, _, prefix = tag.rpartition("-")
            tag = f"{prefix}-{kind}"
        if self.is_bmes and tag.startswith(("M-", "W-")):
            tag = {"M": "I", "W": "S"}[tag[0]] + tag[1:]
        return tag

    @property
    def is_bmes(self) -> bool:
        return self.scheme in ("BMES", "BMEWO")

    @property
    def tag_scheme(self) -> Scheme:
        """The scheme of canonical tags."""
        if self.scheme == "detect":
            raise ValueError("a scheme that is still to be detected")
        return _SAME.get(self.scheme) or cast(Scheme, self.scheme)


class CanonicalTags(dict[str, str]):
    """The canonical tag of each tag of the files, with one name for each type."""

    def __init__(self, notation: Notation) -> None:
        super().__init__()
        self._notation = notation
        self._types = TypeNames()

    def __missing__(self, written: str) -> str:
        tag = self._notation.canonical(written)
        prefix, kind = split_tag(tag)
        if kind and prefix != "?":
            tag = tag.removesuffix(kind) + self._types[kind]
        self[written] = tag
        return tag

    def notes(self) -> list[str]:
        """A line for each tag whose invisible characters were ignored, and for each type of several spellings."""
        trimmed = [(ascii(written), tag) for written, tag in self.items() if visible(written) != written]
        return [f"tag {written} is read as {tag}" for written, tag in sorted(trimmed)] + self._types.notes()


def detected(read: Callable[[], Iterable[Tagged]], notation: Notation) -> Notation:
    """The notation with the scheme that the tags are written in. `read` starts over at each call.

    Raises `InputError` where they do not look like the tags of any scheme.
    """
    survey = _Survey(notation)
    scheme: WrittenScheme = detect(survey.observe(read()))
    counts = survey.counts
    prefixed = [tag for tag in counts if split_tag(tag)[0] in ("B", "I", "E", "S")]
    bare = [tag for tag in counts if split_tag(tag)[0] == ""]
    unread = [tag for tag in counts if tag != OUTSIDE and tag not in prefixed]

    other = next((tag for tag in unread if tag.lower() in OTHER_OUTSIDE), None)
    if other is not None and OUTSIDE not in counts:
        value = f"'{other}'" if other.isalpha() else f"'\"{other}\"'"
        hint = f"set scenario.corpus.outside={value}, or {notation.setting}"
        raise survey.error(other, f"no tag is O, and {other!r} seems to stand for it", hint)
    if notation.affix == "prefix" and unread and not prefixed and all(map(_SUFFIXED.fullmatch, unread)):
        hint = "set scenario.corpus.affix=suffix, or scenario.corpus.scheme=IO if it is a type"
        raise survey.error(unread[0], f"tags end in their prefix, such as {unread[0]}", hint)
    if any(tag.startswith("M-") for tag in bare) and all(tag.startswith(("M-", "W-")) for tag in bare) and prefixed:
        return replace(notation, scheme="BMES")
    has_begin = any(split_tag(tag)[0] == "B" for tag in prefixed)
    if bare and prefixed and (not has_begin or len(bare) > len(prefixed)):
        line = f"{prefixed[0]!r} looks like a prefix and a type, where other tags are bare types such as {bare[0]!r}"
        raise survey.error(prefixed[0], line, f"rename the type {prefixed[0]!r}, or {notation.setting}")
    if bare and not prefixed:
        _require_types(survey, bare, read, notation)
    return replace(notation, scheme=scheme)


def refuse_several(tag: str, location: str) -> None:
    """Raise `InputError` for a tag that holds several, such as those of nested entities in one column."""
    if _SEVERAL.search(tag):
        hint = "keep one tag a word, or write nested entities as spans, such as jsonl"
        raise InputError(f"{tag!r} is several tags in one", location=location, hint=hint)


def _require_types(
    survey: "_Survey", bare: Sequence[str], read: Callable[[], Iterable[Tagged]], notation: Notation
) -> None:
    """Raise `InputError` unless bare tags look like types: most words have none, and types are names."""
    counts = survey.counts
    commonest = max(bare, key=lambda tag: counts[tag])
    anyway = "if these are types all the same, set scenario.corpus.scheme=IO"
    if counts[OUTSIDE] < counts[commonest]:
        if _words_look_like_tags(read()):
            hint = f"words and tags seem to be swapped: {notation.setting}"
            raise survey.error(bare[0], f"the words look like tags, and the tags like words ({bare[0]!r})", hint)
        parts_of_speech = [tag for tag in bare if tag.upper() in PARTS_OF_SPEECH]
        examples = ", ".join((parts_of_speech or sorted(bare, key=lambda tag: -counts[tag]))[:3])
        if len(parts_of_speech) > len(bare) / 2:
            line = f"tags look like parts of speech ({examples})"
        else:
            line = f"O is not the commonest tag, so these are not entity tags ({examples})"
        raise survey.error(commonest, line, f"{notation.setting}; {anyway}")
    for tag in bare:
        pieces = re.split("[|,;+]", tag)
        if len(pieces) > 1 and all(piece in counts for piece in pieces):
            raise survey.error(tag, f"{tag!r} is several types in one", "keep one type a word")
        if not any(character.isalpha() for character in tag) or "=" in tag or "://" in tag:
            raise survey.error(tag, f"tag {tag!r} is no name of a type", f"{notation.setting}; {anyway}")


def _words_look_like_tags(sentences: Iterable[Tagged]) -> bool:
    words = [word for sentence in islice(sentences, SAMPLE) for word in sentence.words]
    return 2 * sum(word == OUTSIDE or bool(_PREFIXED.fullmatch(word)) for word in words) > len(words)


class _Survey:
    """The tags of a corpus: how often each occurs, and where first."""

    def __init__(self, notation: Notation) -> None:
        self.counts: Counter[str] = Counter()
        self._canonical = CanonicalTags(notation)
        self._locations: dict[str, str] = {}

    def observe(self, sentences: Iterable[Tagged]) -> Iterator[list[str]]:
        """The canonical tags of each sentence with an entity; those of all sentences are counted."""
        for sentence in sentences:
            tags = [self._canonical[tag] for tag in sentence.tags]
            distinct = set(tags)
            for tag in distinct - self.counts.keys():
                self._locations[tag] = sentence.location(tags.index(tag))
            self.counts.update(tags)
            if distinct != {OUTSIDE}:
                yield tags

    def error(self, tag: str, what: str, hint: str) -> InputError:
        return InputError(what, location=self._locations[tag], hint=hint)
