"""The one error that is the reader's to mend: said in one line, never with a traceback."""


class InputError(Exception):
    """Input that raycner will not work with: what is wrong, location, and what to do about it.

    The command line prints it as a single line and ends with status 2. Everything else that is raised is a failure of
    the machine or of raycner itself and keeps its traceback.
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
