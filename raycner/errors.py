"""The one error that is the reader's to mend: said in one line, never with a traceback."""


class Refusal(Exception):
    """Input that raycner will not work with: what is wrong, where, and what to do about it.

    The command line prints it as a single line and ends with status 2. Everything else that is raised is a failure of
    the machine or of raycner itself and keeps its traceback.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what, where, remedy)
        self.what, self.where, self.remedy = what, where, remedy

    def __reduce__(self) -> tuple[object, ...]:
        return _refusal, (self.what, self.where, self.remedy)

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return " ".join((f"{line}; {self.remedy}" if self.remedy else line).split())


def _refusal(what: str, where: str, remedy: str) -> Refusal:
    return Refusal(what, where=where, remedy=remedy)
