"""The one error for bad input: one line, no traceback."""


class InputError(Exception):
    """Input that raycner cannot use: what is wrong, where, and how to fix it.

    The command line prints it as a single line and exits with status 2. Every other exception is a bug in raycner or a
    system failure, and keeps its traceback.
    """

    def __init__(self, what: str, *, location: str = "", hint: str = "") -> None:
        super().__init__(what, location, hint)
        self.what, self.location, self.hint = what, location, hint

    def __reduce__(self) -> tuple[object, ...]:
        return _input_error, (self.what, self.location, self.hint)

    def __str__(self) -> str:
        line = f"{self.location}: {self.what}" if self.location else self.what
        return " ".join((f"{line}; {self.hint}" if self.hint else line).split())


def _input_error(what: str, location: str, hint: str) -> InputError:
    return InputError(what, location=location, hint=hint)
