"""Kills of the object store's own server: what it had is whole when it starts again, and the same line ends as ever.

    make test-chaos

The server dies before a request that its share of the line's requests names; the line then ends with one line of text.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pyarrow import fs

import runs
import swift_s3
from conftest import server_python
from drills.unreliable import unreliable
from processes import PATIENCE
from raycner.storage.aliases import find_alias, history
from raycner.storage.housekeeping import damages
from raycner.storage.store import ObjectStore

pytestmark = [pytest.mark.chaos, pytest.mark.s3, pytest.mark.timeout(3 * PATIENCE)]
BUCKET = "s3://bucket"
SHARES = (0.02, 0.2, 0.4, 0.6, 0.8, 0.95)
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": swift_s3.ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": swift_s3.SECRET_KEY,
    "AWS_DEFAULT_REGION": swift_s3.REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Server:
    """Swift with its objects in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.start()

    def start(self) -> None:
        command = [str(server_python()), swift_s3.__file__, str(self._root)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.address = self._process.stdout.readline().strip()
        assert self.address, "the server did not start"

    def kill(self) -> None:
        """SIGKILL to it; its servers are sent one by the kernel."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    one = Server(tmp_path / "swift")
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": one.address}).items():
        monkeypatch.setenv(name, value)
    fs.FileSystem.from_uri(f"{BUCKET}?allow_bucket_creation=true")[0].create_dir("bucket")
    yield one
    one.kill()


def requests(server: Server, line: Sequence[str], kill_before: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a line whose server dies before a request, 0: before none; how many requests it made."""
    count = 0

    def note(number: int) -> None:
        nonlocal count
        count = number
        if number == kill_before:
            server.kill()

    with unreliable(server.address, seed=0, share=0.0, before_request=note) as address, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode in ((0, 2) if kill_before else (0,)), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return count


def test_a_run(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.finish(tmp_path / "whole")
    undisturbed = requests(server, runs.command(f"{BUCKET}/undisturbed"), 0, monkeypatch)
    for share in SHARES:
        store, moment = f"{BUCKET}/{share:g}", f"at {share:.0%} of {undisturbed} requests"
        requests(server, runs.command(store), 1 + int(share * undisturbed), monkeypatch)
        server.start()
        assert not list(damages(ObjectStore(store), runs.silent)), moment
        runs.finish(store)
        assert runs.scores(store) == runs.scores(tmp_path / "whole"), moment


def test_promotions(server: Server, trained: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alias names the step before or the next one, and its history is complete."""
    fs.copy_files(trained, BUCKET)
    line = [sys.executable, "-m", "raycner", "promote", "columns:{step}", "production", "--store", BUCKET]

    def promote(step: int, kill_before: int) -> int:
        return requests(server, [word.format(step=step) for word in line], kill_before, monkeypatch)

    undisturbed = promote(1, 0)
    for number, share in enumerate(SHARES, start=1):
        step = 1 + number % 3
        before = history(ObjectStore(BUCKET), "production")
        promote(step, 1 + int(share * undisturbed))
        server.start()
        after = history(ObjectStore(BUCKET), "production")
        assert after[: len(before)] == before and len(after) <= len(before) + 1
        assert find_alias(ObjectStore(BUCKET), "production") == after[-1]
        promote(step, 0)
        current = find_alias(ObjectStore(BUCKET), "production")
        numbers = [record.number for record in history(ObjectStore(BUCKET), "production")]
        assert current and current.step == step and numbers == list(range(1, current.number + 1))
