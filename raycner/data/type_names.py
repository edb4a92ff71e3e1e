"""Type names as people see them: names that differ only in what nobody sees are one type."""

import unicodedata
from collections import defaultdict

INVISIBLE = frozenset({"Cc", "Cf"})
"""Unicode categories without a glyph: control characters, and format characters such as the zero-width space."""


def visible(name: str) -> str:
    """A name without control characters, trimmed of spaces of any kind and of invisible characters.

    >>> visible("\\u200bPER\\u00a0")
    'PER'
    """
    if name.isascii() and name.isprintable() and not (name.startswith(" ") or name.endswith(" ")):
        return name
    spaced = "".join(character for character in name if character.isspace() or not _is_control(character))
    start, end = 0, len(spaced)
    while start < end and _is_margin(spaced[start]):
        start += 1
    while end > start and _is_margin(spaced[end - 1]):
        end -= 1
    return " ".join(spaced[start:end].split())


def appearance(name: str) -> str:
    """What two names have in common when they look alike: NFKC, without invisible characters.

    >>> appearance("\\uff30\\uff25\\uff32") == appearance("PER\\u200d") == "PER"
    True
    """
    normal = unicodedata.normalize("NFKC", name)
    seen = "".join(c for c in normal if c.isspace() or unicodedata.category(c) not in INVISIBLE)
    return " ".join(seen.split())


class TypeNames(dict[str, str]):
    """The name of each type by its spelling in the files. Spellings that look alike share the first one's name.

    >>> names = TypeNames()
    >>> names["PER"], names["PER\\u00a0"], names.notes()
    ('PER', 'PER', ["type 'PER\\\\xa0' is read as PER"])
    """

    def __init__(self) -> None:
        super().__init__()
        self._by_appearance: dict[str, str] = {}

    def __missing__(self, spelling: str) -> str:
        name = visible(spelling)
        self[spelling] = self._by_appearance.setdefault(appearance(name), name)
        return self[spelling]

    def notes(self) -> list[str]:
        """A line for each type with other spellings than its name."""
        others = defaultdict(list)
        for spelling, name in self.items():
            if spelling != name:
                others[name].append(ascii(spelling))
        return [f"type {', '.join(sorted(spellings))} is read as {name}" for name, spellings in sorted(others.items())]


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"


def _is_margin(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in INVISIBLE
