"""Prediction over folders and buckets, by Ray Data: a file is a row, and its output is there whole or not at all.

    SOURCE/news/a.txt   ->   OUTPUT/news/a.txt.jsonl

Outputs that are there are not made again, so the same line goes on after any failure; one that asks another step for
them is refused. Names keep letters, digits, '.', '_' and '-'; of any other character its number is told, as in `_20`.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from raycner.data.passages import form_of, passages
from raycner.data.sources import RawFile, every
from raycner.errors import InputError
from raycner.inference.predictor import TOLD, Predictor, as_plain
from raycner.orchestration.cluster import cluster, log_level, use_assigned_device
from raycner.storage.run_names import find_step
from raycner.storage.store import ObjectStore

SIGN = "predictions.json"
"""Says in the folder of outputs which step they are of."""


@dataclass(frozen=True)
class Reading:
    """What one file came to."""

    name: str
    passages: int
    entities: int
    refused: str
    """Why it could not be read, or nothing."""


@dataclass(frozen=True)
class Bulk:
    """Many files, the step that is to read them, and where its outputs go."""

    step: str
    store: str
    encoder: str | None
    output: str
    files: Mapping[str, RawFile]
    """By the keys of their outputs."""
    forms: Mapping[str, str]

    @classmethod
    def of(
        cls, step: str, sources: Sequence[str], output: str, *, store: str, form: str | None, encoder: str | None
    ) -> "Bulk":
        """All files of these sources whose form is told, by their names or by `form`.

        Raises `InputError` when there is none, when two would have one output, when there is no such step, or when the
        outputs that are there are another step's.
        """
        place = ObjectStore(output)
        inside = place.uri.partition("?")[0].rpartition("://")[2].rstrip("/") + "/"
        files: dict[str, RawFile] = {}
        forms: dict[str, str] = {}
        for source in sources:
            for name, file in every(source).items():
                if file.path.startswith(inside):  # an output, in a folder that is itself read
                    continue
                try:
                    told = form or form_of(name)
                except InputError:
                    continue
                key = f"{_spelt(name)}.jsonl"
                if key in files:
                    what = f"{files[key].name} and {file.name} would have one output, {key}"
                    raise InputError(what, location=output, hint="read them into two folders")
                files[key], forms[key] = file, told
        if not files:
            raise InputError("no file with a name that tells its form", location=", ".join(sources), hint="say --form")
        if Path(step, TOLD).is_file():
            step = identity = str(Path(step).resolve())
        else:
            identity = find_step(step, ObjectStore(store))[1].fingerprint
        _sign(place, identity)
        return cls(step, ObjectStore(store).uri, encoder, place.uri, files, forms)

    @property
    def missing(self) -> list[str]:
        """The outputs that are not there yet."""
        there = set(ObjectStore(self.output).list(""))
        return [key for key in self.files if key not in there]

    def read(self, workers: int) -> Iterator[Reading]:
        """Make the outputs that are missing, on so many workers, who share the cluster's GPUs if it has any."""
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
            done = rows.map(
                _Reader,
                fn_constructor_args=(self,),
                compute=data.ActorPoolStrategy(size=min(workers, len(missing))),
                num_cpus=1,
                num_gpus=min(1.0, ray.cluster_resources().get("GPU", 0) / workers),
            )
            for row in done.iter_rows():
                yield Reading(**row)


class _Reader:
    """A worker: it holds the network, and reads one file after another."""

    def __init__(self, bulk: Bulk) -> None:
        use_assigned_device()
        torch.set_num_threads(1)
        self._bulk, self._output = bulk, ObjectStore(bulk.output)
        self._predictor = Predictor.of(bulk.step, bulk.store, bulk.encoder)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        key = row["key"]
        file, lines, entities = self._bulk.files[key], [], 0
        try:
            for passage, found in self._predictor.read(passages(file, self._bulk.forms[key])):
                lines.append(json.dumps(as_plain(passage, found), ensure_ascii=False) + "\n")
                entities += len(found)
            self._output.write(key, "".join(lines).encode())
        except InputError as refusal:
            return vars(Reading(file.name, 0, 0, str(refusal)))
        return vars(Reading(file.name, len(lines), entities, ""))


def _sign(output: ObjectStore, identity: str) -> None:
    """Say whose outputs these are: a step's fingerprint, or where an exported folder lies."""
    try:
        theirs = json.loads(output.read(SIGN))["step"]
    except FileNotFoundError:
        output.write(SIGN, json.dumps({"step": identity}).encode())
        return
    if theirs != identity:
        raise InputError(f"what lies here was predicted by {theirs}", location=str(output), hint="name another folder")


def _spelt(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._/-]", lambda odd: f"_{ord(odd[0]):x}", name)
