"""The log that machines read: each line is JSON, and says where it belongs."""

import io
import json
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

import runs
from raycner.__main__ import main
from raycner.callbacks.json_log import JsonLog
from raycner.callbacks.progress import ProgressDisplay
from raycner.callbacks.search_progress import SearchProgressDisplay
from raycner.events import (
    ComparisonEvent,
    EpochFinished,
    Event,
    EventOf,
    Failed,
    Message,
    RoundStarted,
    RunEnded,
    RunEvent,
    RunsPlanned,
    ScoringStarted,
    SearchEvent,
    StepAdvanced,
    StepFinished,
    StepReused,
    StepStarted,
    TrialCrashed,
    TrialFinished,
    TrialReported,
    TrialStarted,
    Waiting,
    event_name,
    ignore_events,
)
from raycner.storage.ledger import StepRecord
from raycner.storage.searches import TrialRecord

LINE = ("--log", "json", "jobs/demo.yaml", *runs.SMALL, "compute.workers=0", "optim.epochs=1", "optim.first.epochs=1")


def test_every_event_of_a_run_is_a_line_with_its_place(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *LINE, f"store={tmp_path}"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (started, _, _) = [line for line in lines if line["event"] == "step_started"]
    assert (started["index"], started["of"], started["types"]) == (0, 3, ["location"])
    (finished,) = [line for line in lines if line["event"] == "step_finished" and line["step"] == 3]
    assert {"run", "fingerprint", "time", "micro", "macro"} <= {*finished, *finished["record"]}
    assert (tmp_path / "runs" / finished["run"] / "ledger.json").exists()
    assert (tmp_path / "steps" / finished["fingerprint"] / "MANIFEST").exists()
    epochs = [line for line in lines if line["event"] == "epoch_finished"]
    assert [(line["step"], line["number"]) for line in epochs] == [(1, 1), (2, 1), (3, 1)]
    assert all({"losses", "dev_score", "seconds"} <= line.keys() for line in epochs)
    assert not [line for line in lines if line["event"] == "step_advanced"]

    assert main(["run", *LINE, f"store={tmp_path}"]) == 0
    again = [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()]
    assert again.count("step_reused") == 3 and "step_finished" not in again


def test_a_failure_is_an_event(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *LINE, f"store={tmp_path}", "scenario.order=[nobody]"]) == 2
    line = json.loads(capfd.readouterr().err.splitlines()[0])
    assert line["event"] == "failed" and "nobody" in line["reason"]


def test_nan_is_written_as_valid_json() -> None:
    lines = io.StringIO()
    JsonLog(lines)(EpochFinished(number=1, losses={"ce": float("nan")}, dev_score=0.0, seconds=1.0))
    assert json.loads(lines.getvalue(), parse_constant=pytest.fail)["losses"] == {"ce": "NaN"}


def test_every_event_is_a_line_of_its_fields() -> None:
    """A field that JSON cannot say, or an event without documentation, would show here."""
    counts = {"a": (1, 0, 1)}
    facts = {"new": ("a",), "seen": ("a",), "sentences": 1, "dev": counts, "test": counts, "epochs": (), "workers": 1}
    record = StepRecord(index=0, fingerprint="f", best_epoch=0, seconds=1.0, **facts)
    settings = {"optim.clip": None}
    scores = {"values": (0.1,), "scores": (0.1,)}
    trial = TrialRecord(number=1, state="complete", settings=settings, trained=1, shared=0, seconds=1.0, **scores)
    events: list[Event] = [
        Message("hello"),
        Waiting("for a lock"),
        Failed("ValueError: no"),
        StepStarted(run="r", index=0, of=1, fingerprint="f", types=("a",), epochs=1),
        EpochFinished(number=1, losses={"ce": 1.0}, dev_score=0.5, seconds=1.0),
        ScoringStarted(),
        StepReused(record),
        StepFinished(record),
        RoundStarted(name="r", trials=2, steps=1, finished=(trial,)),
        TrialStarted(number=1, settings=settings),
        TrialReported(number=1, score=0.1),
        TrialCrashed(number=1),
        TrialFinished(trial),
        RunsPlanned(("kd, seed 0",), 2),
        RunEnded("kd, seed 0"),
    ]
    every = {*get_args(RunEvent), *get_args(ComparisonEvent), *get_args(SearchEvent)}
    assert {type(event) for event in events} | {StepAdvanced, EventOf} == every
    for event in events:
        text = io.StringIO()
        JsonLog(text)(event)
        line = json.loads(text.getvalue())
        assert line["event"] == event_name(type(event))
        assert {field.name for field in fields(event)} <= line.keys()
        assert type(event).__doc__ and pickle.loads(pickle.dumps(event)) == event


def test_runs_that_go_in_parallel_have_lines_of_their_own() -> None:
    lines = io.StringIO()
    log = JsonLog(lines)
    for title in ("kd, seed 0", "kd, seed 1"):
        log(EventOf(title, StepStarted(run=title[-1], index=0, of=1, fingerprint="f", types=("a",), epochs=1)))
    log(EventOf("kd, seed 0", StepAdvanced(0.5)))
    log(EventOf("kd, seed 0", ScoringStarted()))
    *_, last = map(json.loads, lines.getvalue().splitlines())
    assert (last["event"], last["title"], last["run"], last["step"]) == ("scoring_started", "kd, seed 0", "0", 1)
    assert len(lines.getvalue().splitlines()) == 3


def test_handlers_ignore_an_event_that_they_do_not_know() -> None:
    """A newer worker may send one."""

    @dataclass(frozen=True)
    class Novelty:
        text: str = "new"

    console = Console(file=io.StringIO())
    for handler in (ProgressDisplay(console), SearchProgressDisplay(console), ignore_events):
        handler(Novelty())  # type: ignore[arg-type]
    lines = io.StringIO()
    JsonLog(lines)(Novelty())  # type: ignore[arg-type]
    assert json.loads(lines.getvalue())["event"] == "novelty"
