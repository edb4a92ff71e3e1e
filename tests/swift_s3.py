"""A real S3-compatible server for tests: OpenStack Swift with its s3api, on loopback and on disk, without root.

    python swift_s3.py ROOT

Run it with the interpreter of the environment that holds `swift`. It prints the endpoint when all servers answer, and
stops them when its standard input ends: a test run that is killed leaves nothing behind. ROOT needs a filesystem with
user extended attributes; where servers of an earlier start were killed, they start again with their objects at the same
address. What it does not stand in for: If-Match on PUT, stored checksums, IAM, throttling, regions.
"""

import configparser
import ctypes
import getpass
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ACCESS_KEY, SECRET_KEY, REGION = "test:tester", "testing", "us-east-1"  # tempauth spells a key account:user
KINDS = ("proxy", "object", "container", "account")

SWIFT = """[swift-hash]
swift_hash_path_suffix = {salt}
[storage-policy:0]
name = default
default = yes
"""
COMMON = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {etc}
user = {user}
workers = 0
log_level = INFO
log_address = {root}/no-syslog
devices = {root}/srv
mount_check = false
fallocate_reserve = 0
"""
# The time-outs are long because test machines are slow.
STORAGE = """[pipeline:main]
pipeline = healthcheck {kind}-server
[filter:healthcheck]
use = egg:swift#healthcheck
[app:{kind}-server]
use = egg:swift#{kind}
conn_timeout = 5
node_timeout = 30
container_update_timeout = 30
"""
# Without the suppression limits the proxy shuns a storage server for a minute after a few failed requests.
PROXY = f"""[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck listing_formats condlock bulk s3api tempauth copy dlo slo proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:condlock]
paste.filter_factory = s3condlock:filter_factory
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = {REGION}
max_upload_part_num = 10000
[filter:tempauth]
use = egg:swift#tempauth
user_{ACCESS_KEY.replace(":", "_")} = {SECRET_KEY} .admin
[filter:copy]
use = egg:swift#copy
[filter:dlo]
use = egg:swift#dlo
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
max_manifest_size = 33554432
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
conn_timeout = 5
node_timeout = 30
recoverable_node_timeout = 30
error_suppression_interval = 1
error_suppression_limit = 1000000
"""


def configure(root: Path) -> dict[str, int]:
    """Write the configuration and the rings of a one-machine cluster; the port of every server."""
    from swift.common.ring import RingBuilder

    etc = root / "etc"
    for folder in (etc, root / "log", root / "srv" / "d1"):
        folder.mkdir(parents=True)
    (etc / "swift.conf").write_text(SWIFT.format(salt=secrets.token_hex(8)))
    ports = dict(zip(KINDS, free_ports(len(KINDS)), strict=True))
    for kind, port in ports.items():
        text = COMMON + (PROXY if kind == "proxy" else STORAGE)
        content = text.format(kind=kind, port=port, etc=etc, root=root, user=getpass.getuser())
        (etc / f"{kind}-server.conf").write_text(content)
        if kind != "proxy":
            ring = RingBuilder(4, 1, 1)  # 2**4 partitions, one replica, movable after one hour
            place = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
            ring.add_dev({"region": 1, "zone": 1, "weight": 1, "device": "d1", "meta": "", **place})
            ring.rebalance()
            ring.get_ring().save(str(etc / f"{kind}.ring.gz"))
    return ports


def configured_ports(root: Path) -> dict[str, int]:
    """The port of every server of a cluster that was configured before."""
    ports = {}
    for kind in KINDS:
        settings = configparser.ConfigParser()
        settings.read(root / "etc" / f"{kind}-server.conf")
        ports[kind] = settings.getint("DEFAULT", "bind_port")
    return ports


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on. Swift itself would share a taken one (SO_REUSEPORT) and never complain."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(root: Path, kind: str) -> "subprocess.Popen[bytes]":
    here = str(Path(__file__).absolute().parent)  # s3condlock.py lies here
    paths = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    program = Path(sys.executable).parent / f"swift-{kind}-server"
    command = [sys.executable, str(program), str(root / "etc" / f"{kind}-server.conf"), "-v"]
    with (root / "log" / f"{kind}.log").open("ab") as log:
        return subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,
        )


def die_with_parent() -> None:
    """On Linux, have this process killed when the thread that started it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def await_health(server: "subprocess.Popen[bytes]", port: int, patience: float = 60) -> None:
    end = time.monotonic() + patience
    while server.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthcheck", timeout=2) as answer:
                if answer.read() == b"OK":
                    return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"no answer on port {port}; the servers' logs are in {sys.argv[1]}/log")


def main(root: Path) -> None:
    ports = configured_ports(root) if (root / "etc").exists() else configure(root)
    servers = {kind: start(root, kind) for kind in reversed(KINDS)}
    try:
        for kind, server in servers.items():
            await_health(server, ports[kind])
        print(f"http://127.0.0.1:{ports['proxy']}", flush=True)
        sys.stdin.read()
    finally:
        for server in servers.values():
            server.kill()
            server.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
