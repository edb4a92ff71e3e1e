"""Words of plain text, and where they stand: text is cut in one way, for learning and for prediction alike.

A word is a run of characters between spaces; every ASCII symbol, every other punctuation mark of Unicode and every
ideograph in it is a word of its own. That is how BERT cuts text before it looks for pieces. A sentence ends with its
line, or after . ! ? where spaces and a capital follow and what stands before a full stop is no abbreviation, which is
to say has four letters or more; too few cuts do less harm than too many.
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
    """Where the words of a text stand, in order; all that is not in one is space.

    >>> spelt("Anna's dog.", words("Anna's dog."))
    ('Anna', "'", 's', 'dog', '.')
    """
    return [(run.start() + a, run.start() + b) for run in _RUN.finditer(text) for a, b in _parts(run[0])]


def sentences(text: str, whole: Iterable[Place] = ()) -> list[Place]:
    """Where the sentences of a text stand, in order; none ends inside a span of `whole`, or has no word."""
    kept = sorted(whole)
    bounds, reached, following = [0], 0, 0
    for end in _END.finditer(text):
        while following < len(kept) and kept[following][0] < end.end():
            reached, following = max(reached, kept[following][1]), following + 1
        if reached <= end.start():
            bounds += end.span()
    bounds.append(len(text))
    return [(a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=True) if text[a:b].strip()]


def spelt(text: str, places: Sequence[Place]) -> tuple[str, ...]:
    """What stands at these places."""
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
