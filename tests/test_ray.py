"""Real Ray: workers and drivers are killed, Ray's own files damaged; and steps go to a real object store."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import runs
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
LONGER = ("optim.first.epochs=6", "optim.epochs=6", "scenario.reading.sentences=240")
"""Enough epochs for something to happen in the middle of a step."""


@pytest.fixture(autouse=True)
def quiet_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run in one process, which nobody interrupted."""
    store = tmp_path_factory.mktemp("whole")
    runs.finish(store, *LONGER)
    return store


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    """Every process below `pid`: (pid, command line)."""
    parents: dict[int, list[tuple[int, str]]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            said = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (OSError, ValueError):
            continue
        parents.setdefault(parent, []).append((int(folder.name), said))
    below = parents.get(pid, [])
    while below:
        child, said = below.pop()
        yield child, said
        below += parents.get(child, [])


def test_a_killed_worker_is_replaced_and_a_killed_driver_started_again(whole: Path, tmp_path: Path) -> None:
    """One worker on a CPU, bit for bit what one process makes: a worker dies, the driver dies, Ray's files rot."""
    one_worker = (*LONGER, "compute.workers=1")
    driver = subprocess.Popen(
        runs.command(tmp_path, *one_worker), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ.copy()
    )
    killed = False
    end = time.monotonic() + 300
    try:
        while driver.poll() is None and time.monotonic() < end:
            inside = any(tmp_path.glob("snapshots/*/epoch-*/MANIFEST"))
            workers = [pid for pid, said in descendants(driver.pid) if "RayTrainWorker" in said]
            if inside and workers and not killed:
                os.kill(workers[0], signal.SIGKILL)
                killed = True
            if killed and len(list(tmp_path.glob("steps/*/MANIFEST"))) >= 2:
                break
            time.sleep(0.01)
        assert killed, "no worker was there to be killed"
        assert driver.poll() is None, "the run ended before its driver could be killed"
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait(30)
    before = runs.weights(tmp_path)
    for attempt in (tmp_path / "ray").iterdir():
        attempt.mkdir(exist_ok=True)
        (attempt / "checkpoint_manager_snapshot.json").write_text('{"checkpoint_res', encoding="utf-8")
    runs.finish(tmp_path, *one_worker)
    assert runs.scores(tmp_path) == runs.scores(whole)
    assert runs.weights(tmp_path) == runs.weights(whole)
    assert {name: runs.weights(tmp_path)[name] for name in before} == before


@pytest.mark.s3
def test_two_workers_and_a_bucket(s3_uri: str) -> None:
    """Two workers commit their steps to a real object store; a second call finds them all there."""
    said = runs.finish(s3_uri, "compute.workers=2", "scenario.first=2")
    assert "step 2 of 2  product" in said
    store = ObjectStore(s3_uri)
    (ledger,) = RunLedger.all(store)
    assert ledger.finished
    assert [record.workers for record in ledger.records()] == [2, 2]
    assert all(not store.damage(f"steps/{step.fingerprint}") for step in ledger.planned)
    assert not store.list("snapshots") and not store.list("ray")
    secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    assert not any(secret in store.read(key) for key in store.list("runs"))
    again = runs.finish(s3_uri, "compute.workers=2", "scenario.first=2")
    assert again.count("taken from the store") == 2 and "starting" not in again


def test_a_refusal_inside_a_worker_is_one_line(tmp_path: Path) -> None:
    """What only a worker can find out, here by relative paths, ends as one line with status 2, and is not retried."""
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("the 0.1 0.2 0.3\n", encoding="utf-8")  # its width shows when a step reads the words it needs
    command = runs.command("store", "compute.workers=1", "model.encoder.vectors=vectors.txt")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith("raycner: model.encoder.vectors: ")
    assert "vectors.txt:1 has 3 numbers" in done.stderr
    assert "Traceback" not in done.stderr
