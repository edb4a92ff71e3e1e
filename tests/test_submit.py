"""Jobs handed to a cluster as the README says: a head with a token, `jobs/submit.sh`, a killed driver, a report."""

import os
import signal
from pathlib import Path

import pytest

import runs
from local_cluster import LocalCluster
from processes import PATIENCE, descendants, wait_until
from raycner.__main__ import main

pytestmark = [pytest.mark.ray, pytest.mark.timeout(3 * PATIENCE)]
SETTINGS = (*runs.SMALL, "scenario.protocol.first=2", "optim.first.epochs=12", "compute.workers=1")


def test_a_submitted_job_whose_driver_dies_is_submitted_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, store = tmp_path / "whole", tmp_path / "store"
    runs.finish(whole, *(setting for setting in SETTINGS if not setting.startswith("compute.")))
    line = ("run", "jobs/demo.yaml", *SETTINGS, f"store={store}")
    with LocalCluster.running(tmp_path, head_cpus=4) as cluster:
        stranger = cluster.submit(*line, RAY_AUTH_TOKEN_PATH="", RAY_AUTH_TOKEN="f" * 64)
        output = stranger.communicate(timeout=PATIENCE)[0]
        assert stranger.returncode != 0 and not store.exists(), output

        first = cluster.submit(*line)
        wait_until(lambda: any(store.glob("snapshots/*/epoch-*/MANIFEST")), first)
        below = descendants(cluster.head.pid)
        drivers = [pid for pid, command in below if "-m raycner run" in command and "bash" not in command]
        assert drivers
        for pid in drivers:
            os.kill(pid, signal.SIGKILL)
        assert first.communicate(timeout=PATIENCE) and first.returncode == 1

        again = cluster.submit(*line)
        output = again.communicate(timeout=PATIENCE)[0]
        assert again.returncode == 0, output
    assert runs.scores(store) == runs.scores(whole)
    assert runs.weights(store) == runs.weights(whole)
    assert main(["report", "--store", str(store)]) == 0
    assert "dld(extend_ner)" in capsys.readouterr().out
