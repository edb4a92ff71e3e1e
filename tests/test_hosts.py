"""A worker group over two hosts with addresses of their own: joined network namespaces, where those are allowed."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

import runs
from processes import PATIENCE, descendants, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(3 * PATIENCE)]
SETTINGS = ("scenario.protocol.first=2", "optim.precision=fp64")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass(frozen=True)
class Host:
    """A network namespace, whose one interface is eth0."""

    name: str
    address: str

    def line(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *words]


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    first, second = (Host(f"raycner-{os.getpid()}-{n}", f"10.77.0.{n}") for n in (1, 2))
    with ExitStack() as made:
        try:
            for host in (first, second):
                ip("netns", "add", host.name)
                made.callback(ip, "netns", "del", host.name)
            ip("-n", first.name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", second.name)
            for host in (first, second):
                ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
                for interface in ("lo", "eth0"):
                    ip("-n", host.name, "link", "set", interface, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here: {error}")
        yield first, second


def test_two_workers_on_two_hosts(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    """The head and its worker on one, the other worker on the other: they learn what one process learns."""
    head, other = hosts
    environment = runs.with_token(tmp_path / "token")
    gcs = f"{head.address}:6379"
    start = ["ray", "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
    lines = [
        head.line(*start, "--head", "--port=6379", "--include-dashboard=false", f"--node-ip-address={head.address}"),
        other.line(*start, f"--address={gcs}", f"--node-ip-address={other.address}"),
    ]
    nodes: list[subprocess.Popen[bytes]] = []
    below: list[int] = []
    runs.finish(tmp_path / "alone", *SETTINGS)
    try:
        for number, line in enumerate(lines):
            log = tmp_path / f"node-{number}.log"
            with log.open("wb") as output:
                nodes.append(subprocess.Popen(line, env=environment, stdout=output, stderr=output))
            wait_until(lambda log=log: "This command will now block" in log.read_text(), nodes[-1])  # type: ignore[misc]
        command = head.line(*runs.command(tmp_path / "shared", *SETTINGS, "compute.workers=2"))
        shared = environment | {"RAY_ADDRESS": gcs}
        done = subprocess.run(command, env=shared, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        for node in nodes:
            below += [pid for pid, _ in descendants(node.pid)]
            node.terminate()
            node.wait(60)
        for pid in below:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, 9)
    ones, twos = runs.ledger(tmp_path / "alone").records(), runs.ledger(tmp_path / "shared").records()
    assert [record.workers for record in twos] == [2, 2]
    assert [(record.fingerprint, record.test) for record in ones] == [(r.fingerprint, r.test) for r in twos]
