"""Runs that go in parallel: what they train, and what a person sees of them."""

import io
from pathlib import Path

import pytest

import raycner
import runs
from raycner.__main__ import main
from raycner.callbacks.comparison_progress import ComparisonProgressDisplay
from raycner.console import TextConsole
from raycner.errors import InputError
from raycner.events import (
    EventOf,
    Message,
    RunEnded,
    RunsPlanned,
    StepAdvanced,
    StepFinished,
    StepReused,
    StepStarted,
    Waiting,
)
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore
from test_ledger import RECORD

ROWS = {"plain": ["method={name: finetuning}"], "kd": ["method={name: extend_ner}"]}
TINY = {"optim.epochs": 1, "optim.first.epochs": 1}


@pytest.mark.ray
def test_runs_in_parallel_train_what_they_train_one_after_another(tmp_path: Path) -> None:
    stores = [str(tmp_path / name) for name in ("one_by_one", "parallel")]
    events: list[object] = []
    one_by_one = raycner.compare(runs.SMALL, ROWS, TINY, progress=False, store=stores[0])
    parallel = raycner.compare(runs.SMALL, ROWS, TINY, progress=events.append, store=stores[1], parallel=2)
    assert parallel.markdown().split("minutes")[0] == one_by_one.markdown().split("minutes")[0]
    ours, theirs = (
        {
            ledger.run: [
                (record.dev, record.test, [epoch.losses for epoch in record.epochs]) for record in ledger.records()
            ]
            for ledger in RunLedger.all(ObjectStore(s))
        }
        for s in stores
    )
    assert ours == theirs
    trained = [event for event in events if isinstance(event, EventOf) and isinstance(event.event, StepFinished)]
    reused = [event for event in events if isinstance(event, EventOf) and isinstance(event.event, StepReused)]
    assert (len(trained), len(reused)) == (5, 1), "the first step is shared"
    assert sum(isinstance(event, RunEnded) for event in events) == 2


def test_a_parallel_run_trains_in_one_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"compute\.workers: a run of a parallel comparison trains in one process"):
        raycner.compare(runs.SMALL, ROWS, {"compute.workers": 2}, progress=False, store=str(tmp_path), parallel=2)
    with pytest.raises(InputError, match="parallel 0: at least 1"):
        raycner.compare(runs.SMALL, ROWS, progress=False, store=str(tmp_path), parallel=0)
    assert not list(tmp_path.iterdir())
    assert main(["compare", *runs.SMALL, "--rows", str(tmp_path / "none.yaml"), "--parallel", "two"]) == 2
    assert "--parallel" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [False, True])
def test_every_run_has_a_row(terminal: bool) -> None:
    printed = io.StringIO()
    console = TextConsole(file=printed, force_terminal=terminal, width=100)
    started = StepStarted(run="r", index=0, of=2, fingerprint="f", types=("a",), epochs=1)
    with ComparisonProgressDisplay(console) as display:
        display(Message("reading the corpus"))
        display(RunsPlanned(("kd, seed 0", "kd, seed 1"), 2))
        display(EventOf("kd, seed 0", started))
        display(EventOf("kd, seed 0", StepAdvanced(0.25)))
        display(EventOf("kd, seed 1", Waiting("waiting for step 1")))
        shown = TextConsole(file=io.StringIO(), width=100)
        shown.print(display._table())
        display(EventOf("kd, seed 0", StepFinished(RECORD)))
        display(EventOf("kd, seed 1", Message("dev has no entity of a")))
        display(RunEnded("kd, seed 0"))
    table = shown.file.getvalue()  # type: ignore[attr-defined]
    assert "25 %" in table and "waiting" in table and "0 of 2 runs complete" in table
    lines = printed.getvalue()
    assert "reading the corpus" in lines and "2 runs, 2 at a time" in lines and "kd, seed 1: dev has no" in lines
    assert ("kd, seed 0: step 1 of 2" in lines) is not terminal
