"""run(config): walk the plan; steps that the store already has are taken, the missing ones are trained.

With `compute.workers` the missing steps are given to one gang of Ray Train workers: starting a gang costs tens of
seconds, so it is started once and trains them all. Where a run stands is the store's to say: Ray resumes nothing, and
what it leaves behind is never read.
"""

import contextlib
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from raycner.config import RunConfig
from raycner.data.scenarios import Scenario
from raycner.errors import Refusal
from raycner.networks.network import Network
from raycner.storage.ledger import CorpusNote, PlannedStep, RunLedger, StepRecord
from raycner.storage.store import ObjectStore
from raycner.training import ranks
from raycner.training.plan import StepSpec, plan
from raycner.training.snapshot import Snapshot
from raycner.training.teacher import StepCheckpoint
from raycner.training.trainer import train
from raycner.values import plain

Notice = Callable[..., None]
"""Is told what happens, `notice(event, **facts)`; `ProgressDisplay` names the events."""


def prepare(config: RunConfig, notice: Notice) -> tuple[ObjectStore, Scenario]:
    """The store, and the scenario over corpora that the store now holds."""
    store = ObjectStore(config.store)
    return store, Scenario.prepare(config.scenario, store, lambda line: notice("say", line=line))


def run(config: RunConfig, notice: Notice) -> RunLedger:
    """Train whatever steps of a run are missing, and return its ledger, complete."""
    store, scenario = prepare(config, notice)
    fingerprints = [corpus.fingerprint for corpus in scenario.corpora]
    specs = plan(config, scenario)
    begin(config, store, scenario, specs)
    if config.compute.workers and None in [StepCheckpoint.find(store, spec.fingerprint) for spec in specs]:
        notice("wait", reason=f"starting {config.compute.workers} Ray Train workers")
        _gang(config, fingerprints, notice)
    else:
        walk(config, fingerprints, notice)
    return RunLedger.open(store, name(config, specs))


def name(config: RunConfig, specs: Sequence[StepSpec]) -> str:
    """A run's name: what it does, in words, and the last step's fingerprint, which says it exactly."""
    words = [config.scenario.corpus, config.scenario.protocol, config.method.label, f"seed{config.seed}"]
    spoken = "-".join(words).replace("(", "-").replace(")", "")
    return f"{spoken}-{specs[-1].fingerprint[:8]}"


def begin(config: RunConfig, store: ObjectStore, scenario: Scenario, specs: Sequence[StepSpec]) -> None:
    """Begin the run's ledger anew: records of committed steps are taken up again as the walk reaches them."""
    notes = [[*corpus.notes] for corpus in scenario.corpora]
    notes[0] += scenario.notes
    RunLedger.create(
        store,
        name(config, specs),
        label=config.method.label,
        config=plain(config),
        corpora=[
            CorpusNote(fingerprint=c.fingerprint, types=c.types, notes=tuple(said), source=c.source)
            for c, said in zip(scenario.corpora, notes, strict=True)
        ],
        planned=[PlannedStep(index=s.index, fingerprint=s.fingerprint, new=s.inventory.new) for s in specs],
    )


def walk(config: RunConfig, fingerprints: Sequence[str], notice: Notice) -> None:
    """The steps of a run, one after another, on this rank: the same in this process and on every worker of a gang."""
    store = ObjectStore(config.store)
    scenario = Scenario.open(config.scenario, store, fingerprints)
    specs = plan(config, scenario)
    ledger = RunLedger.open(store, name(config, specs)) if ranks.rank() == 0 else None
    parent: StepCheckpoint | None = None
    for spec, experience in zip(specs, scenario, strict=True):
        notice("step", index=spec.index, of=len(specs), types=experience.inventory.new, epochs=spec.optim.epochs)
        step = _agreed(StepCheckpoint.find(store, spec.fingerprint))
        if step is not None:
            notice("shared")
        else:
            watcher = StoreWatcher(store, spec.fingerprint, config.compute.checkpoint_epochs, notice)
            before = None if parent is None else parent.network(config.model)
            network, record = train(spec, experience, before, watcher)
            step = _commit(store, spec, network, record)
            watcher.forget()
        if ledger is not None:
            ledger.append(step.record)
        notice("record", record=step.record)
        parent = step


@dataclass(frozen=True)
class StoreWatcher:
    """Keeps a step's newest snapshot in the store, under the step's name: rank 0 writes, every rank reads."""

    store: ObjectStore
    fingerprint: str
    every: int
    """Epochs between snapshots; 0 keeps none."""
    notice: Notice

    @property
    def _key(self) -> str:
        return f"snapshots/{self.fingerprint}"

    def keep(self, snapshot: Snapshot) -> None:
        if ranks.rank() == 0 and self.every and len(snapshot.epochs) % self.every == 0:
            with tempfile.TemporaryDirectory(prefix="raycner-") as folder:
                snapshot.save(Path(folder))
                older = self._kept()
                self.store.push(Path(folder), f"{self._key}/epoch-{len(snapshot.epochs)}")
            for key in older:
                self.store.remove(key)

    def resume(self) -> Snapshot | None:
        whole = [key for key in self._kept() if not self.store.damage(key)]
        newest = _agreed(max(whole, key=lambda key: int(key.rpartition("-")[2]), default=None))
        return None if newest is None else Snapshot.load(self.store.local(newest))

    def _kept(self) -> list[str]:
        return [key.rpartition("/")[0] for key in self.store.list(self._key) if key.endswith("/MANIFEST")]

    def forget(self) -> None:
        ranks.barrier()
        if ranks.rank() == 0:
            self.store.remove(self._key)


def _commit(store: ObjectStore, spec: StepSpec, network: Network, record: StepRecord) -> StepCheckpoint:
    if ranks.rank() == 0:
        StepCheckpoint.commit(store, spec, network, record)
    ranks.barrier()
    return StepCheckpoint(store, spec.fingerprint, network.inventory, record)


def _agreed(found: Any) -> Any:
    """What this rank found, if every rank found it: all go the same way, or their collectives would not meet."""
    votes = torch.tensor(float(found is not None))
    if torch.cuda.is_available():
        votes = votes.cuda()
    return found if ranks.all_reduce_sum(votes).item() == ranks.world_size() else None


def _gang(config: RunConfig, fingerprints: Sequence[str], notice: Notice) -> None:
    """One group of Ray Train workers walks the plan."""
    from ray import train as ray_train
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.util.queue import Queue

    compute = config.compute
    with _ray(config):
        board = Queue(actor_options={"num_cpus": 0})
        store = ObjectStore(config.store)
        attempt = uuid.uuid4().hex[:12]  # never used again: no state of Ray's is ever resumed
        trainer = TorchTrainer(
            _work,
            train_loop_config={"config": config, "fingerprints": list(fingerprints), "board": board},
            torch_config=TorchConfig(backend="nccl" if compute.gpus_per_worker else "gloo"),
            scaling_config=ray_train.ScalingConfig(
                num_workers=compute.workers,
                use_gpu=compute.gpus_per_worker > 0,
                resources_per_worker={"CPU": compute.cpus_per_worker}
                | ({"GPU": compute.gpus_per_worker} if compute.gpus_per_worker else {}),
            ),
            run_config=ray_train.RunConfig(
                name=attempt,
                storage_path=f"{store.uri}/ray",
                failure_config=ray_train.FailureConfig(
                    max_failures=compute.max_failures, controller_failure_limit=compute.max_failures
                ),
                logging_config=ray_train.LoggingConfig(log_level=_ray_log_level()),
            ),
        )
        with _relayed(board, notice):
            result = trainer.fit()
        store.remove(f"ray/{attempt}")
        if isinstance(result.return_value, Refusal):
            raise result.return_value


def _work(told: dict[str, Any]) -> Refusal | None:
    """What every worker of a gang does; a refusal is handed back, since trying again would not mend it."""
    from ray import train as ray_train
    from ray.train.torch import get_device

    if torch.cuda.is_available():
        torch.cuda.set_device(get_device())
    torch.set_num_threads(told["config"].compute.cpus_per_worker)
    board, heard = told["board"], 0.0

    def notice(event: str, **facts: Any) -> None:
        nonlocal heard
        news = event != "advance" or time.monotonic() > heard + 0.2  # telling costs a message between processes
        if ranks.rank() == 0 and news:
            board.put((event, facts))
            heard = time.monotonic()
        if event == "record":
            ray_train.report({"step": facts["record"].index})

    try:
        walk(told["config"], told["fingerprints"], notice)
    except Refusal as refusal:
        return refusal
    return None


@contextlib.contextmanager
def _relayed(board: Any, notice: Notice) -> Iterator[None]:
    """Hand on what the workers put on the board, until the block ends."""
    from ray.util.queue import Empty

    ended = threading.Event()

    def relay() -> None:
        while True:
            try:
                event, facts = board.get(timeout=0.2)
                notice(event, **facts)
            except Empty:
                if ended.is_set():
                    return

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=10)


@contextlib.contextmanager
def _ray(config: RunConfig) -> Iterator[None]:
    """A connection to the cluster of RAY_ADDRESS, or a cluster on this machine for as long as the block lasts."""
    for variable, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
        "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a relative path means the same to a worker as to who typed it
        "RAY_worker_niceness": "0",
    }.items():
        os.environ.setdefault(variable, value)
    import ray

    compute = config.compute
    address = os.environ.get("RAY_ADDRESS")
    alone: dict[str, Any] = {"address": "local", "num_cpus": compute.workers * compute.cpus_per_worker + 1}
    ray.init(
        **({"address": address} if address else alone),
        logging_level=_ray_log_level(),
        log_to_driver=_ray_log_level() != "ERROR",
    )
    try:
        yield
    finally:
        ray.shutdown()


def _ray_log_level() -> str:
    """Ray is silent unless RAYCNER_RAY_LOG asks for a level (INFO, WARNING)."""
    return os.environ.get("RAYCNER_RAY_LOG", "ERROR").upper()
