"""Words of plain text, and their places: text is split in one way, for training and for prediction.

A word is a run of characters between spaces; every ASCII symbol, every other punctuation mark of Unicode and every
ideograph in it is a word of its own. This is how BERT splits text before it looks for pieces. A sentence ends with its
line, or after . ! ? where spaces and a capital follow; the word before a full stop must have four letters or more, as
a shorter one may be an abbreviation. Too few splits do less harm than too many.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

Place = tuple[int, int]
"""The first character, and the one after the last."""

_RUN = re.compile(r"\S+")
_CAPITAL = r"[\"'\u201c\u2018\u00ab(\[]?[A-Z\u00c0-\u00d6\u00d8-\u00de\u0391-\u03a9\u0410-\u042f]"
_END = re.compile(
    r"[\n\r\v\f\u0085\u2028\u2029]\s*"  # of a line
    rf"|(?:(?<=\w{{4}}\.)|(?<=[!?]))\s+(?={_CAPITAL})"
    r"|(?<=[\u3002\uff01\uff1f])\s*"  # of a Chinese or Japanese sentence
)


def words(text: str) -> list[Place]:
    """The places of the words of a text, in order; everything else is space.

    >>> spelt("Anna's dog.", words("Anna's dog."))
    ('Anna', "'", 's', 'dog', '.')
    """
    return [(run.start() + a, run.start() + b) for run in _RUN.finditer(text) for a, b in _parts(run[0])]


def sentences(text: str, whole: Iterable[Place] = ()) -> list[Place]:
    """The places of the sentences of a text, in order. None ends inside a span of `whole`, and each has a word."""
    spans = sorted(whole)
    bounds, reached, following = [0], 0, 0
    for end in _END.finditer(text):
        while following < len(spans) and spans[following][0] < end.end():
            reached, following = max(reached, spans[following][1]), following + 1
        if reached <= end.start():
            bounds += end.span()
    bounds.append(len(text))
    return [(a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=True) if text[a:b].strip()]


def spelt(text: str, places: Sequence[Place]) -> tuple[str, ...]:
    """The text at these places."""
    return tuple(text[a:b] for a, b in places)


@lru_cache(maxsize=1 << 16)
def _parts(run: str) -> tuple[Place, ...]:
    if run.isascii() and run.isalnum():
        return ((0, len(run)),)
    parts: list[Place] = []
    together = False
    for i, char in enumerate(run):
        alone = _is_alone(char)
        if alone or not together:
            parts.append((i, i + 1))
        else:
            parts[-1] = (parts[-1][0], i + 1)
        together = not alone
    return tuple(parts)


@lru_cache(maxsize=1 << 12)
def _is_alone(char: str) -> bool:
    if char.isascii():
        return not char.isalnum()
    ideograph = unicodedata.name(char, "").startswith("CJK") and unicodedata.category(char) == "Lo"
    return ideograph or unicodedata.category(char).startswith("P")
