"""Errors of sentences: strict reading reports all those of a file at once, lenient reading drops and counts them."""

import re
from collections.abc import Iterable, Iterator
from typing import Literal, Protocol, TypeVar

from raycner.data.sources import RawFile
from raycner.errors import InputError

MOST_LISTED = 20
"""Errors of a file that are listed; the others are counted."""
_PLACE = re.compile(":[^:/]*$")
"""What follows the name of a file in a location."""


class _Sentence(Protocol):
    @property
    def file(self) -> RawFile: ...


T = TypeVar("T", bound=_Sentence)


class SentenceErrors:
    """The sentences of a corpus that cannot be read, file by file."""

    def __init__(self, repair: Literal["strict", "lenient"]) -> None:
        self._repair = repair
        self._dropped = 0
        self._first_dropped = ""
        self._in_file: list[InputError] = []
        self._number = self._unreadable = 0  # errors of the file, and sentences that have some
        self._file = ""
        self._is_any_readable = False

    def readable(self, items: Iterable[T | InputError]) -> Iterator[T]:
        """The items that are sentences. In strict reading, raises the errors of a file at its end; in lenient reading,
        only where no sentence is readable."""
        for item in items:
            if isinstance(item, InputError):
                self.add(item)
                continue
            if self._number and item.file.name != self._file:
                self.end_file()
            self._is_any_readable = True
            yield item
        self.end_file()

    def add(self, error: InputError) -> None:
        """Note a sentence that cannot be read; its error may carry others. Raises the errors of the file before."""
        file = _PLACE.sub("", error.location)
        if file != self._file:
            self.end_file()
            self._file = file
        self._unreadable += 1
        self._number += 1 + len(error.others) + error.more
        self._in_file += [error, *error.others][: MOST_LISTED - len(self._in_file)]

    def end_file(self) -> None:
        """Raise the errors of a file, or count them."""
        if self._number and (self._repair == "strict" or not self._is_any_readable):
            raise InputError.together(self._in_file, more=self._number - len(self._in_file))
        if self._number and not self._dropped:
            self._first_dropped = self._in_file[0].location
        self._dropped += self._unreadable
        self._in_file, self._number, self._unreadable, self._file = [], 0, 0, ""

    def notes(self) -> list[str]:
        """A line that counts what was dropped."""
        if not self._dropped:
            return []
        return [f"{self._dropped} sentences that cannot be read were dropped, the first at {self._first_dropped}"]
