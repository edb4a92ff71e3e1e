"""Drills of object stores: real servers, behind a relay that answers errors, late, in part, or not at all.

    make test-chaos

Swift keeps its objects on disk, moto in memory. s3rver, which npm installs, is tried where it is on the PATH; it has no
conditional writes, and needs clients that append no checksums.
"""

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
COMMON = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
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
    command = [str(server_python()), "-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}"]
    with _served(command, tmp_path_factory) as address:
        yield {"AWS_ENDPOINT_URL": address, **dict.fromkeys(KEYS, "testing"), **COMMON}


@pytest.fixture(scope="session")
def s3rver_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The same of s3rver."""
    program = shutil.which("s3rver")
    if program is None:
        pytest.skip("npm install --global s3rver")
    folder = tmp_path_factory.mktemp("s3rver-objects")
    with _served([program, "-d", str(folder), "-a", "127.0.0.1", "-p", "{port}"], tmp_path_factory) as address:
        plain = dict.fromkeys(("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"), "when_required")
        yield {"AWS_ENDPOINT_URL": address, **dict.fromkeys(KEYS, "S3RVER"), **COMMON, **plain}


@contextmanager
def _served(command: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that runs during the block; `{port}` in its command is a free one."""
    (port,) = free_ports(1)
    words = [word.format(port=port) for word in command]
    environment = os.environ | {"NODE_OPTIONS": "--openssl-legacy-provider"}  # s3rver's ciphers are old
    with (tmp_path_factory.mktemp("server") / "log").open("wb") as log:
        server = subprocess.Popen(words, env=environment, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=2):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    try:
        wait_until(answers, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture(params=["swift", "moto", "s3rver"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a fresh bucket of each server."""
    server = request.getfixturevalue("s3_server" if request.param == "swift" else f"{request.param}_server")
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


@pytest.mark.parametrize("bucket", ["swift", "moto"], indirect=True)
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
