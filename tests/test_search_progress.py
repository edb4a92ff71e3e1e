"""What a person sees of a search: a live table in a terminal, lines elsewhere."""

import io

from rich.console import Console

from raycner.callbacks.search_progress import Scoreboard
from raycner.storage.searches import TrialRecord


def ended(number: int, state: str, reason: str = "") -> TrialRecord:
    return TrialRecord(
        number=number,
        state=state,  # type: ignore[arg-type]
        settings={"method.kd_weight": 0.5},
        values=(),
        scores=(0.0, 0.01),
        trained=2,
        shared=1,
        seconds=3.0,
        reason=reason,
    )


def shown(terminal: bool) -> str:
    told = io.StringIO()
    with Scoreboard(Console(file=told, width=80, force_terminal=terminal, color_system=None)) as board:
        board("round", name="dld-1234", trials=4, steps=3, done=[ended(0, "complete")])
        for number in (1, 2):
            board("trial", number=number, settings={"method.kd_weight": 0.123456})
            board("trial_reported", number=number, score=0.01 * number)
        board("trial_finished", record=ended(1, "failed", "out of memory"))
        board("trial", number=3, settings={"method.kd_weight": 9.0})
        board("trial_crashed", number=3)
    return told.getvalue()


def test_a_trial_is_a_line_where_nobody_watches() -> None:
    lines = shown(terminal=False).splitlines()
    assert lines[0] == "dld-1234: 4 trials of 3 steps, 1 of them done before"
    assert lines[1].split()[:5] == ["trial", "1", "failed", "+1.0", "method.kd_weight=0.123"]
    assert "out of memory" in lines[1]
    assert len(lines) == 2


def test_the_table_shows_running_trials_first_and_fits() -> None:
    table = shown(terminal=True)
    assert all(len(line) <= 80 or "\x1b" in line for line in table.splitlines())
    rows = [line for line in table.splitlines() if "kd_weight" in line or "out of memory" in line]
    assert "running" in rows[0]
    assert "2 of 4 trials" in table
