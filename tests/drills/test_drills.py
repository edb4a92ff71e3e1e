"""Failure drills: something dies at a moment drawn by chance, the same command runs again, and nothing is lost.

    make test-chaos

After each: the ledger and the weights are those of a run that nobody disturbed, no step that was committed is trained
again, no lock and no process is left behind. The moments are drawn from a seed, so a drill can be tried again.
"""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from ray.cluster_utils import Cluster

import runs
from drills.conftest import SECONDS
from processes import PATIENCE, descendants, wait_until_gone
from raycner.storage.housekeeping import damages
from raycner.storage.locks import live_locks
from raycner.storage.searches import SearchRecord
from raycner.storage.store import ObjectStore

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3 * PATIENCE)]
ROOT = Path(__file__).parents[2]
EPOCHS = 4
SETTINGS = (f"optim.epochs={EPOCHS}", f"optim.first.epochs={EPOCHS}", "scenario.corpus.sentences=240")
ONE_WORKER = "compute.workers=1"
"""On a CPU, bit for bit what one process learns."""
SPACE = """from raycner import Study

def space(trial):
    trial.suggest_float("method.base.kd_weight", 0.1, 10.0, log=True)

STUDY = Study(base="jobs/demo.yaml", overrides={overrides!r}, space=space, trials=4, pruning="none",
              first=[{{"method.base.kd_weight": 1.0}}])
"""


@dataclass
class Drill:
    """A drill in progress: a store, and the command that is repeated until it succeeds."""

    store: Path
    draw: Random
    line: list[str]
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    driver: "subprocess.Popen[str] | None" = None

    def begin(self, limit: int | None = None) -> None:
        """Type the line; `limit` is the size at which its files stop growing."""

        def limited() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        self.driver = subprocess.Popen(
            self.line,
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=limited,
        )

    def until(self, ready: Callable[[], bool], later: float = 0.0) -> None:
        """Wait for a moment, and then up to so many seconds more; whoever has ended meanwhile cannot be killed."""
        assert self.driver is not None
        end = time.monotonic() + PATIENCE
        while not ready() and self.driver.poll() is None:
            assert time.monotonic() < end, "the moment never came"
            time.sleep(0.002)
        end = time.monotonic() + self.draw.uniform(0, later)
        while time.monotonic() < end and self.driver.poll() is None:
            time.sleep(0.002)

    def kill(self, *names: str) -> None:
        """SIGKILL what runs below the driver under one of these names, or the driver where none is given."""
        assert self.driver is not None
        if not names:
            below = [pid for pid, _ in descendants(self.driver.pid)]
            self.driver.kill()
            self.ended(below)
            return
        for pid, command in descendants(self.driver.pid):
            if any(name in command for name in names):
                os.kill(pid, signal.SIGKILL)
                return

    def ended(self, below: list[int]) -> str:
        """Wait for the driver and all that it started to be gone."""
        assert self.driver is not None
        output: str = self.driver.communicate(timeout=PATIENCE)[0]
        wait_until_gone(below)
        return output

    def recover(self) -> float:
        """Type the line again until it ends well, three times at most; the seconds that took."""
        began = time.monotonic()
        assert self.driver is not None
        if self.driver.poll() is None:
            self.ended([pid for pid, _ in descendants(self.driver.pid)])
        output = ""
        for _ in range(3):
            if self.driver.returncode == 0:
                break
            self.begin()
            output = self.ended([])
        assert self.driver.returncode == 0, output
        return time.monotonic() - began

    def committed(self) -> dict[str, int]:
        return {path.parent.name: path.stat().st_mtime_ns for path in self.store.glob("steps/*/MANIFEST")}


def training(drill: Drill) -> bool:
    return any(drill.store.glob("snapshots/*/epoch-*/MANIFEST"))


def committing(drill: Drill) -> bool:
    return any(drill.store.glob("steps/*/*"))


def uploading(drill: Drill) -> bool:
    return any(drill.store.glob("snapshots/*/*/*"))


def evaluating(drill: Drill) -> bool:
    return any(drill.store.glob(f"snapshots/*/epoch-{EPOCHS}/MANIFEST"))


def one_step(drill: Drill) -> bool:
    return bool(drill.committed())


def driver_at(moment: Callable[[Drill], bool], later: float, *settings: str) -> Callable[[Drill], None]:
    def fault(drill: Drill) -> None:
        drill.line += settings
        drill.begin()
        drill.until(lambda: moment(drill), later)
        drill.kill()

    return fault


def below_at(moment: Callable[[Drill], bool], later: float, *names: str) -> Callable[[Drill], None]:
    def fault(drill: Drill) -> None:
        drill.line.append(ONE_WORKER)
        drill.begin()
        drill.until(lambda: moment(drill), later)
        drill.kill(*names)

    return fault


def truncated_manifest(drill: Drill) -> None:
    drill.begin()
    drill.until(lambda: one_step(drill), later=1.0)
    drill.kill()
    victim = drill.draw.choice(sorted(drill.store.glob("steps/*/MANIFEST")))
    victim.write_bytes(victim.read_bytes()[: drill.draw.randrange(1, 40)])


def full_disk(drill: Drill) -> None:
    """No file may grow beyond so many bytes, as on a disk that is full: the run fails, and says so."""
    drill.begin(limit=drill.draw.randrange(20_000, 60_000))
    output = drill.ended([])
    assert drill.driver is not None and drill.driver.returncode in (1, 2), output


def clock_skew(drill: Drill) -> None:
    """A dead driver of another machine has left locks, whose times are a day ahead or behind."""
    drill.begin()
    drill.until(lambda: training(drill))
    drill.kill()
    skew = time.time() + drill.draw.choice((-1, 1)) * 24 * 3600
    for lock in drill.store.glob("locks/*/*"):
        lock.write_text("elsewhere 1 name 0\n", encoding="utf-8")
        os.utime(lock, (skew, skew))


FAULTS: dict[str, tuple[int, Callable[[Drill], None]]] = {
    "driver killed while training": (8, driver_at(training, 3.0)),
    "driver killed while committing": (5, driver_at(committing, 0.02)),
    "driver killed while uploading a snapshot": (5, driver_at(uploading, 0.02)),
    "driver killed while evaluating": (3, driver_at(evaluating, 0.2)),
    "driver of a worker group killed": (2, driver_at(training, 2.0, ONE_WORKER)),
    "worker killed while training": (4, below_at(training, 2.0, "RayTrainWorker")),
    "worker killed while committing": (2, below_at(committing, 0.02, "RayTrainWorker")),
    "controller killed": (2, below_at(training, 1.0, "TrainController")),
    "raylet killed": (2, below_at(training, 1.0, "raylet/raylet")),
    "manifest truncated": (3, truncated_manifest),
    "disk full": (3, full_disk),
    "locks of a skewed clock": (2, clock_skew),
}
"""Fault -> how many times it is tried, and what it does."""
TRIES = [(fault, number) for fault, (times, _) in FAULTS.items() for number in range(times)]


@pytest.fixture(autouse=True)
def quiet_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run that nobody disturbed."""
    store = tmp_path_factory.mktemp("whole")
    runs.finish(store, *SETTINGS)
    return store


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> "Iterator[list[float]]":
    """Takes the seconds that recovering took, for the table."""
    taken: list[float] = []
    yield taken
    name = request.node.callspec.params.get("fault", request.node.originalname.removeprefix("test_").replace("_", " "))
    request.config.stash[SECONDS][name].append(taken[0] if taken else None)


@pytest.mark.parametrize(("fault", "number"), TRIES)
def test_a_run_recovers(fault: str, number: int, whole: Path, tmp_path: Path, seconds: list[float]) -> None:
    drill = Drill(tmp_path, Random(f"{fault} {number}"), runs.command(tmp_path, *SETTINGS))
    FAULTS[fault][1](drill)
    store = ObjectStore(str(tmp_path))
    before = {name: when for name, when in drill.committed().items() if not store.damage(f"steps/{name}")}
    took = drill.recover()
    assert runs.scores(tmp_path) == runs.scores(whole)
    assert runs.weights(tmp_path) == runs.weights(whole)
    assert before.items() <= drill.committed().items(), "a committed step was trained again"
    assert not list(damages(store, lambda _: None))
    assert live_locks(store) == {} and not store.list("snapshots")
    seconds.append(took)


@pytest.mark.parametrize(
    ("fault", "number"),
    [(fault, number) for fault in ("trial killed", "driver killed while searching") for number in range(3)],
)
def test_a_search_recovers(fault: str, number: int, tmp_path: Path, seconds: list[float]) -> None:
    space, store = tmp_path / "space.py", tmp_path / "store"
    overrides = (*runs.SMALL, "scenario.protocol.first=2", "compute.workers=0", f"store={store}")
    space.write_text(SPACE.format(overrides=overrides), encoding="utf-8")
    line = [sys.executable, "-m", "raycner", "search", str(space), "--parallel", "2"]
    drill = Drill(store, Random(f"{fault} {number}"), line)
    drill.begin()
    drill.until(lambda: len(drill.committed()) >= 3, later=1.0)
    drill.kill(*(["ray::Trial"] if fault == "trial killed" else []))
    before = drill.committed()
    took = drill.recover()
    (record,) = SearchRecord.all(ObjectStore(str(store)))
    assert [trial.state for one in record.rounds for trial in one.trials] == ["complete"] * 4
    assert before.items() <= drill.committed().items(), "a committed step was trained again"
    assert not list(damages(ObjectStore(str(store)), lambda _: None))
    seconds.append(took)


@pytest.mark.parametrize("number", range(2))
def test_one_of_two_nodes_killed(
    number: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: list[float]
) -> None:
    """An elastic worker group continues with the worker that is left; nobody has to repeat the command."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "30")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        node = cluster.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        line = runs.command(tmp_path, *SETTINGS, "compute.workers=2", "compute.min_workers=1")
        drill = Drill(tmp_path, Random(number), line)
        drill.begin()
        drill.until(lambda: training(drill), later=1.0)
        cluster.remove_node(node, allow_graceful=False)
        before, began = drill.committed(), time.monotonic()
        output = drill.ended([])
        assert drill.driver is not None and drill.driver.returncode == 0, output
        seconds.append(time.monotonic() - began)
    finally:
        cluster.shutdown()
    assert before.items() <= drill.committed().items(), "a committed step was trained again"
    assert runs.ledger(tmp_path).records()[-1].workers == 1
    assert [r.fingerprint for r in runs.ledger(tmp_path).records()] == [
        r.fingerprint for r in runs.ledger(whole).records()
    ]
    assert live_locks(ObjectStore(str(tmp_path))) == {}
