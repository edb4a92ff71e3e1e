"""Errors of sentences: strict reading reports all those of a file at once, lenient reading drops and counts them."""

from collections.abc import Iterable, Iterator
from typing import Literal, Protocol, TypeVar

from raycner.data.sources import RawFile
from raycner.errors import InputError

MOST_LISTED = 20
"""Errors of a file that are listed; the others are counted."""


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
        self._number = 0
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
        """Note a sentence that cannot be read. Raises the errors of the file before."""
        file = error.location.rpartition(":")[0]
        if file != self._file:
            self.end_file()
            self._file = file
        self._number += 1
        if self._number <= MOST_LISTED:
            self._in_file.append(error)

    def end_file(self) -> None:
        """Raise the errors of a file, or count them."""
        if self._number and (self._repair == "strict" or not self._is_any_readable):
            first, *others = self._in_file
            more = self._number - len(self._in_file)
            raise InputError(first.what, location=first.location, hint=first.hint, others=others, more=more)
        if self._number and not self._dropped:
            self._first_dropped = self._in_file[0].location
        self._dropped += self._number
        self._in_file, self._number, self._file = [], 0, ""

    def notes(self) -> list[str]:
        """A line that counts what was dropped."""
        if not self._dropped:
            return []
        return [f"{self._dropped} sentences that cannot be read were dropped, the first at {self._first_dropped}"]
