"""Fixtures that the tests of several subpackages share."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pyarrow import fs

import swift_s3

pytest_plugins = ["fixtures_tiny"]
REPOSITORY = Path(__file__).parents[1]


def server_python() -> Path:
    """The interpreter of the environment that holds the S3 servers of the tests."""
    python = Path(os.environ.get("RAYCNER_SWIFT_PYTHON") or REPOSITORY / ".venv-swift" / "bin" / "python")
    if not python.exists():
        pytest.fail("the S3 server of the tests is not installed: run `make test`, which installs it", pytrace=False)
    return python


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real S3-compatible server: the environment variables that lead a process to it."""
    command = [str(server_python()), swift_s3.__file__, str(tmp_path_factory.mktemp("swift"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin and server.stdout
        endpoint = server.stdout.readline().strip()
        if not endpoint:
            pytest.fail("the S3 server of the tests did not start: its words are on standard error", pytrace=False)
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": swift_s3.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": swift_s3.SECRET_KEY,
            "AWS_DEFAULT_REGION": swift_s3.REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        server.stdin.close()


@pytest.fixture
def s3_uri(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a fresh bucket; this process, and those it starts, find the server through their environment."""
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{uuid4().hex}"
    fs.FileSystem.from_uri(f"s3://{bucket}?allow_bucket_creation=true")[0].create_dir(bucket)
    return f"s3://{bucket}"
