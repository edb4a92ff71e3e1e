"""Credentials in the environment of runs, searches and predictions on Ray: no file below any folder has one of them.

Ray's own folder is read too: its logs, its events, and what it writes of the environment of its processes.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import runs
from processes import PATIENCE
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore
from test_secrets import CREDENTIALS, holders

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.timeout(5 * PATIENCE)]
ROOT = Path(__file__).parents[2]
SPACE = """from raycner import Study

def space(trial):
    trial.suggest_float("method.base.kd_weight", 0.1, 10.0, log=True)

STUDY = Study(base="jobs/demo.yaml", overrides={overrides!r}, space=space, trials=1, pruning="none", finalists=1,
              final_seeds=1)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: Ray's sockets lie in it."""
    place = Path(tempfile.mkdtemp(prefix="s"))
    yield place
    shutil.rmtree(place, ignore_errors=True)


def test_no_file_holds_a_credential(folder: Path) -> None:
    for name in ("home", "tmp", "ray"):
        (folder / name).mkdir()
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    places = {"HOME": folder / "home", "TMPDIR": folder / "tmp", "RAY_TMPDIR": folder / "ray"}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        **{name: str(place) for name, place in places.items()},
        **CREDENTIALS,
        **token,
        "RAYCNER_CACHE": str(folder / "cache"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    store, printed = folder / "store", ""

    def raycner(*words: str) -> str:
        line = [sys.executable, "-m", "raycner", *words]
        done = subprocess.run(
            line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    overrides = [*runs.SMALL, f"store={store}", "scenario.protocol.first=2"]
    printed += raycner("run", *overrides, "compute.workers=1")
    (ledger,) = RunLedger.all(ObjectStore(str(store)))
    (folder / "space.py").write_text(SPACE.format(overrides=overrides))
    printed += raycner("search", str(folder / "space.py"))
    (folder / "text.txt").write_text("Ada Bramson flew to Oslo .\n")
    output = str(folder / "entities")
    printed += raycner(
        "predict", ledger.run, str(folder / "text.txt"), "--ray", "1", "--output", output, "--store", str(store)
    )
    printed += raycner("report", "--html", str(folder / "page.html"), "--store", str(store))
    assert list((folder / "ray").rglob("*.log")) + list((folder / "tmp").rglob("session_*")), "Ray wrote elsewhere"
    CREDENTIALS["RAY_AUTH_TOKEN"] = token["RAY_AUTH_TOKEN"]
    try:
        assert not list(holders(folder))
        assert not [name for name, value in CREDENTIALS.items() if value in printed]
    finally:
        del CREDENTIALS["RAY_AUTH_TOKEN"]
