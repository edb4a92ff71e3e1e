"""Prediction over folders and buckets on Ray Data: each file is a row, with one output that is complete or absent.

    SOURCE/news/a.txt   ->   OUTPUT/news/a.txt.jsonl

Outputs that exist are kept, so the same command resumes after any failure; a folder with the outputs of another step is
refused. Names keep letters, digits, '.', '_' and '-'; any other character becomes its code point, as in `_20`.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from raycner.data.passages import form_or_none, passages
from raycner.data.sources import RawFile, every
from raycner.errors import InputError
from raycner.inference.predictor import DESCRIPTION, Predictor, as_plain, confident
from raycner.orchestration.cluster import cluster, log_level, use_assigned_device
from raycner.plugins import load_plugins
from raycner.storage.run_names import find_step
from raycner.storage.store import ObjectStore

MARKER = "predictions.json"
"""The file in the output folder that names the step of its predictions."""


@dataclass(frozen=True)
class Model:
    """The address of a trained step, for `Predictor.of` on any worker."""

    step: str
    """RUN or RUN:STEP of the store, or an exported folder."""
    store: str = "store"
    encoder: str | None = None
    """The path of the pretrained encoder, if it has moved since training."""
    plugins: tuple[str, ...] = ()
    """Modules and .py files to import before it is loaded."""

    @property
    def identity(self) -> str:
        """The fingerprint of the step, with the evaluation whose read-out it uses, or the path of the exported folder.

        Raises `InputError` without such a step.
        """
        if Path(self.step, DESCRIPTION).is_file():
            return str(Path(self.step).resolve())
        ledger, record = find_step(self.step, ObjectStore(self.store))
        decoding = (ledger.config.get("eval") or {}).get("decoding")
        read_by_its_head = (decoding, record.thresholds, record.calibration) == (None, None, None)
        return record.fingerprint if read_by_its_head else f"{record.fingerprint}-{record.evaluation}"

    def everywhere(self) -> "Model":
        """The same address for workers, whose working folder is another."""
        folder = Path(self.step, DESCRIPTION).is_file()
        step = str(Path(self.step).resolve()) if folder else self.step
        plugins = (str(Path(name).resolve()) if name.endswith(".py") else name for name in self.plugins)
        return Model(step, ObjectStore(self.store).uri, self.encoder, tuple(plugins))

    def load(self) -> Predictor:
        load_plugins(self.plugins)
        return Predictor.of(self.step, self.store, self.encoder)


@dataclass(frozen=True)
class FileResult:
    """The outcome of one file."""

    name: str
    passages: int
    entities: int
    error: str
    """Why it could not be read; empty if it was."""


@dataclass(frozen=True)
class BulkPrediction:
    """The predictions of one model on many files."""

    model: Model
    output: str
    files: Mapping[str, RawFile]
    """By the key of the output."""
    forms: Mapping[str, str]
    min_confidence: float = 0.0
    """Entities of less confidence are left out."""

    @classmethod
    def of(
        cls,
        model: Model,
        sources: Sequence[str],
        output: str,
        form: str | None = None,
        min_confidence: float = 0.0,
    ) -> "BulkPrediction":
        """All files of these sources that have a form, by their names or by `form`.

        Raises `InputError` when there is none, when two would have one output, when there is no such step, or when the
        output folder has predictions of another step, or with another least confidence.
        """
        folder = ObjectStore(output)
        inside = folder.uri.partition("?")[0].rpartition("://")[2].rstrip("/") + "/"
        files: dict[str, RawFile] = {}
        forms: dict[str, str] = {}
        for name, file in (item for source in sources for item in every(source).items()):
            form_of_file = form or form_or_none(name)
            if file.path.startswith(inside) or form_of_file is None:  # an output in a source folder, or no passages
                continue
            key = f"{_safe(name)}.jsonl"
            if key in files:
                what = f"{files[key].name} and {file.name} would have one output, {key}"
                raise InputError(what, location=output, hint="write them to two folders")
            files[key], forms[key] = file, form_of_file
        if not files:
            what, hint = "no file with a name that tells its form", "set --form"
            raise InputError(what, location=", ".join(sources), hint=hint)
        _mark(folder, model.identity, min_confidence)
        for draft in folder.drafts():
            folder.discard(draft)
        return cls(model.everywhere(), folder.uri, files, forms, min_confidence)

    @property
    def missing(self) -> list[str]:
        """The outputs that do not exist yet."""
        existing = set(ObjectStore(self.output).list(""))
        return [key for key in self.files if key not in existing]

    def run(self, workers: int) -> Iterator[FileResult]:
        """Write the missing outputs on this many workers, which share the GPUs of the cluster, if it has any."""
        missing = self.missing
        if not missing:
            return
        os.environ.setdefault("RAY_DATA_LOG_LEVEL", log_level())
        with cluster(workers + 1):
            import ray
            from ray import data

            context = data.DataContext.get_current()
            context.enable_progress_bars, context.print_on_execution_start = False, False
            rows = data.from_items([{"key": key} for key in missing], override_num_blocks=min(len(missing), 1000))
            results = rows.map(
                _Worker,
                fn_constructor_args=(self,),
                compute=data.ActorPoolStrategy(size=min(workers, len(missing))),
                num_cpus=1,
                num_gpus=min(1.0, ray.cluster_resources().get("GPU", 0) / workers),
            )
            for row in results.iter_rows():
                yield FileResult(**row)


class _Worker:
    """Holds the network, and reads one file after another."""

    def __init__(self, bulk: BulkPrediction) -> None:
        use_assigned_device()
        torch.set_num_threads(1)
        self._bulk, self._output = bulk, ObjectStore(bulk.output)
        self._predictor = bulk.model.load()

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        key = row["key"]
        file, lines, number = self._bulk.files[key], [], 0
        try:
            for passage, predicted in self._predictor.read(passages(file, self._bulk.forms[key])):
                entities = confident(predicted, self._bulk.min_confidence)
                lines.append(json.dumps(as_plain(passage, entities), ensure_ascii=False) + "\n")
                number += len(entities)
            self._output.write(key, "".join(lines).encode())
        except InputError as error:
            return vars(FileResult(file.name, 0, 0, str(error)))
        return vars(FileResult(file.name, len(lines), number, ""))


def _mark(output: ObjectStore, identity: str, min_confidence: float) -> None:
    """Record whose predictions a folder has. Raises `InputError` when it has those of another step, or with another
    least confidence."""
    try:
        marked = json.loads(output.read(MARKER))
    except FileNotFoundError:
        output.write(MARKER, json.dumps({"step": identity, "min_confidence": min_confidence}).encode())
        return
    if marked["step"] != identity:
        what = f"the folder has predictions of {marked['step']}"
        raise InputError(what, location=str(output), hint="name another folder")
    if marked.get("min_confidence", 0.0) != min_confidence:
        what = f"the folder has predictions with --min-confidence {marked.get('min_confidence', 0.0)}"
        raise InputError(what, location=str(output), hint="name another folder, or the same confidence")


def _safe(name: str) -> str:
    """A name without characters that some storage refuses."""
    return re.sub(r"[^A-Za-z0-9._/-]", lambda odd: f"_{ord(odd[0]):x}", name)
