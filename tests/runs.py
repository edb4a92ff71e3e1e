"""Small runs that tests share: settings, commands, and what a run left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist

from processes import PATIENCE, wait_until
from raycner.config import RunConfig
from raycner.events import Event, ignore_events
from raycner.orchestration.run_steps import begin, prepare, run_steps
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore
from raycner.training.plan import plan

SMALL = (
    "scenario.corpus.name=demo",
    "scenario.corpus.sentences=120",
    "scenario.order=[location, person, product]",
    "model.encoder.name=bilstm",
    "model.encoder.word_width=16",
    "model.encoder.char_width=8",
    "model.encoder.width=16",
    "method.name=dld",
    "method.base.name=extend_ner",
    "optim.epochs=2",
    "optim.first.epochs=2",
    "optim.lr=0.02",
    "optim.head_lr=0.02",
    "optim.batch_size=8",
)
"""Three steps of a few seconds in all, with scores that are not zero."""


def silent(_: object) -> None:
    """A handler that does nothing, of events or of lines."""


def small(store: object, *settings: str) -> RunConfig:
    return RunConfig.load([*SMALL, f"store={store}", *settings])


def learn_in_group(job: RunConfig, handle: Callable[[Event], None] = ignore_events) -> None:
    """Train all steps of a job on every rank of the process group, as a worker group does."""
    store, scenario = prepare(job, silent)
    if dist.get_rank() == 0:
        begin(job, store, scenario, plan(job, scenario))
    dist.barrier()
    for _ in run_steps(job, [corpus.fingerprint for corpus in scenario.corpora], handle):
        pass
    dist.barrier()


def command(store: object, *settings: str) -> list[str]:
    return [sys.executable, "-m", "raycner", "run", *SMALL, f"store={store}", *settings]


def finish(store: object, *settings: str) -> str:
    """Run the command to its end and return all it printed; it must succeed."""
    done = subprocess.run(command(store, *settings), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def kill_when(ready: Callable[[], bool], store: object, *settings: str) -> None:
    """Start the command, and SIGKILL it at the moment `ready` is true for the first time."""
    driver = subprocess.Popen(
        command(store, *settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ.copy()
    )
    try:
        wait_until(ready, driver)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait(30)


def ledger(store: object) -> RunLedger:
    """The one run of a store."""
    (only,) = RunLedger.all(ObjectStore(str(store)))
    return only


def scores(store: object) -> list[object]:
    """`facts_of` the one run of a store."""
    return facts_of(ledger(store))


def facts_of(run: RunLedger) -> list[object]:
    """Everything that a run's ledger says of its steps, but for how long they took and how many worked on them."""
    facts: list[object] = []
    for r in run.records():
        facts.append((r.index, r.fingerprint, r.new, r.seen, r.sentences, r.dev, r.test, r.best_epoch))
        facts += [(epoch.epoch, dict(epoch.losses), epoch.dev_score) for epoch in r.epochs]
    return facts


def weights(store: Path) -> dict[str, bytes]:
    """The weights of every committed step, byte for byte."""
    return {path.parent.name: path.read_bytes() for path in sorted(store.glob("steps/*/weights.safetensors"))}


def with_token(token: Path) -> dict[str, str]:
    """The environment of a person who may speak to a cluster, by a token that lies in this file from now on."""
    token.write_text("0123456789abcdef" * 4, encoding="utf-8")
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "OMP_NUM_THREADS": "1",
    }
