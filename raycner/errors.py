"""The one error for bad input: one line, no traceback."""

from collections.abc import Sequence


class InputError(Exception):
    """Input that raycner cannot use: what is wrong, where, and how to fix it.

    The command line prints it as a single line and exits with status 2. Every other exception is a bug in raycner or a
    system failure, and keeps its traceback.
    """

    def __init__(
        self, what: str, *, location: str = "", hint: str = "", others: Sequence["InputError"] = (), more: int = 0
    ) -> None:
        """`others` are further errors of the same file, and `more` counts those that are not listed."""
        super().__init__(what, location, hint)
        self.what, self.location, self.hint = what, location, hint
        self.others, self.more = tuple(others), more

    @classmethod
    def together(cls, errors: Sequence["InputError"], more: int = 0) -> "InputError":
        """The first of several errors of a file, which carries the others; `more` counts those that are not listed."""
        first, *others = errors
        return cls(first.what, location=first.location, hint=first.hint, others=others, more=more)

    def __reduce__(self) -> tuple[object, ...]:
        return _input_error, (self.what, self.location, self.hint, self.others, self.more)

    def __str__(self) -> str:
        line = f"{self.location}: {self.what}" if self.location else self.what
        line = f"{line}; {self.hint}" if self.hint else line
        number = len(self.others) + self.more
        further = f" (and {number} more error{'s' * (number > 1)} in this file)" if number else ""
        return " ".join((line + further).split())

    def with_hint(self, hint: str) -> "InputError":
        """The same error with another hint."""
        return InputError(self.what, location=self.location, hint=hint, others=self.others, more=self.more)

    def details(self) -> list[str]:
        """A line for each of the other errors, and one that counts the rest."""
        lines = [f"{error.location}: {error.what}" for error in self.others]
        return lines + ([f"and {self.more} more"] if self.more else [])


def _input_error(what: str, location: str, hint: str, others: tuple[InputError, ...], more: int) -> InputError:
    return InputError(what, location=location, hint=hint, others=others, more=more)
