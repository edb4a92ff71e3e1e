"""Jobs handed to a cluster as the README says: a head with a token, `jobs/submit.sh`, a killed driver, a report."""

import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import runs
from processes import PATIENCE, descendants, wait_until
from raycner.__main__ import main
from swift_s3 import free_ports

pytestmark = [pytest.mark.ray, pytest.mark.timeout(3 * PATIENCE)]
ROOT = Path(__file__).parents[1]
SETTINGS = (*runs.SMALL, "scenario.protocol.first=2", "optim.first.epochs=12", "compute.workers=1")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return runs.with_token(tmp_path / "token")


@pytest.fixture
def head(environment: dict[str, str], tmp_path: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """A cluster of one node, which the environment leads to; it ends with the test, and nothing else does."""
    gcs, dashboard, agent, client = free_ports(4)
    environment["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{dashboard}"
    command = ["ray", "start", "--head", "--block", f"--port={gcs}", "--num-cpus=4", "--disable-usage-stats"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    command += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"]
    with (tmp_path / "head.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    below: list[int] = []
    try:
        wait_until(lambda: answers(environment), process)
        yield process
    finally:
        below = [pid for pid, _ in descendants(process.pid)]
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def answers(environment: dict[str, str]) -> bool:
    """Whether the head takes jobs."""
    request = urllib.request.Request(f"{environment['RAY_API_SERVER_ADDRESS']}/api/jobs/")
    request.add_header("Authorization", f"Bearer {Path(environment['RAY_AUTH_TOKEN_PATH']).read_text('utf-8')}")
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def submit(environment: dict[str, str], *words: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    line = ["jobs/submit.sh", *words]
    return subprocess.Popen(line, cwd=ROOT, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def test_a_submitted_job_whose_driver_dies_is_submitted_again(
    environment: dict[str, str],
    head: "subprocess.Popen[bytes]",
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, store = tmp_path / "whole", tmp_path / "store"
    runs.finish(whole, *(setting for setting in SETTINGS if not setting.startswith("compute.")))
    line = ("run", "jobs/demo.yaml", *SETTINGS, f"store={store}")

    stranger = submit(environment | {"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": "f" * 64}, *line)
    output = stranger.communicate(timeout=PATIENCE)[0]
    assert stranger.returncode != 0 and not store.exists(), output

    first = submit(environment, *line)
    wait_until(lambda: any(store.glob("snapshots/*/epoch-*/MANIFEST")), first)
    drivers = [pid for pid, command in descendants(head.pid) if "-m raycner run" in command and "bash" not in command]
    assert drivers
    for pid in drivers:
        os.kill(pid, signal.SIGKILL)
    assert first.communicate(timeout=PATIENCE) and first.returncode == 1

    again = submit(environment, *line)
    output = again.communicate(timeout=PATIENCE)[0]
    assert again.returncode == 0, output
    assert runs.scores(store) == runs.scores(whole)
    assert runs.weights(store) == runs.weights(whole)
    assert main(["report", "--store", str(store)]) == 0
    assert "dld(extend_ner)" in capsys.readouterr().out
