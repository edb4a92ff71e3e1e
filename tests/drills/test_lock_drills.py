"""Drills of locks: a driver that is suspended, and drivers of one host name that do not see each other's processes.

make test-chaos
"""

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import runs
from processes import PATIENCE, wait_until
from raycner.storage import locks
from raycner.storage.locks import live_locks
from raycner.storage.store import ObjectStore

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3 * PATIENCE)]
SETTINGS = ("optim.epochs=2", "optim.first.epochs=20", "scenario.corpus.sentences=240", "compute.workers=0")
NAMESPACE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc")


def started(store: Path, *prefix: str) -> "subprocess.Popen[str]":
    line = [*prefix, *runs.command(store, *SETTINGS)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    store = tmp_path_factory.mktemp("whole")
    runs.finish(store, *SETTINGS)
    return store


def test_a_suspended_driver_reuses_what_another_committed(whole: Path, tmp_path: Path) -> None:
    """It is suspended as it trains the first step, until another driver has trained all of them."""
    first = started(tmp_path)
    wait_until(lambda: any(tmp_path.glob("snapshots/*/epoch-*/MANIFEST")), first)
    first.send_signal(signal.SIGSTOP)
    second = started(tmp_path)
    output = second.communicate(timeout=PATIENCE + 2 * locks.PATIENCE)[0]
    assert second.returncode == 0, output
    first.send_signal(signal.SIGCONT)
    late = first.communicate(timeout=PATIENCE)[0]
    assert first.returncode == 0, late
    assert late.count("taken from the store") == len(runs.ledger(whole).planned)
    assert runs.weights(tmp_path) == runs.weights(whole)
    assert runs.scores(tmp_path) == runs.scores(whole)
    assert live_locks(ObjectStore(str(tmp_path))) == {} and not ObjectStore(str(tmp_path)).list("snapshots")


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode != 0,
    reason="this machine creates no pid namespaces",
)
def test_a_driver_in_another_pid_namespace_is_waited_for(whole: Path, tmp_path: Path) -> None:
    """Its pid is of no process here, under the same host name: it is no dead holder."""
    inside = started(tmp_path, *NAMESPACE)
    wait_until(lambda: any(tmp_path.glob("snapshots/*/epoch-*/MANIFEST")), inside)
    outside = started(tmp_path)
    output, others = inside.communicate(timeout=PATIENCE)[0], outside.communicate(timeout=PATIENCE)[0]
    assert (inside.returncode, outside.returncode) == (0, 0), output + others
    assert "taken from the store" not in output
    assert "waiting for run " in others
    assert others.count("taken from the store") == len(runs.ledger(whole).planned)
    assert runs.weights(tmp_path) == runs.weights(whole)
