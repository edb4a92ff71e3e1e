"""A cluster on this machine, as the README sets one up: a head with a token, nodes that join it, jobs handed to it."""

import os
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import runs
from processes import descendants, wait_until
from swift_s3 import free_ports

ROOT = Path(__file__).parents[1]


class LocalCluster:
    """A head and the nodes that have joined it. Whoever has `environment` may use it."""

    def __init__(self, folder: Path) -> None:
        self.environment = runs.with_token(folder / "token")
        self._folder = folder
        self._address = ""
        self._started: list[subprocess.Popen[bytes]] = []
        self._files = tempfile.TemporaryDirectory(prefix="nodes", dir="/tmp")  # Ray's sockets need a short path

    @classmethod
    @contextmanager
    def running(cls, folder: Path, *, head_cpus: int) -> "Iterator[LocalCluster]":
        """A cluster of one node, which takes jobs. Its processes end with the context, and nothing else does."""
        cluster = cls(folder)
        try:
            cluster._start_head(head_cpus)
            yield cluster
        finally:
            for node in reversed(cluster._started):
                cluster.kill(node)
            cluster._files.cleanup()

    @property
    def head(self) -> "subprocess.Popen[bytes]":
        return self._started[0]

    def join(self, cpus: int) -> "subprocess.Popen[bytes]":
        """Start a node of so many CPUs that joins the head, with files of its own as on a machine of its own."""
        (agent,) = free_ports(1)
        options = (f"--address={self._address}", f"--num-cpus={cpus}", f"--dashboard-agent-listen-port={agent}")
        return self._start("node", *options)

    def kill(self, node: "subprocess.Popen[bytes]") -> None:
        """End a node as a power cut does: all of its processes at once."""
        for pid in [node.pid, *(pid for pid, _ in descendants(node.pid))]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.wait(60)

    def submit(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        """`jobs/submit.sh WORDS`."""
        return subprocess.Popen(
            ["jobs/submit.sh", *words],
            cwd=ROOT,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _start_head(self, cpus: int) -> None:
        gcs, dashboard, agent, client = free_ports(4)
        self._address = f"127.0.0.1:{gcs}"
        self.environment["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{dashboard}"
        options = ("--head", f"--port={gcs}", f"--num-cpus={cpus}", f"--ray-client-server-port={client}")
        ports = (f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}")
        head = self._start("head", *options, "--dashboard-host=127.0.0.1", *ports)
        wait_until(self._answers, head)

    def _start(self, name: str, *options: str) -> "subprocess.Popen[bytes]":
        files = f"--temp-dir={self._files.name}/{len(self._started)}"
        command = ["ray", "start", "--block", "--disable-usage-stats", files, *options]
        with (self._folder / f"{name}.log").open("ab") as log:
            node = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        self._started.append(node)
        return node

    def _answers(self) -> bool:
        """Whether the head takes jobs."""
        request = urllib.request.Request(f"{self.environment['RAY_API_SERVER_ADDRESS']}/api/jobs/")
        token = Path(self.environment["RAY_AUTH_TOKEN_PATH"]).read_text("utf-8")
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False
