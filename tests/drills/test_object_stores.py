"""Drills of object stores: two real servers, behind a relay that answers errors, late, in part, or not at all.

    make test-chaos

Swift keeps its objects on disk, moto in memory. A third server that speaks S3 and installs with pip was not to be had.
"""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pyarrow import fs

import runs
from conftest import server_python
from drills.unreliable import FAULTS, unreliable
from processes import PATIENCE, wait_until
from raycner.errors import InputError
from raycner.storage.store import ObjectStore
from swift_s3 import die_with_parent, free_ports

pytestmark = [pytest.mark.chaos, pytest.mark.s3, pytest.mark.timeout(3 * PATIENCE)]
CREATE = """
import sys
from raycner.storage.store import ObjectStore
store = ObjectStore(sys.argv[1])
print(store.exists("nothing"), flush=True)
for line in sys.stdin:
    print(store.create(line.strip(), sys.argv[2].encode()), flush=True)
"""


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """moto's S3 server: the environment variables that lead a process to it."""
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    with (tmp_path_factory.mktemp("moto") / "log").open("wb") as log:
        command = [str(server_python()), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def answers() -> bool:
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_until(answers, server)
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        common = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
        yield {"AWS_ENDPOINT_URL": address, **dict.fromkeys(names, "testing"), **common}
    finally:
        server.kill()
        server.wait()


@pytest.fixture(params=["swift", "moto"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a fresh bucket of each server."""
    server = request.getfixturevalue("s3_server" if request.param == "swift" else "moto_server")
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid4().hex}"
    fs.FileSystem.from_uri(f"s3://{name}?allow_bucket_creation=true")[0].create_dir(name)
    return f"s3://{name}"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with a large file, which is sent in parts."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "large").write_bytes(os.urandom(20 << 20))
    (tmp_path / "files" / "small").write_bytes(b"small")
    return tmp_path / "files"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_behind_a_fault(
    fault: str, bucket: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each operation does its work or raises one line; what is read is what was written, and what is whole stays so."""
    direct = ObjectStore(bucket)
    for name in ("a", "b", "c"):
        direct.write(f"keys/{name}", name.encode() * 10_000)
    with unreliable(os.environ["AWS_ENDPOINT_URL"], seed=3, share=0.3, faults=[fault]) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for number in range(8):
            try:
                store = ObjectStore(bucket)
                assert store.list("keys") == ["keys/a", "keys/b", "keys/c"]
                assert store.read("keys/b") == b"b" * 10_000
                store.write("keys/c", b"c" * 10_000)
                store.push(files, f"steps/{number}")
                store.pull(f"steps/{number}", tmp_path / f"pulled-{number}")
            except InputError as error:
                assert "cannot be" in str(error) or "damaged" in str(error), error
    for number in range(8):
        if direct.manifest(f"steps/{number}") is not None:
            assert direct.damage(f"steps/{number}") == ""
        for name in ("large", "small"):
            pulled = tmp_path / f"pulled-{number}" / name
            assert not pulled.exists() or pulled.read_bytes() == (files / name).read_bytes()
    assert direct.read("keys/c") == b"c" * 10_000


def test_of_eight_creators_one_succeeds(bucket: str) -> None:
    """Eight processes create the same object at the same moment, ten times; each loser knows that it lost."""
    creators = [
        subprocess.Popen([sys.executable, "-c", CREATE, bucket, str(n)], text=True, stdin=-1, stdout=-1)
        for n in range(8)
    ]
    for creator in creators:
        assert creator.stdout and creator.stdout.readline() == "False\n"
    for key in (f"locks/{number}" for number in range(10)):
        for creator in creators:
            assert creator.stdin
            creator.stdin.write(f"{key}\n")
            creator.stdin.flush()
        winners = [n for n, creator in enumerate(creators) if creator.stdout and creator.stdout.readline() == "True\n"]
        assert len(winners) == 1, winners
        assert ObjectStore(bucket).read(key) == str(winners[0]).encode()
    for creator in creators:
        creator.communicate(timeout=60)


@pytest.mark.parametrize("number", range(2))
def test_a_run_behind_all_faults(number: int, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request in twenty meets a fault; the same line, until it ends, learns what an undisturbed run does."""
    runs.finish(tmp_path / "whole")
    with (
        unreliable(os.environ["AWS_ENDPOINT_URL"], seed=number, share=0.05) as address,
        monkeypatch.context() as patch,
    ):
        patch.setenv("AWS_ENDPOINT_URL", address)
        first = subprocess.run(runs.command(bucket), capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert first.returncode in (0, 2), first.stdout + first.stderr
    runs.finish(bucket)
    assert runs.scores(bucket) == runs.scores(tmp_path / "whole")
