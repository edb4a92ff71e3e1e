"""Trackers: a run's curves in files of other tools, whole whatever happened on the way, and never in the way."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from raycner.callbacks.trackers import TRACKERS, JsonLines, tracked
from raycner.config import ComputeConfig, RunConfig
from raycner.data.metrics import macro, micro
from raycner.errors import InputError
from raycner.hashing import fingerprint
from raycner.orchestration.runner import run
from raycner.storage.ledger import EpochRecord, StepRecord
from runs import ledger, scores, silent, small


def lines(path: Path) -> list[dict[str, Any]]:
    (file,) = path.glob("*.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def tracking(path: Path, tracker: str = "jsonl") -> RunConfig:
    return small(path / "store", f"compute.tracker={tracker}", f"compute.tracker_path={path / 'tracking'}")


def record(index: int, epochs: int = 2) -> StepRecord:
    """The record of a step that brought one type."""
    types = ("person", "new place", "product")[: index + 1]
    counts = dict.fromkeys(types, (3, 1, 1 + index))
    done = tuple(EpochRecord(epoch=e, losses={"ce": 1.0 / (1 + e)}, dev_score=0.5, seconds=1.0) for e in range(epochs))
    facts = {"fingerprint": f"{index:016x}", "sentences": 10, "best_epoch": 0, "seconds": 2.0, "workers": 1}
    return StepRecord(index=index, new=types[-1:], seen=types, dev=counts, test=counts, epochs=done, **facts)


def test_a_setting_names_every_tracker() -> None:
    for name in ("none", *TRACKERS):
        RunConfig.load([f"compute.tracker={name}"])
    with pytest.raises(InputError, match=r"compute\.tracker"):
        RunConfig.load(["compute.tracker=wandb"])


def test_no_step_is_renamed_by_a_tracker() -> None:
    assert fingerprint(small("store")) == fingerprint(small("store", "compute.tracker=jsonl"))
    assert ComputeConfig().tracker == "none"


def test_json_lines_say_each_epoch_and_each_step_of_a_run(tmp_path: Path) -> None:
    run(tracking(tmp_path), silent)
    first, *said = lines(tmp_path / "tracking")
    done = ledger(tmp_path / "store")
    assert first["run"] == done.run
    assert first["settings"]["method.base.name"] == "extend_ner"
    epochs, steps = [line for line in said if "epoch" in line], [line for line in said if "step" in line]
    assert [line["epoch"] for line in epochs] == list(range(1, 7))
    assert [line["step"] for line in steps] == [1, 2, 3]
    of_record = [epoch for r in done.records() for epoch in r.epochs]
    assert [line["dev/micro"] for line in epochs] == [epoch.dev_score for epoch in of_record]
    assert epochs[-1].keys() >= {"loss/ce", "loss/kd", "loss/dld_positive"}
    assert [line["test/micro"] for line in steps] == [micro(r.test) for r in done.records()]
    assert [line["test/macro"] for line in steps] == [macro(r.test) for r in done.records()]
    assert "test/old" not in steps[0] and {"test/old", "test/new"} <= steps[1].keys()

    before = scores(tmp_path / "store")
    run(tracking(tmp_path), silent)  # everything from the store: the view is as it was
    assert lines(tmp_path / "tracking") == [first, *said]
    assert scores(tmp_path / "store") == before


def test_what_a_gang_says_again_is_written_once(tmp_path: Path) -> None:
    with tracked(tracking(tmp_path), "mine", silent) as told:
        told("step", index=0)
        told("epoch", number=1, losses={"ce": 1.0}, dev=0.5, seconds=1.0)
        told("step", index=0)  # its workers died, and it begins anew, from nothing
        told("epoch", number=1, losses={"ce": 1.0}, dev=0.5, seconds=1.0)
        told("record", record=record(0))  # the second epoch was never told: the record has it
        told("step", index=1)
        told("record", record=record(1, epochs=3))
        told("step", index=0)
        told("record", record=record(0))
    assert [line.get("epoch") for line in lines(tmp_path / "tracking")[1:]] == [1, 2, None, 3, 4, 5, None]


def test_notices_are_handed_on_as_they_were(tmp_path: Path) -> None:
    heard: list[tuple[str, dict[str, object]]] = []
    with tracked(tracking(tmp_path), "mine", lambda event, **facts: heard.append((event, facts))) as told:
        told("say", line="hello")
        told("step", index=0, of=2)
    assert heard == [("say", {"line": "hello"}), ("step", {"index": 0, "of": 2})]


def test_a_number_that_is_none_is_said_in_json(tmp_path: Path) -> None:
    tracker = JsonLines.open(str(tmp_path), "mine", {})
    tracker.write("epoch", 1, {"loss/ce": float("nan"), "dev/micro": 0.5})
    tracker.close()
    assert lines(tmp_path)[1] == {"epoch": 1, "loss/ce": "nan", "dev/micro": 0.5}


def test_a_tracker_that_fails_is_said_once_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(JsonLines, "write", full)
    heard: list[str] = []
    with caplog.at_level(logging.WARNING), tracked(tracking(tmp_path), "mine", lambda e, **_: heard.append(e)) as told:
        for index in (0, 1):
            told("step", index=index)
            told("record", record=record(index))
    assert heard == ["step", "record"] * 2
    assert [r.getMessage() for r in caplog.records if "No space left" in r.getMessage()] == [
        "the tracker has failed, and the run goes on without it: OSError: [Errno 28] No space left on device"
    ]


def test_a_place_where_no_folder_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tracking").write_text("a file")
    with pytest.raises(InputError, match=r"compute\.tracker_path"), tracked(tracking(tmp_path), "mine", silent):
        pass


@pytest.mark.parametrize(("tracker", "package"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow")])
def test_a_package_that_is_missing_is_refused(
    tracker: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(InputError, match=rf"{package} is not installed; pip install 'raycner\[{tracker}\]'"),
        tracked(tracking(tmp_path, tracker), "mine", silent),
    ):
        pass
    assert not (tmp_path / "tracking").exists()


def two_steps(config: RunConfig) -> None:
    """A run of two steps, told twice: the second view takes the place of the first."""
    for _ in range(2):
        with tracked(config, "mine", silent) as told:
            for index in (0, 1):
                told("step", index=index)
                told("record", record=record(index))


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    two_steps(tracking(tmp_path, "tensorboard"))
    events = reader.EventAccumulator(str(tmp_path / "tracking" / "mine")).Reload()
    losses = [(event.step, event.value) for event in events.Scalars("epoch/loss/ce")]
    assert losses == [(1, 1.0), (2, 0.5), (3, 1.0), (4, 0.5)]
    assert [event.step for event in events.Scalars("step/test/micro")] == [1, 2]
    assert {"step/type/person", "step/type/new_place", "step/test/old"} <= set(events.Tags()["scalars"])


def test_mlflow_reads_what_was_written(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    two_steps(tracking(tmp_path, "mlflow"))
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'tracking' / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("raycner").experiment_id])
    assert (found.info.run_name, found.info.status) == ("mine", "FINISHED")
    assert found.data.params["method.base.name"] == "extend_ner"
    losses = [(metric.step, metric.value) for metric in client.get_metric_history(found.info.run_id, "epoch/loss/ce")]
    assert losses == [(1, 1.0), (2, 0.5), (3, 1.0), (4, 0.5)]
    assert found.data.metrics["step/test/micro"] == pytest.approx(micro(record(1).test))
