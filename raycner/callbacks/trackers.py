"""Trackers: a run's curves, kept where other tools draw them. One is chosen by `compute.tracker`.

A tracker is a view of a run and nothing that it needs: each time a run is begun, its view is begun anew, and steps that
are taken from the store are told like those that are trained. What is told:

    of an epoch   loss/TERM, dev/micro, seconds; counted over the whole run, from 1
    of a step     test/micro, test/macro, test/old, test/new (from the second on), type/TYPE: F1, from 0 to 1

Trials of a search are not tracked: their journal is read by Optuna's own tools.
"""

import contextlib
import json
import logging
import math
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from raycner.config import RunConfig
from raycner.data.metrics import f1, macro, micro, old_new
from raycner.errors import InputError
from raycner.events import EventHandler
from raycner.hashing import Plain, plain
from raycner.settings import flat
from raycner.storage.ledger import StepRecord

log = logging.getLogger(__name__)
Axis = Literal["epoch", "step"]
"""What a value belongs to; both are counted over a run, from 1."""


class Tracker(ABC):
    """Where a run's values go. Its library is imported when it is opened, and not before."""

    @classmethod
    @abstractmethod
    def open(cls, path: str, run: str, settings: Mapping[str, Plain]) -> Self:
        """The view of a run, begun anew. Raises `InputError` when its library is missing, or the place no good."""

    @abstractmethod
    def write(self, axis: Axis, at: int, values: Mapping[str, float]) -> None:
        """What an epoch or a step has come to."""

    @abstractmethod
    def close(self) -> None: ...


class JsonLines(Tracker):
    """An object a line in PATH/RUN.jsonl: the settings first, then {axis: at, NAME: value, ...}."""

    def __init__(self, file: Path) -> None:
        self._lines = file.open("w", encoding="utf-8", buffering=1)

    @classmethod
    def open(cls, path: str, run: str, settings: Mapping[str, Plain]) -> Self:
        tracker = cls(_folder(path) / f"{run}.jsonl")
        tracker._say({"run": run, "settings": dict(settings)})
        return tracker

    def write(self, axis: Axis, at: int, values: Mapping[str, float]) -> None:
        self._say({axis: at} | {name: value if math.isfinite(value) else str(value) for name, value in values.items()})

    def close(self) -> None:
        self._lines.close()

    def _say(self, line: dict[str, Plain]) -> None:
        self._lines.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


class TensorBoard(Tracker):
    """Event files in PATH/RUN, which `tensorboard --logdir PATH` shows."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    @classmethod
    def open(cls, path: str, run: str, settings: Mapping[str, Plain]) -> Self:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise _missing("tensorboardX", "tensorboard") from None
        folder = _folder(path) / run
        shutil.rmtree(folder, ignore_errors=True)
        writer = SummaryWriter(str(folder))
        writer.add_text("settings", "\n".join(f"    {name}: {value}" for name, value in settings.items()))
        return cls(writer)

    def write(self, axis: Axis, at: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{axis}/{_spelt(name)}", value, at)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class MLflow(Tracker):
    """A run of the experiment `raycner`, on the server that PATH is the URI of, or in PATH/mlflow.db."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._run_id = client, run_id

    @classmethod
    def open(cls, path: str, run: str, settings: Mapping[str, Plain]) -> Self:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Param
            from mlflow.exceptions import MlflowException
        except ImportError:
            raise _missing("mlflow", "mlflow") from None
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        try:
            client = MlflowClient(path if "://" in path else f"sqlite:///{_folder(path).absolute() / 'mlflow.db'}")
            known = client.get_experiment_by_name("raycner")
            experiment = known.experiment_id if known else client.create_experiment("raycner")
            for older in client.search_runs([experiment], f"attributes.run_name = '{run}'"):
                client.delete_run(older.info.run_id)
            run_id = client.create_run(experiment, run_name=run).info.run_id
            client.log_batch(run_id, params=[Param(name, str(value)) for name, value in settings.items()])
        except MlflowException as error:
            line = str(error).partition("\n")[0]
            raise InputError(line, location=f"compute.tracker_path={path}", hint="name a folder or a server") from None
        return cls(client, run_id)

    def write(self, axis: Axis, at: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run_id, f"{axis}/{_spelt(name)}", value, step=at)

    def close(self) -> None:
        self._client.set_terminated(self._run_id)


TRACKERS: dict[str, type[Tracker]] = {"jsonl": JsonLines, "mlflow": MLflow, "tensorboard": TensorBoard}


@contextlib.contextmanager
def tracked(config: RunConfig, run: str, emit: EventHandler) -> Iterator[EventHandler]:
    """The same emit, which also tells the tracker that the configuration asks for, if any."""
    if config.compute.tracker == "none":
        yield emit
        return
    settings = flat(plain(config))
    tracker = TRACKERS[config.compute.tracker].open(config.compute.tracker_path, run, settings)
    telling = _Telling(tracker, emit)
    try:
        yield telling
    finally:
        telling.careful(tracker.close)


class _Telling:
    """Hands notices on, and tells a tracker of each epoch and each step once, however often a gang begins anew."""

    def __init__(self, tracker: Tracker, emit: EventHandler) -> None:
        self._tracker, self._notice = tracker, emit
        self._step, self._epochs, self._steps = 0, {0: 0}, set[int]()
        self._told: set[int] = set()
        self._broken = False

    def __call__(self, event: str, **facts: Any) -> None:
        self._notice(event, **facts)
        if event == "step":
            self._step = facts["index"]
        elif event == "epoch":
            self.careful(self._epoch, facts["number"], facts["losses"], facts["dev"], facts["seconds"])
        elif event == "record":
            self.careful(self._record, facts["record"])

    def careful(self, tell: Any, *facts: Any) -> None:
        """No tracker is worth a run: one that fails is said once, and told nothing more."""
        if self._broken:
            return
        try:
            tell(*facts)
        except Exception as error:
            self._broken = True
            log.warning("the tracker has failed, and the run goes on without it: %s: %s", type(error).__name__, error)

    def _epoch(self, number: int, losses: Mapping[str, float], dev: float, seconds: float) -> None:
        at = self._epochs[self._step] + number
        if at not in self._told:
            self._told.add(at)
            terms = {f"loss/{name}": value for name, value in losses.items()}
            self._tracker.write("epoch", at, terms | {"dev/micro": dev, "seconds": seconds})

    def _record(self, record: StepRecord) -> None:
        for one in record.epochs:
            self._epoch(one.epoch + 1, one.losses, one.dev_score, one.seconds)
        self._epochs[record.index + 1] = self._epochs[record.index] + len(record.epochs)
        if record.index not in self._steps:
            self._steps.add(record.index)
            self._tracker.write("step", record.index + 1, _scores(record))


def _scores(record: StepRecord) -> dict[str, float]:
    old, new = old_new(record.test, record.new)
    whole = {"test/micro": micro(record.test), "test/macro": macro(record.test)}
    parts = {name: value for name, value in (("test/old", old), ("test/new", new)) if value is not None}
    return whole | (parts if len(parts) == 2 else {}) | {f"type/{name}": f1(c) for name, c in record.test.items()}


def _folder(path: str) -> Path:
    folder = Path(path).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        where = f"compute.tracker_path={path}"
        raise InputError(f"no folder can be made ({error.strerror})", location=where, hint="name another") from None
    return folder


def _missing(package: str, extra: str) -> InputError:
    line = f"the package {package} is not installed"
    return InputError(line, location="compute.tracker", hint=f"pip install 'raycner[{extra}]'")


def _spelt(name: str) -> str:
    """A name as both TensorBoard and MLflow can say it."""
    return re.sub(r"[^\w\-./]", "_", name)
