"""What a person sees of a search: a live table in a terminal, lines elsewhere."""

import io

from rich.console import Console

from raycner.callbacks.search_progress import SearchProgressDisplay
from raycner.events import RoundStarted, TrialCrashed, TrialFinished, TrialReported, TrialStarted
from raycner.storage.searches import TrialRecord


def record(number: int, state: str, reason: str = "") -> TrialRecord:
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


def output(terminal: bool) -> str:
    """What a search of four trials prints: one fails, one crashes, one is still running."""
    text = io.StringIO()
    with SearchProgressDisplay(Console(file=text, width=80, force_terminal=terminal, color_system=None)) as display:
        display(RoundStarted(name="dld-1234", trials=4, steps=3, finished=(record(0, "complete"),)))
        for number in (1, 2):
            display(TrialStarted(number=number, settings={"method.kd_weight": 0.123456, "optim.clip": None}))
            display(TrialReported(number=number, score=0.01 * number))
        display(TrialFinished(record(1, "failed", "out of memory")))
        display(TrialStarted(number=3, settings={"method.kd_weight": 9.0}))
        display(TrialCrashed(number=3))
    return text.getvalue()


def test_each_trial_is_a_line_without_a_terminal() -> None:
    lines = output(terminal=False).splitlines()
    assert lines[0] == "dld-1234: 4 trials of 3 steps, 1 of them finished before"
    assert lines[1].split()[:5] == ["trial", "1", "failed", "+1.0", "method.kd_weight=0.123"]
    assert "optim.clip=null" in lines[1]
    assert "out of memory" in lines[1]
    assert len(lines) == 2


def test_the_table_shows_running_trials_first_and_fits() -> None:
    table = output(terminal=True)
    assert all(len(line) <= 80 or "\x1b" in line for line in table.splitlines())
    rows = [line for line in table.splitlines() if "kd_weight" in line or "out of memory" in line]
    assert "running" in rows[0]
    assert "2 of 4 trials" in table
