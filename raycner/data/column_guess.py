"""Which columns of a file look like words and like tags: what the hint of a wrong column suggests."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from raycner.data.entities import OUTSIDE, split_tag
from raycner.data.tag_notation import OTHER_OUTSIDE


class GuessedColumns(NamedTuple):
    """Columns, from 0."""

    token: int
    tag: int


def guess_columns(sentences: Iterable[Sequence[Sequence[str]]]) -> GuessedColumns | None:
    """The columns of words and tags in sentences that are given column by column; None where no column has tags.

    Of several columns with tags it is the last one, of several with words the first.
    """
    columns: list[list[str]] = []
    numbered: list[bool] = []
    for sentence in sentences:
        if not columns:
            columns, numbered = [[] for _ in sentence], [True] * len(sentence)
        for place, cells in enumerate(sentence):
            columns[place] += cells
            numbered[place] &= are_numbers(cells)
    tags = [place for place, cells in enumerate(columns) if are_tags(cells)]
    words = [place for place in range(len(columns)) if place not in tags and not numbered[place]]
    return GuessedColumns(words[0], tags[-1]) if words and tags else None


def are_numbers(words: Sequence[str]) -> bool:
    """Whether words are the numbers of a sentence's lines, from 0 or 1."""
    first = words[0]
    return first in ("0", "1") and tuple(words) == tuple(map(str, range(int(first), int(first) + len(words))))


def are_tags(cells: Sequence[str]) -> bool:
    """Whether cells look like tags: some are O, and the others tags of a scheme, or O is the commonest of them.

    >>> are_tags(["O", "B-PER"]), are_tags(["O", "person", "O"]), are_tags(["NNP", "VBD"]), are_tags(["-", "-"])
    (True, True, False, False)
    """
    counts = Counter(cells)
    if len(counts) < 2 or OUTSIDE not in counts:
        return False
    is_scheme = all(cell.lower() in OTHER_OUTSIDE or split_tag(cell)[0] in ("B", "I", "E", "S") for cell in counts)
    return is_scheme or counts.most_common(1)[0][0] == OUTSIDE
