"""The switch that kills a process at a point of its progress. Every Python process of a drill loads it.

Progress is counted in changes of files: opened for writing, renamed, or removed with their folder, below the places of
the drill. The n-th change that processes of one role make is the moment, and the victim dies before it happens; so a
moment is the same in every repetition, however busy the machine is. Between two changes nothing on the disk differs,
except that a file is written in part: at the renaming of a draft, the switch may first cut the draft.

RAYCNER_DRILL is the folder of the switch: `plan.json` as `Plan` has it, a file per role whose size is the number of its
changes, and `fired`, which says what was killed when.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import strftime

FOLDER, ROLE = "RAYCNER_DRILL", "RAYCNER_DRILL_ROLE"
CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "shutil.rmtree")
"""The audit events that announce a change."""
ROLES = {
    b"ray::RayTrainWorker": "worker",
    b"ray::TrainController": "controller",
    b"ray::Trial": "trial",
    b"ray::ResourceTrainable": "trial",
    b"ray::ImplicitFunc": "trial",
    b"ray::_run": "task",
    b"ray::MapBatches": "reader",
    b"ray::Map": "reader",
    b"ray::": "other",
    b"-m\0raycner": os.environ.get(ROLE, "driver"),
}
"""The beginning or a part of a process's command line -> its role."""
PROGRAMS = {"raylet": b"raylet/raylet", "gcs": b"gcs_server"}
"""Victims that are no Python processes, and a part of their command lines."""
ANY = "any"
"""The role of all processes together."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is killed, and when."""

    places: tuple[str, ...]
    """Folders whose changes count."""
    role: str = ANY
    """Whose changes count."""
    victim: str = ""
    """A role, or one of PROGRAMS; where it is empty, changes are only counted."""
    change: int = 0
    """Before which change, from 1."""
    cut: float | None = None
    """The share of a draft that has been written, if the change renames one."""

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plan.json").write_text(json.dumps(asdict(self)), encoding="utf-8")


def arm(role: str = "") -> None:
    """Count the changes of this process from now on. The role of a process without a telling command line is given."""
    folder = Path(os.environ.get(FOLDER, "/nowhere"))
    with suppress(OSError):
        plan = Plan(**json.loads((folder / "plan.json").read_text(encoding="utf-8")))
        sys.addaudithook(_Switch(folder, plan, role))


class _Switch:
    def __init__(self, folder: Path, plan: Plan, role: str) -> None:
        self._folder, self._plan, self._given_role = folder, plan, role
        self._is_counting = False

    def __call__(self, event: str, details: tuple[object, ...]) -> None:
        if event not in CHANGES or self._is_counting or not self._counts(event, details):
            return
        self._is_counting = True
        try:
            self._count(event, details)
        finally:
            self._is_counting = False

    def _counts(self, event: str, details: tuple[object, ...]) -> bool:
        path = details[0]
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        text = str(Path(os.fsdecode(path)).absolute())
        if event == "open" and not int(str(details[2])) & (os.O_WRONLY | os.O_RDWR):
            return False
        if "/locks/" in text and "~" in text:
            return False  # the heartbeats of a lock come by the clock
        return any(text.startswith(place) for place in self._plan.places)

    def _count(self, event: str, details: tuple[object, ...]) -> None:
        role = self._given_role or role_of(os.getpid())
        counts = {name: self._add(name) for name in (role, ANY)}
        plan = self._plan
        if plan.victim and plan.role in counts and counts[plan.role] >= plan.change:
            self._fire(event, os.fsdecode(str(details[0])), counts[plan.role])

    def _add(self, name: str) -> int:
        """Count one more change of a role, over all of its processes."""
        descriptor = os.open(self._folder / f"changes-{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(descriptor, b".")
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def _fire(self, event: str, path: str, change: int) -> None:
        victims = list(self._victims())
        if not victims:
            return
        try:
            fired = (self._folder / "fired").open("x", encoding="utf-8")
        except FileExistsError:
            return
        with fired:
            fired.write(f"{strftime('%H:%M:%S')} {self._plan.victim} before change {change}, {event} {path}")
        is_draft = event == "os.rename" and re.search(r"~[0-9a-f]{32}\Z", path)
        if is_draft and self._plan.cut is not None and os.getpid() in victims:  # who survives would rename what was cut
            with suppress(OSError):
                os.truncate(path, int(Path(path).stat().st_size * self._plan.cut))
        for pid in victims:
            os.kill(pid, signal.SIGKILL)

    def _victims(self) -> Iterator[int]:
        if self._plan.victim not in PROGRAMS:
            yield os.getpid()
            return
        mark = PROGRAMS[self._plan.victim]
        yield from (pid for pid in members(self._folder) if mark in _command(pid))


def role_of(pid: int) -> str:
    """The role of a process, by its command line."""
    command = _command(pid)
    return next((role for mark, role in ROLES.items() if mark in command), "other")


def members(folder: Path) -> Iterator[int]:
    """The processes that were started in the drill of this folder."""
    mark = f"{FOLDER}={folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                yield int(process.name)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
