"""The log that machines read: each line is JSON, and says where it belongs."""

import io
import json
from pathlib import Path

import pytest

import runs
from raycner.__main__ import main
from raycner.callbacks.json_log import EventLog

LINE = ("--log", "json", "jobs/demo.yaml", *runs.SMALL, "compute.workers=0", "optim.epochs=1", "optim.first.epochs=1")


def test_every_event_of_a_run_is_a_line_with_its_place(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *LINE, f"store={tmp_path}"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (record,) = [line for line in lines if line["event"] == "record" and line["step"] == 3]
    assert {"run", "fingerprint", "time", "micro", "macro"} <= {*record, *record["record"]}
    assert (tmp_path / "runs" / record["run"] / "ledger.json").exists()
    assert (tmp_path / "steps" / record["fingerprint"] / "MANIFEST").exists()
    epochs = [line for line in lines if line["event"] == "epoch"]
    assert [(line["step"], line["number"]) for line in epochs] == [(1, 1), (2, 1), (3, 1)]
    assert not [line for line in lines if line["event"] == "advance"]


def test_a_failure_is_an_event(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *LINE, f"store={tmp_path}", "scenario.order=[nobody]"]) == 2
    said = json.loads(capfd.readouterr().err.splitlines()[0])
    assert said["event"] == "failed" and "nobody" in said["reason"]


def test_what_is_no_number_stays_json() -> None:
    lines = io.StringIO()
    EventLog(lines)("epoch", number=1, losses={"ce": float("nan")}, dev=0.0, seconds=1.0)
    assert json.loads(lines.getvalue(), parse_constant=pytest.fail)["losses"] == {"ce": "NaN"}
