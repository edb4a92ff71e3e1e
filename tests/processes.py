"""Processes that tests start: what runs below them, and waiting for them."""

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

PATIENCE = 900.0
"""Seconds after which a wait has failed. Far more than any test needs, since other work may keep all cores busy."""


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    """Every process below `pid`: (pid, command line)."""
    children: dict[int, list[tuple[int, str]]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (OSError, ValueError):
            continue
        children.setdefault(parent, []).append((int(folder.name), command))
    below = children.get(pid, [])
    while below:
        child, command = below.pop()
        yield child, command
        below += children.get(child, [])


def wait_until(ready: Callable[[], object], process: "subprocess.Popen[Any] | None" = None) -> None:
    """Wait for a condition. Fails when `process`, on which it depends, ends first."""
    end = time.monotonic() + PATIENCE
    while not ready():
        if process is not None and process.poll() is not None and not ready():
            output = process.communicate()[0] if process.stdout else ""
            raise AssertionError(f"the process ended with status {process.returncode} before the condition: {output}")
        assert time.monotonic() < end, "the condition never came true"
        time.sleep(0.005)


def wait_until_gone(pids: Iterable[int]) -> None:
    """Wait for processes to end."""
    remaining = set(pids)

    def gone() -> bool:
        remaining.intersection_update({pid for pid in remaining if Path(f"/proc/{pid}").exists()})
        return not remaining

    wait_until(gone)
