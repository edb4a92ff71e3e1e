"""Damaged files of a store, of exported folders, and of settings: each command ends well or with one line.

No traceback, no command of more than five seconds, nothing written outside the store, no process started, no address
asked. `RAYCNER_FUZZ=N make test-chaos` tries N inputs (100,000 by default) in processes of their own, so that a crash
is noticed and belongs to a number; none may take more than a gigabyte.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hostile_store
from hostile_store import READERS, TARGETS, World, tried
from raycner.config import RunConfig
from raycner.errors import InputError
from raycner.events import StepFinished
from raycner.orchestration.runner import run

NUMBER = int(os.environ.get("RAYCNER_FUZZ", "100000"))
SHARE = 0.05
"""Of the inputs that whole commands read."""
BATCH = 2_000
"""Inputs of one process."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_bert: str) -> Path:
    """The folder of a world, which each process copies."""
    folder = tmp_path_factory.mktemp("world")
    hostile_store.build(folder, tiny_bert)
    return folder


@pytest.fixture(scope="module")
def here(world: Path) -> Iterator[World]:
    with World(world) as place:
        place.warm_up()
        yield place


def test_damaged_files_end_commands_well_or_with_one_line(here: World) -> None:
    faults = tried(here, range(100))
    assert not faults, "\n\n".join(faults)


def test_every_target_has_files_and_a_reader(here: World) -> None:
    assert TARGETS.keys() == READERS.keys()
    for name, target in TARGETS.items():
        assert any(here.original.glob(target.files)), name


@pytest.mark.parametrize("content", [b"", b'{"fingerprint": "fa', b"[]", b"null"])
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_damaged_record_of_a_source_is_made_again(verb: str, content: bytes, here: World) -> None:
    """What a loss of power leaves of it; the same line then failed for ever."""
    status, printed = here.after(
        "store/corpora/sources/*.json", lambda _: content, f"{verb} jobs/bilstm.yaml store=store"
    )
    assert status == 0, printed
    (record,) = (here.copy / "store" / "corpora" / "sources").glob("*.json")
    assert record.read_bytes() == (here.original / record.relative_to(here.copy)).read_bytes()


@pytest.mark.parametrize("files", ["tensors.safetensors", "snapshot.json"])
def test_a_snapshot_of_another_network_is_not_resumed(files: str, here: World) -> None:
    """Its checksums are right: the step is trained from the start, to the same weights."""
    of_first = min(
        here.original.glob("store/snapshots/*/epoch-1"), key=lambda folder: here.facts["last"] in str(folder)
    )
    content = (of_first / "tensors.safetensors").read_bytes() if files != "snapshot.json" else b'{"epochs": []}'
    key = f"store/snapshots/{here.facts['last']}/epoch-1/{files}"
    status, printed = here.after(key, lambda _: content, "resume jobs/bilstm.yaml store=store", "snapshot")
    assert status == 0 and "trained from the start" in printed, printed
    weights = Path("store", "steps", here.facts["last"], "weights.safetensors")
    assert (here.copy / weights).read_bytes() == (here.original / weights).read_bytes()


@pytest.mark.parametrize("path", ["../encoder", "/etc", "encoder/../../victim", 5, ["encoder"]])
def test_an_exported_folder_names_no_file_outside_of_itself(path: object, here: World) -> None:
    def changed(content: bytes) -> bytes:
        description = json.loads(content)
        description["model"]["encoder"] = {"name": "pretrained", "path": path}
        return json.dumps(description).encode()

    status, printed = here.after("exported/raycner.json", changed, "predict exported text.txt")
    assert status == 2 and "is no folder in it" in printed


def without_settings(ledger: dict[str, Any]) -> None:
    ledger["config"] = {}


def without_a_corpus(ledger: dict[str, Any]) -> None:
    del ledger["config"]["scenario"]["corpus"]


def with_a_list_of_models(ledger: dict[str, Any]) -> None:
    ledger["config"]["model"] = [ledger["config"]["model"]]


def with_records_twice(ledger: dict[str, Any]) -> None:
    ledger["records"] *= 2


def with_endless_seconds(ledger: dict[str, Any]) -> None:
    ledger["records"][0]["seconds"] = 1e308


def of_another_run(ledger: dict[str, Any]) -> None:
    ledger["run"] = "another"


@pytest.mark.parametrize(
    "line", ["report", "report --json", "store ls", "predict {run} text.txt", "evaluate {run} --test --bootstrap 0"]
)
@pytest.mark.parametrize(
    "change",
    [
        *(without_settings, without_a_corpus, with_a_list_of_models),
        *(with_records_twice, with_endless_seconds, of_another_run),
    ],
)
def test_a_malformed_ledger_is_read_or_refused_in_one_line(
    change: Callable[[dict[str, Any]], None], line: str, here: World
) -> None:
    def changed(content: bytes) -> bytes:
        ledger = json.loads(content)
        change(ledger)
        return json.dumps(ledger).encode()

    status, printed = here.after("store/runs/{run}/ledger.json", changed, f"{line} --store store")
    assert status == 0 or (status == 2 and printed.count("raycner: ") == 1), printed


def test_a_store_that_is_moved_away_during_a_run_ends_it_with_one_line(here: World, tmp_path: Path) -> None:
    store = tmp_path / "store"

    def move(event: object) -> None:
        if isinstance(event, StepFinished) and store.exists():
            store.rename(tmp_path / "elsewhere")

    source = f"scenario.corpus.path={here.original}/source"
    with pytest.raises(InputError) as error:
        run(RunConfig.load([*hostile_store.SHARED, *hostile_store.BILSTM, source, f"store={store}"]), move)
    assert "\n" not in str(error.value)


@pytest.mark.chaos
@pytest.mark.timeout(24 * 3600)
def test_many_damaged_files_end_commands_well_or_with_one_line(world: Path) -> None:
    faults: list[str] = []
    for first in range(0, NUMBER, BATCH):
        faults += faults_of(world, first, min(BATCH, NUMBER - first))
    assert not faults, "\n\n".join(faults[:20])


def faults_of(world: Path, first: int, count: int) -> list[str]:
    """The faults of so many numbers; after a crash, the process starts again with the next number."""
    faults: list[str] = []
    line = [sys.executable, hostile_store.__file__, str(world)]
    while count > 0:
        done = subprocess.run([*line, str(first), str(count), str(SHARE)], capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        faults += [json.loads(line.removeprefix("fault ")) for line in lines if line.startswith("fault ")]
        if done.returncode == 0:
            break
        last = max((int(line.split()[1]) for line in lines if line.startswith("trying ")), default=first)
        faults.append(f"number {last}: the process ended with {done.returncode}: {done.stderr[-2000:]}")
        first, count = last + 1, first + count - last - 1
    return faults
