"""The table that drills end with: which fault, how often tried, how often recovered from, and in how many seconds."""

from collections import defaultdict
from statistics import median

import pytest

SECONDS = pytest.StashKey[dict[str, list[float | None]]]()
"""Fault -> seconds to recover, one a try; None where it did not."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SECONDS] = defaultdict(list)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tried = config.stash[SECONDS]
    if not tried:
        return
    terminalreporter.write_line("")
    terminalreporter.write_line("| fault | tried | recovered | seconds to recover, median and most |")
    terminalreporter.write_line("|---|---|---|---|")
    for fault, seconds in tried.items():
        done = [value for value in seconds if value is not None]
        took = f"{median(done):.0f}, {max(done):.0f}" if done else ""
        terminalreporter.write_line(f"| {fault} | {len(seconds)} | {len(done)} | {took} |")
