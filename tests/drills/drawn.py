"""Drawn drills: a number says which verb runs, who dies, and when. The same line then runs again to its end.

The folder of a drill holds all that it writes: `store`, `out`, `tmp` (temporary files), `cache`.
"""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from drills import kill_switch, place
from drills.kill_switch import ANY, FOLDER, ROLE, Plan
from drills.verbs import ROWS, RUN, SPACE, STEPS, TINY, TRAIN, VERBS, Draw, Verb
from processes import wait_until
from swift_s3 import free_ports
from test_extend import write

ROOT = Path(__file__).parents[2]
LIMIT = 900.0
"""Seconds that a line may take, killed or not, on a busy machine."""
IMPORTED = (
    *("raycner.cli", "raycner.api.runs", "raycner.api.reports", "raycner.orchestration.runner", "torch._dynamo"),
    *(
        "raycner.inference.export",
        "raycner.inference.predictor",
        "raycner.reporting.html.page",
        "pandas",
        "matplotlib.figure",
    ),
    *("huggingface_hub.repocard_data", "drills.drawn"),
)
"""What the process has imported from which lines are forked."""


class Process(Protocol):
    """A running line."""

    pid: int | None

    def ended(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""


@dataclass
class Forked:
    """A line in a fork of a process that has imported everything."""

    process: Any

    @property
    def pid(self) -> int | None:
        return int(self.process.pid)

    def ended(self) -> int | None:
        status: int | None = self.process.exitcode
        return status


@dataclass
class Spawned:
    """A line as a person types it."""

    process: "subprocess.Popen[bytes]"

    @property
    def pid(self) -> int | None:
        return self.process.pid

    def ended(self) -> int | None:
        return self.process.poll()


@cache
def _fork_server() -> Any:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context


def line(words: Sequence[str], folder: str, environment: dict[str, str], role: str) -> None:
    """The program of a forked line."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    output = os.open("output.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout = sys.stderr = os.fdopen(output, "w", buffering=1)
    from raycner.cli import main

    kill_switch.arm(role)
    status = main([*words])
    sys.stdout.flush()
    os._exit(status)


@dataclass
class Drill:
    """One drill: the lines of a verb in a folder."""

    verb: Verb
    folder: Path
    switch: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = ("PATH", "HOME", "LANG", "OMP_NUM_THREADS", "HF_HUB_OFFLINE", "VIRTUAL_ENV")
        own = {name: os.environ[name] for name in names if name in os.environ}
        paths = (ROOT / "tests" / "drills" / "in_every_process", ROOT / "tests", ROOT)
        self.environment = own | {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TMPDIR": str(self.folder / "tmp"),
            "RAYCNER_CACHE": str(self.folder / "cache"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": "/tmp",
            "RAY_worker_niceness": "0",
            "RAY_raylet_start_wait_time_s": "300",
            "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            FOLDER: str(self.switch),
        }

    @property
    def places(self) -> tuple[str, ...]:
        return tuple(str(self.folder / name) for name in ("store", "out", "tmp"))

    def run(self, plan: Plan) -> list[int]:
        """Run all lines at once, to their ends; their exit statuses. No process is left."""
        for before in self.switch.glob("*"):
            before.unlink()
        plan.write(self.switch)
        with self._cluster():
            started = [self._start(words) for words in self.verb.lines]
            end = time.monotonic() + LIMIT
            while any(one.ended() is None for one in started) and time.monotonic() < end:
                time.sleep(0.01)
        left = [one.pid for one in started if one.ended() is None]
        left += list(self._await_members())
        for pid in left:
            os.kill(pid or 0, signal.SIGKILL)
        assert not left, f"after {LIMIT:g} s these still run: {left}; {self.output()}"
        return [one.ended() or 0 for one in started]

    def count(self, role: str) -> int:
        """How many changes of a role were counted."""
        changes = self.switch / f"changes-{role}"
        return changes.stat().st_size if changes.exists() else 0

    def output(self) -> str:
        return (self.folder / "output.log").read_text(encoding="utf-8", errors="replace")[-600:]

    def _start(self, words: Sequence[str]) -> Process:
        words = [word.replace("{place}", str(self.folder)) for word in words]
        if not self.verb.starts_ray:
            role = "gc" if words[:2] == ["store", "gc"] else "driver"
            process = _fork_server().Process(target=line, args=(words, str(self.folder), self.environment, role))
            process.start()
            return Forked(process)
        command = ["jobs/submit.sh"] if self.verb.is_submitted else [sys.executable, "-m", "raycner"]
        with (self.folder / "output.log").open("ab") as output:
            return Spawned(
                subprocess.Popen(
                    [*command, *words],
                    cwd=ROOT if self.verb.is_submitted else self.folder,
                    env=self.environment | {ROLE: "driver"},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )

    def _await_members(self) -> Iterator[int]:
        """Wait for all processes of the drill to end: those that have not after five minutes."""
        end = time.monotonic() + 300
        while remaining := list(kill_switch.members(self.switch)):
            if time.monotonic() > end:
                yield from remaining
                return
            time.sleep(0.1)

    @contextmanager
    def _cluster(self) -> Iterator[None]:
        """The head to which lines are submitted, if they are."""
        if not self.verb.is_submitted:
            yield
            return
        gcs, dashboard, agent, client = free_ports(4)
        self.environment |= {"RAY_AUTH_MODE": "disabled", "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}"}
        command = ["ray", "start", "--head", "--block", f"--port={gcs}", "--num-cpus=4", "--disable-usage-stats"]
        command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
        command += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"]
        with (self.folder / "output.log").open("ab") as output:
            head = subprocess.Popen(
                command, env=self.environment | {ROLE: "driver"}, stdout=output, stderr=output, start_new_session=True
            )
        try:
            wait_until(self._head_answers, head)
            yield
        finally:
            for pid in kill_switch.members(self.switch):
                os.kill(pid, signal.SIGKILL)
            head.wait(60)

    def _head_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.environment['RAY_API_SERVER_ADDRESS']}/api/jobs/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@dataclass(frozen=True)
class Outcome:
    """What a drill did, for the log and the table."""

    event: str
    seconds: float
    """That the lines took when they ran again."""


class Drills:
    """The drills of a session: a template, and of each verb the state and the changes of an undisturbed run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "template"
        self._undisturbed: dict[str, tuple[dict[str, Any], dict[str, int]]] = {}

    def run(self, draw: Draw) -> Outcome:
        """Kill, run the same lines again, and compare. Raises AssertionError with what differs."""
        verb = VERBS[draw.verb]
        state, changes = self._reference(draw.verb)
        assert changes.get(draw.role), f"{draw.role} makes no change"
        drill = self._place(draw.verb, "drill")
        first = 1 + int(draw.progress * changes[draw.role])
        for change in (first, max(1, first // 2), 1):  # the changes of Ray's processes are not always as many
            plan = Plan(places=drill.places, role=draw.role, victim=draw.victim, change=change, cut=draw.cut)
            statuses = drill.run(plan)
            fired = drill.switch / "fired"
            if fired.exists():
                break
            drill = self._place(draw.verb, "drill")
        assert fired.exists(), f"nobody was killed; {drill.output()}"
        event = fired.read_text(encoding="utf-8").replace(str(drill.folder), "")
        place.age(drill.folder)
        committed = place.committed(drill.folder)
        began = time.monotonic()
        again = drill.run(Plan(places=drill.places))
        seconds = time.monotonic() - began
        assert again[0] in verb.again and set(again) <= verb.statuses, (
            f"{event}: {statuses}, then {again}; {drill.output()}"
        )
        assert committed.items() <= place.committed(drill.folder).items(), f"{event}: a step was trained again"
        differences = compare(state, place.state(drill.folder))
        assert not differences, f"{event}: {differences}; {drill.output()}"
        return Outcome(event, seconds)

    def _reference(self, verb: str) -> tuple[dict[str, Any], dict[str, int]]:
        if verb not in self._undisturbed:
            drill = self._place(verb, "undisturbed")
            statuses = drill.run(Plan(places=drill.places))
            assert set(statuses) <= VERBS[verb].statuses, f"undisturbed: {statuses}; {drill.output()}"
            changes = {role: drill.count(role) for role in ("driver", *VERBS[verb].victims, ANY)}
            self._undisturbed[verb] = place.state(drill.folder), changes
        return self._undisturbed[verb]

    def _place(self, verb: str, name: str) -> Drill:
        folder = self._folder / name
        if not self._template.exists():
            self._prepare()
        place.copy(self._template, folder)
        if VERBS[verb].is_fresh:
            shutil.rmtree(folder / "store", ignore_errors=True)
        for removed in folder.glob(VERBS[verb].removed) if VERBS[verb].removed else ():
            shutil.rmtree(removed)
        return Drill(VERBS[verb], folder, self._folder / "switch")

    def _prepare(self) -> None:
        """What lines work on: a finished run, another one to extend, an exported model, texts."""
        folder = self._template
        place.copy(folder / "none", folder)
        _write_sources(folder)
        (folder / "rows.yaml").write_text(ROWS, encoding="utf-8")
        (folder / "space.py").write_text(SPACE.format(overrides=TINY), encoding="utf-8")
        for words in (TRAIN, STEPS, ("export", RUN, "exported")):
            drill = Drill(Verb(lines=(words,), victims={}), folder, self._folder / "switch")
            assert drill.run(Plan(places=())) == [0], drill.output()


def _write_sources(folder: Path) -> None:
    for name, types, seed in (("news", {"city", "person"}, 1), ("reviews", {"food"}, 2)):
        write(folder / name, types, seed)
    (folder / "texts").mkdir()
    for name in ("a", "b", "c"):
        (folder / "texts" / f"{name}.txt").write_text("Ada met an otter in Oslo .\n" * 20, encoding="utf-8")
    shutil.copy(folder / "news" / "test.txt", folder / "test.txt")


def compare(expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """What differs between two states, a line each."""
    return [line for name in sorted(expected.keys() | actual.keys()) for line in _differences(name, expected, actual)]


def _differences(name: str, expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    before, after = expected.get(name, "missing"), actual.get(name, "missing")
    if isinstance(before, dict) and isinstance(after, dict):
        return [f"{name}: {line}" for line in compare(before, after)]
    return [] if before == after else [f"{name}: {after}, undisturbed {before}"]
