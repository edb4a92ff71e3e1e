"""What a store in S3 is asked for by 1,000 trials of 5 steps and by 200 waiting processes, and what that costs.

    python tests/benchmarks/scale.py [--trials 1000] [--steps 5] [--waiters 200] [--runs 2000]

raycner's own code reads and writes a folder that counts as S3: each call of pyarrow is counted as the requests that it
sends. Time passes on paper: a step trains for a minute, 64 trials at once, 8 of them on a node. Dollars are list prices
of S3 Standard in us-east-1 as of early 2025; deleting is free, and so is traffic within the region.
"""

import argparse
import heapq
import json
import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyarrow import fs

from raycner.data.entities import TypeInventory
from raycner.hashing import plain
from raycner.storage import growing_file, locks
from raycner.storage.growing_file import GrowingFile
from raycner.storage.ledger import EpochRecord, PlannedStep, RunLedger, StepRecord, TrainingRecord
from raycner.storage.locks import Lock
from raycner.storage.manifests import PIECE
from raycner.storage.store import ObjectStore
from raycner.training.checkpoint import StepCheckpoint

DOLLARS = {"PUT": 5e-6, "LIST": 5e-6, "GET": 0.4e-6, "HEAD": 0.4e-6, "DELETE": 0.0}
"""Per request."""
PAGE = 1000
"""Keys in an answer to LIST."""
AT_ONCE, PER_NODE, STEP_SECONDS = 64, 8, 60.0
JOURNAL_LINE, EVENTS = 470, 7
"""Bytes that Optuna appends per event, and events per trial of 5 steps: with TPE, 1,000 trials measured 3.3 MiB."""
TYPES = ("location", "person", "product")


@dataclass
class Bill:
    """Requests by kind, and bytes."""

    requests: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    fetched: int = 0

    @property
    def dollars(self) -> float:
        return sum(DOLLARS[kind] * number for kind, number in self.requests.items())

    def times(self, factor: int) -> "Bill":
        requests = Counter({kind: number * factor for kind, number in self.requests.items()})
        return Bill(requests, self.sent * factor, self.fetched * factor)

    def line(self, what: str) -> str:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(self.requests.items()))
        mega = f"{self.sent / 1e6:,.1f} MB sent, {self.fetched / 1e6:,.1f} MB fetched"
        return f"{what:58} {sum(self.requests.values()):9,} requests ({kinds}); {mega}; ${self.dollars:.3f}"


class CountedFiles:
    """A folder that counts the requests which pyarrow's S3 filesystem would send, and may take as long."""

    def __init__(self, files: fs.LocalFileSystem, bill: Bill, latency: float) -> None:
        self._files, self._bill, self._latency = files, bill, latency

    def _request(self, *kinds: str) -> None:
        self._bill.requests.update(kinds)
        time.sleep(self._latency * len(kinds))

    def get_file_info(self, place: Any) -> Any:
        infos = self._files.get_file_info(place)
        if isinstance(place, fs.FileSelector):
            self._request(*["LIST"] * max(1, -(-len(infos) // PAGE)))
        else:
            self._request(*(["HEAD"] if infos.is_file else ["HEAD", "LIST"]))  # a key that is none may be a folder
        return infos

    def open_input_file(self, path: str) -> Any:
        self._request("HEAD")
        file = self._files.open_input_file(path)
        pieces = max(1, -(-file.size() // PIECE))
        self._request(*["GET"] * pieces)
        self._bill.fetched += file.size()
        return file

    def open_output_stream(self, path: str) -> Any:
        self._request("PUT")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return _Sink(self._files.open_output_stream(path), self._bill)

    def delete_file(self, path: str) -> None:
        self._request("HEAD", "DELETE")
        self._files.delete_file(path)

    def delete_dir(self, path: str) -> None:
        self._request("LIST", "DELETE")
        self._files.delete_dir(path)


class _Sink:
    def __init__(self, stream: Any, bill: Bill) -> None:
        self._stream, self._bill = stream, bill

    def __enter__(self) -> "_Sink":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def write(self, data: bytes) -> None:
        self._bill.sent += len(data)
        self._stream.write(data)


class CountedStore(ObjectStore):
    """A folder that is asked like a bucket with conditional writes."""

    def __init__(self, folder: str, latency: float = 0.0) -> None:
        super().__init__(folder)
        self.bill, self._latency = Bill(), latency
        self._count()

    def _count(self) -> None:
        self._files = CountedFiles(fs.LocalFileSystem(), self.bill, self._latency)
        self._is_local = False

    def take_bill(self) -> Bill:
        """What was asked since the last bill."""
        bill, self.bill = self.bill, Bill()
        self._count()
        return bill

    def create(self, key: str, data: bytes) -> bool:
        """A conditional PUT."""
        is_free = not Path(self._path(key)).exists()
        if is_free:
            self.write(key, data)
        return is_free


def record(index: int, fingerprint: str) -> StepRecord:
    counts = dict.fromkeys(TYPES, (50, 10, 10))
    epochs = tuple(
        EpochRecord(epoch=e, losses={"ce": 0.1, "kd": 0.1}, dev_score=0.5, seconds=6.0) for e in range(1, 11)
    )
    return StepRecord(
        index=index,
        fingerprint=fingerprint,
        new=TYPES[:1],
        seen=TYPES,
        sentences=4000,
        epochs=epochs,
        best_epoch=10,
        seconds=STEP_SECONDS,
        workers=1,
        dev=counts,
        test=counts,
        evaluation="0123456789abcdef",
    )


def commit(store: ObjectStore, fingerprint: str) -> None:
    """A step as it lies in a store; its weights are small, because they are not to be read."""
    trained = record(0, fingerprint)
    facts = {
        "spec": {"optim": {"calibration": "none"}, "model": {"encoder": {}}},
        "inventory": plain(TypeInventory(TYPES, (len(TYPES),))),
        "record": {name: plain(getattr(trained, name)) for name in TrainingRecord.__dataclass_fields__},
    }
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "step.json").write_text(json.dumps(facts), encoding="utf-8")
        Path(folder, "weights.safetensors").write_bytes(b"0" * 4096)
        store.push(Path(folder), f"steps/{fingerprint}")


def share(store: CountedStore, trials: int, steps: int) -> None:
    """Each trial finds all of its steps: what steps cost that another trial has trained."""
    for step in range(steps):
        commit(store, f"shared{step}")
    store.take_bill()
    for _ in range(trials):
        for step in range(steps):
            assert StepCheckpoint.find(store, f"shared{step}") is not None
    print(store.take_bill().line(f"{trials:,} trials share {steps} steps each"))


def hold(store: CountedStore, trials: int, steps: int) -> None:
    """Each step of each trial is trained under a lock: take, a minute of heartbeats, drop. One in ten is simulated."""
    beats = int(STEP_SECONDS / locks.REMOTE_HEARTBEAT)
    for number in range(trials * steps // 10):
        lock = Lock(store, f"steps/{number}")
        assert lock.take()
        for beat in range(beats):
            assert not lock.is_lost
            store.write(f"locks/steps/{number}", lock._content(beat))
        lock.drop()
    print(store.take_bill().times(10).line(f"{trials * steps:,} steps trained for {STEP_SECONDS:g} s under a lock"))


def wait(store: CountedStore, waiters: int) -> None:
    """Processes on nodes of 8 wait for one step; time passes on paper."""
    holder = Lock(store, "steps/wanted")
    assert holder.take()
    store.take_bill()
    queue: list[tuple[float, int]] = []
    waiting, pauses = [], []
    for number in range(waiters):
        os.environ["RAYCNER_CACHE"] = f"{store.uri}/cache/{number // PER_NODE}"
        waiting.append(Lock(store, "steps/wanted"))
        pauses.append(locks._pauses(store))
        heapq.heappush(queue, (0.0, number))
    while queue[0][0] < STEP_SECONDS:
        now, number = heapq.heappop(queue)
        assert not waiting[number].take()
        heapq.heappush(queue, (now + next(pauses[number]), number))
    for lock in (*waiting, holder):
        lock.drop()
    print(
        store.take_bill().line(
            f"{waiters} processes on {-(-waiters // PER_NODE)} nodes wait {STEP_SECONDS:g} s for a step"
        )
    )


def journal(store: CountedStore, trials: int, steps: int) -> None:
    """Events of a search, spread over the time that its trials take; a chunk every few seconds."""
    seconds = trials * steps * STEP_SECONDS / AT_ONCE
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "journal.log")
        copy = GrowingFile(store, "searches/scale/journal.log", file)
        events = trials * EVENTS
        chunks = int(seconds / growing_file.SECONDS)
        for chunk in range(chunks):
            lines = (chunk + 1) * events // chunks - chunk * events // chunks
            with file.open("ab") as stream:
                stream.write((b"x" * (JOURNAL_LINE - 1) + b"\n") * lines)
            copy._marked = file.stat().st_size
            copy._write_chunk()
        copy.close()
    print(store.take_bill().line(f"the journal of {trials:,} trials over {seconds / 60:.0f} minutes"))


def report(folder: Path, runs: int) -> None:
    """Read the ledgers of many runs: from a folder, and from a bucket that answers after 20 ms."""
    local = ObjectStore(str(folder))
    for number in range(runs):
        planned = [PlannedStep(index=i, fingerprint=f"{number}-{i}", new=TYPES[:1]) for i in range(5)]
        ledger = RunLedger.create(local, f"run-{number:05d}", label="kd", config={}, corpora=[], planned=planned)
        for step in planned:
            ledger.append(record(step.index, step.fingerprint))
    for store, where in (local, "a folder"), (CountedStore(str(folder), latency=0.02), "a bucket, 20 ms a request"):
        began = time.monotonic()
        assert len(RunLedger.all(store)) == runs
        print(f"the ledgers of {runs:,} runs from {where}: {time.monotonic() - began:.1f} s")
        if isinstance(store, CountedStore):
            print(store.take_bill().line("  "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in {"trials": 1000, "steps": 5, "waiters": 200, "runs": 2000}.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = CountedStore(f"{folder}/store")
        share(store, args.trials, args.steps)
        hold(store, args.trials, args.steps)
        wait(store, args.waiters)
        journal(store, args.trials, args.steps)
        report(Path(folder, "reports"), args.runs)


if __name__ == "__main__":
    main()
