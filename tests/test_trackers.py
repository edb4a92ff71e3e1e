"""Trackers: a run's scores in the files of other tools, complete after any failure, and never a reason to fail."""

import json
import logging
import struct
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from processes import wait_until
from raycner.callbacks.trackers import TRACKERS, TrackedRun, Tracker
from raycner.callbacks.trackers.json_lines import JsonLines, JsonLinesRun
from raycner.callbacks.tracking import tracked, tracker
from raycner.config import ComputeConfig, RunConfig
from raycner.data.metrics import macro, micro, precision, recall
from raycner.errors import InputError
from raycner.events import EpochFinished, Event, EventHandler, Message, StepFinished, StepStarted
from raycner.hashing import fingerprint, plain
from raycner.orchestration.runner import run
from raycner.settings import flat
from raycner.storage.ledger import EpochRecord, StepRecord
from runs import ledger, scores, silent, small


def lines(path: Path) -> list[dict[str, Any]]:
    (file,) = path.glob("*.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def tracking(path: Path, name: str = "jsonl") -> RunConfig:
    return small(path / "store", f"compute.tracker={name}", f"compute.tracker_path={path / 'tracking'}")


def handler(path: Path, name: str = "jsonl", emit: EventHandler = silent) -> AbstractContextManager[EventHandler]:
    """A tracked handler of the run `mine`."""
    settings = flat(plain(tracking(path, name)))
    return tracked(tracker(name, str(path / "tracking")), "mine", settings, emit)


def step(index: int) -> StepStarted:
    return StepStarted(run="mine", index=index, of=2, fingerprint=f"{index:016x}", types=("person",), epochs=2)


FIRST_EPOCH = EpochFinished(number=1, losses={"ce": 1.0}, dev_score=0.5, seconds=1.0)


def record(index: int, epochs: int = 2) -> StepRecord:
    """The record of a step that brought one type."""
    types = ("person", "new place", "product")[: index + 1]
    counts = dict.fromkeys(types, (3, 1, 1 + index))
    done = tuple(EpochRecord(epoch=e, losses={"ce": 1.0 / (1 + e)}, dev_score=0.5, seconds=1.0) for e in range(epochs))
    facts = {"fingerprint": f"{index:016x}", "sentences": 10, "best_epoch": 0, "seconds": 2.0, "workers": 1}
    return StepRecord(index=index, new=types[-1:], seen=types, dev=counts, test=counts, epochs=done, **facts)


def test_a_setting_names_every_tracker() -> None:
    assert {"none", "jsonl", "mlflow", "tensorboard", "wandb"} <= TRACKERS.keys()
    for name in TRACKERS:
        RunConfig.load([f"compute.tracker={name}"])
    with pytest.raises(InputError, match=r"compute\.tracker: no tracker is called 'mlflwo'; did you mean mlflow\?"):
        RunConfig.load(["compute.tracker=mlflwo"])


def test_a_tracker_from_outside_the_package_is_a_registered_class(tmp_path: Path) -> None:
    logged: list[tuple[str, int]] = []

    class ListedRun(TrackedRun):
        def log(self, axis: str, at: int, scores: object) -> None:
            assert scores
            logged.append((axis, at))

        def close(self) -> None:
            logged.append(("closed", 0))

    @TRACKERS.register("mine")
    class Mine(Tracker):
        def open(self, run: str, settings: object) -> TrackedRun:
            assert self.path == str(tmp_path / "tracking") and run and settings
            return ListedRun()

    try:
        run(tracking(tmp_path, "mine"), silent)
    finally:
        del TRACKERS["mine"]
    assert logged.count(("closed", 0)) == 1 and [at for axis, at in logged if axis == "step"] == [1, 2, 3]


def test_no_step_is_renamed_by_a_tracker() -> None:
    assert fingerprint(small("store")) == fingerprint(small("store", "compute.tracker=jsonl"))
    assert ComputeConfig().tracker == "none"


def test_json_lines_record_each_epoch_and_each_step(tmp_path: Path) -> None:
    run(tracking(tmp_path), silent)
    first, *scored = lines(tmp_path / "tracking")
    done = ledger(tmp_path / "store")
    assert first["run"] == done.run
    assert first["settings"]["method.base.name"] == "extend_ner"
    epochs, steps = [line for line in scored if "epoch" in line], [line for line in scored if "step" in line]
    assert [line["epoch"] for line in epochs] == list(range(1, 7))
    assert [line["step"] for line in steps] == [1, 2, 3]
    of_record = [epoch for r in done.records() for epoch in r.epochs]
    assert [line["dev/micro"] for line in epochs] == [epoch.dev_score for epoch in of_record]
    assert epochs[-1].keys() >= {"loss/ce", "loss/kd", "loss/dld_positive"}
    assert [line["test/micro"] for line in steps] == [micro(r.test) for r in done.records()]
    for line, finished in zip(steps, done.records(), strict=True):
        assert line["test/micro_recall"] == micro(finished.test, score=recall)
        assert line["test/macro_precision"] == macro(finished.test, score=precision)
        for name, counts in finished.test.items():
            assert (line[f"precision/{name}"], line[f"recall/{name}"]) == (precision(counts), recall(counts))
            assert line[f"support/{name}"] == counts[0] + counts[2]
    assert [line["test/macro"] for line in steps] == [macro(r.test) for r in done.records()]
    assert "test/old" not in steps[0] and {"test/old", "test/new"} <= steps[1].keys()

    before = scores(tmp_path / "store")
    run(tracking(tmp_path), silent)  # everything from the store: the view is as it was
    assert lines(tmp_path / "tracking") == [first, *scored]
    assert scores(tmp_path / "store") == before


def test_extra_test_sets_are_recorded_under_their_names(tmp_path: Path) -> None:
    news = {"person": (3, 1, 1), "product": (0, 0, 0)}
    with handler(tmp_path) as handle:
        handle(step(0))
        handle(StepFinished(replace(record(0), tests={"news": news, "nothing": {"person": (0, 0, 0)}})))
    (scored,) = (line for line in lines(tmp_path / "tracking") if "step" in line)
    assert (scored["test_news/micro"], scored["test_news/macro_recall"]) == (0.75, 0.75)
    assert not [name for name in scored if name.startswith("test_nothing")]


def test_events_that_workers_repeat_are_recorded_once(tmp_path: Path) -> None:
    with handler(tmp_path) as handle:
        handle(step(0))
        handle(FIRST_EPOCH)
        handle(step(0))  # its workers died and started again, without a snapshot
        handle(FIRST_EPOCH)
        handle(StepFinished(record(0)))  # the event of the second epoch was lost: the record has it
        handle(step(1))
        handle(StepFinished(record(1, epochs=3)))
        handle(step(0))
        handle(StepFinished(record(0)))
    assert [line.get("epoch") for line in lines(tmp_path / "tracking")[1:]] == [1, 2, None, 3, 4, 5, None]


def test_events_are_passed_on_unchanged(tmp_path: Path) -> None:
    events: list[Event] = []
    with handler(tmp_path, emit=events.append) as handle:
        handle(Message("hello"))
        handle(step(0))
    assert events == [Message("hello"), step(0)]


def test_a_score_that_is_not_a_number_stays_json(tmp_path: Path) -> None:
    tracked_run = JsonLines(path=str(tmp_path)).open("mine", {})
    tracked_run.log("epoch", 1, {"loss/ce": float("nan"), "dev/micro": 0.5})
    tracked_run.close()
    assert lines(tmp_path)[1] == {"epoch": 1, "loss/ce": "nan", "dev/micro": 0.5}


def test_a_tracker_that_fails_is_reported_once_and_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(JsonLinesRun, "log", full)
    events: list[Event] = []
    with caplog.at_level(logging.WARNING), handler(tmp_path, emit=events.append) as handle:
        for index in (0, 1):
            handle(step(index))
            handle(StepFinished(record(index)))
    assert [type(event) for event in events] == [StepStarted, StepFinished] * 2
    assert [r.getMessage() for r in caplog.records if "No space left" in r.getMessage()] == [
        "the tracker failed; the run continues without it: OSError: [Errno 28] No space left on device"
    ]


def test_a_path_that_cannot_be_a_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "tracking").write_text("a file")
    with pytest.raises(InputError, match=r"compute\.tracker_path"), handler(tmp_path):
        pass


@pytest.mark.parametrize(
    ("name", "package"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow"), ("wandb", "wandb")]
)
def test_a_package_that_is_missing_is_rejected(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(InputError, match=rf"{package} is not installed; pip install 'raycner\[{name}\]'"),
        handler(tmp_path, name),
    ):
        pass
    assert not (tmp_path / "tracking").exists()


def track_two_steps(path: Path, name: str) -> None:
    """Track a run of two steps twice: the second record replaces the first."""
    for _ in range(2):
        with handler(path, name) as handle:
            for index in (0, 1):
                handle(step(index))
                handle(StepFinished(record(index)))


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    track_two_steps(tmp_path, "tensorboard")
    events = reader.EventAccumulator(str(tmp_path / "tracking" / "mine")).Reload()
    losses = [(event.step, event.value) for event in events.Scalars("epoch/loss/ce")]
    assert losses == [(1, 1.0), (2, 0.5), (3, 1.0), (4, 0.5)]
    assert [event.step for event in events.Scalars("step/test/micro")] == [1, 2]
    assert {"step/type/person", "step/type/new_place", "step/test/old"} <= set(events.Tags()["scalars"])


def test_mlflow_reads_what_was_written(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    track_two_steps(tmp_path, "mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'tracking' / 'mlflow.db'}")
    (tracked_run,) = client.search_runs([client.get_experiment_by_name("raycner").experiment_id])
    assert (tracked_run.info.run_name, tracked_run.info.status) == ("mine", "FINISHED")
    assert tracked_run.data.params["method.base.name"] == "extend_ner"
    losses = [
        (metric.step, metric.value) for metric in client.get_metric_history(tracked_run.info.run_id, "epoch/loss/ce")
    ]
    assert losses == [(1, 1.0), (2, 0.5), (3, 1.0), (4, 0.5)]
    assert tracked_run.data.metrics["step/test/micro"] == pytest.approx(micro(record(1).test))


def level_db_records(log: bytes) -> Iterator[bytes]:
    """The records of a log of LevelDB, which W&B keeps offline: each in one fragment, or in several over blocks."""
    at, record, block, head = 0, b"", 32768, 7
    while at + head <= len(log):
        if (rest := block - (at + head) % block) < head:  # W&B writes seven bytes before the first record
            at += rest
            continue
        size, kind = struct.unpack("<HB", log[at + 4 : at + head])
        if at + head + size > len(log):
            return  # its end is still to be written
        record += log[at + head : at + head + size]
        at += head + size
        if kind in (1, 4):  # whole, or the last fragment
            yield record
            record = b""


def test_wandb_reads_what_was_written_offline_and_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    key = "f1e2d3c4" * 5
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", key)
    with handler(tmp_path, "wandb") as handle:
        for index in (0, 1):
            handle(step(index))
            handle(StepFinished(record(index)))
    (file,) = (tmp_path / "tracking").glob("wandb/offline-run-*/run-*.wandb")

    def read() -> list[Any]:
        return [Record.FromString(content) for content in level_db_records(file.read_bytes()[7:])]

    wait_until(lambda: any(one.WhichOneof("record_type") == "exit" for one in read()))  # a process of W&B writes it
    records = read()
    (run_record,) = [one.run for one in records if one.WhichOneof("record_type") == "run"]
    assert (run_record.project, run_record.display_name) == ("raycner", "mine")
    rows = [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in one.history.item}
        for one in records
        if one.WhichOneof("record_type") == "history"
    ]
    losses = [(row["epoch"], row["epoch/loss/ce"]) for row in rows if "epoch/loss/ce" in row]
    assert losses == [(1, 1.0), (2, 0.5), (3, 1.0), (4, 0.5)]
    assert [row["step"] for row in rows if "step/test/micro" in row] == [1, 2]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
