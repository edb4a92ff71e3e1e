"""Drivers of runs: two drivers of one run take turns, and one that receives SIGTERM ends in order."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from socket import gethostname

import pytest

import runs
from processes import PATIENCE, descendants, wait_until, wait_until_gone
from raycner.events import Event, Message
from raycner.orchestration.runner import run
from raycner.storage.locks import Lock
from raycner.storage.store import ObjectStore

LONG = ("optim.first.epochs=60", "scenario.corpus.sentences=240")


def started(store: Path, *settings: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen(runs.command(store, *settings), stdout=pipe, stderr=subprocess.STDOUT, text=True)


def test_the_second_driver_waits_and_reuses_the_steps_of_the_first(tmp_path: Path) -> None:
    first = started(tmp_path, *LONG)
    wait_until(lambda: any(tmp_path.glob("locks/runs/*")), first)
    second = started(tmp_path, *LONG)
    output, others = first.communicate(timeout=PATIENCE)[0], second.communicate(timeout=PATIENCE)[0]
    assert (first.returncode, second.returncode) == (0, 0), output + others
    assert output.count("taken from the store") == 0
    assert "waiting for run " in others and f"which process {first.pid} on " in others
    assert others.count("taken from the store") == 3
    assert runs.ledger(tmp_path).finished
    assert ObjectStore(str(tmp_path)).list("locks") == []


def test_a_run_writes_its_ledger_only_after_it_owns_the_lock(tmp_path: Path) -> None:
    """Else it would wipe what the first driver has put on record."""
    config = runs.small(tmp_path)
    before = run(config, runs.silent)
    lock = Lock(ObjectStore(str(tmp_path)), f"runs/{before.run}")
    assert lock.take()
    messages: list[str] = []

    def emit(event: Event, /) -> None:
        if isinstance(event, Message):
            messages.append(event.text)
            assert runs.ledger(tmp_path).finished
            lock.drop()

    assert run(config, emit).finished
    waiting = f"waiting for run {before.run}, which process {os.getpid()} on {gethostname()} is running"
    assert messages == [waiting, "against forgetting: dld(extend_ner)"]


@pytest.mark.parametrize(
    "workers",
    [0, pytest.param(1, marks=[pytest.mark.ray, pytest.mark.timeout(3 * PATIENCE)])],
    ids=["alone", "with Ray"],
)
def test_a_driver_that_receives_sigterm_shuts_down_cleanly(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    settings = (*LONG, f"compute.workers={workers}")
    driver = started(tmp_path, *settings)
    wait_until(lambda: any(tmp_path.glob("snapshots/*/epoch-*/MANIFEST")), driver)
    below = [pid for pid, _ in descendants(driver.pid)]
    assert not workers or below
    driver.send_signal(signal.SIGTERM)
    output = driver.communicate(timeout=PATIENCE)[0]
    assert driver.returncode == 143, output
    assert "raycner: terminated; rerun the same command to resume" in output
    assert "Traceback" not in output
    assert not any(tmp_path.glob("locks/runs/*"))
    assert any(tmp_path.glob("snapshots/*/epoch-*/MANIFEST")), "the snapshot that the next driver resumes from"
    wait_until_gone(below)
    if not workers:
        assert not any(tmp_path.glob("locks/steps/*"))


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    environment = os.environ | {"RAY_ADDRESS": "127.0.0.1:9"}
    command = [sys.executable, "-m", "raycner", "run", *runs.SMALL, "compute.workers=1", f"store={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)
    assert done.returncode == 2, done.stderr
    assert "connecting to Ray at 127.0.0.1:9" in done.stdout
    line = " ".join(done.stderr.split())
    assert "raycner: RAY_ADDRESS: Ray does not start or answer" in line and "Traceback" not in line
