"""Real Ray: workers and drivers are killed, Ray's own files damaged; and steps go to a real object store."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

import runs
from processes import PATIENCE, descendants, wait_until
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore

pytestmark = [pytest.mark.ray, pytest.mark.timeout(3 * PATIENCE)]
LONGER = ("optim.first.epochs=6", "optim.epochs=6", "scenario.corpus.sentences=240")
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


def test_a_killed_worker_is_replaced_and_a_killed_driver_started_again(whole: Path, tmp_path: Path) -> None:
    """One worker on a CPU, bit for bit what one process makes: a worker dies, the driver dies, Ray's files rot."""
    one_worker = (*LONGER, "compute.workers=1")
    driver = subprocess.Popen(
        runs.command(tmp_path, *one_worker), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ.copy()
    )

    def workers_in_a_step() -> list[int]:
        inside = any(tmp_path.glob("snapshots/*/epoch-*/MANIFEST"))
        return [pid for pid, command in descendants(driver.pid) if inside and "RayTrainWorker" in command]

    try:
        wait_until(workers_in_a_step, driver)
        os.kill(workers_in_a_step()[0], signal.SIGKILL)
        wait_until(lambda: len(list(tmp_path.glob("steps/*/MANIFEST"))) >= 2, driver)
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
    output = runs.finish(s3_uri, "compute.workers=2", "scenario.protocol.first=2")
    assert "step 2 of 2  product" in output
    store = ObjectStore(s3_uri)
    (ledger,) = RunLedger.all(store)
    assert ledger.finished
    assert [record.workers for record in ledger.records()] == [2, 2]
    assert all(not store.damage(f"steps/{step.fingerprint}") for step in ledger.planned)
    assert not store.list("snapshots") and not store.list("ray")
    secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    assert not any(secret in store.read(key) for key in store.list("runs"))
    again = runs.finish(s3_uri, "compute.workers=2", "scenario.protocol.first=2")
    assert again.count("taken from the store") == 2 and "starting" not in again


def test_an_input_error_inside_a_worker_is_one_line(tmp_path: Path) -> None:
    """What only a worker can find out, here by relative paths, ends as one line with status 2, and is not retried."""
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("the 0.1 0.2 0.3\n", encoding="utf-8")  # its width shows when a step reads the words it needs
    command = runs.command("store", "compute.workers=1", "model.encoder.vectors=vectors.txt")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith("raycner: model.encoder.vectors: ")
    assert "vectors.txt:1 has 3 numbers" in done.stderr
    assert "Traceback" not in done.stderr


FAKE_CUDA = """import sys
if any("default_worker" in word for word in sys.orig_argv):
    import torch
    torch.cuda.is_available = lambda: True
"""
"""A sitecustomize.py, by which the worker processes of Ray see a GPU that no scheduler gave them."""


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_without_gpus_compute_on_the_cpu_whatever_cuda_shows(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine with GPUs and `gpus_per_worker=0`, which Ray does not hide from the workers."""
    (tmp_path / "sitecustomize.py").write_text(FAKE_CUDA, encoding="utf-8")
    settings = ("scenario.protocol.first=2", "optim.epochs=1", "optim.first.epochs=1", "optim.precision=fp64")
    runs.finish(tmp_path / "alone", *settings)
    python_path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", python_path)
    runs.finish(tmp_path / "group", *settings, f"compute.workers={workers}", "compute.max_failures=0")
    alone, group = runs.ledger(tmp_path / "alone").records(), runs.ledger(tmp_path / "group").records()
    assert [record.workers for record in group] == [workers] * 2
    assert [(record.fingerprint, record.test) for record in group] == [(r.fingerprint, r.test) for r in alone]
