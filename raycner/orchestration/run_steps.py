"""The steps of a run in order, on every rank alike: in this process, on each worker of a group, and in a trial.

A step that the store has is reused. A missing one is trained by whoever holds its lock; everybody else waits, and
reuses what was committed. An evaluation that the store lacks is made from the step's checkpoint.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from raycner.config import RunConfig
from raycner.data.scenarios.scenario import Experience, Scenario
from raycner.errors import InputError
from raycner.evaluation.evaluator import Evaluator
from raycner.events import EventHandler, Message, ScoringStarted, StepFinished, StepReused, StepStarted, Waiting
from raycner.hashing import Plain, fingerprint, plain
from raycner.networks.network import Network
from raycner.orchestration.memories import FinishedStep, remembered
from raycner.orchestration.snapshots import SnapshotCallback
from raycner.storage.ledger import CorpusNote, PlannedStep, RunLedger, StepRecord, TrainingRecord
from raycner.storage.locks import Lock, LockLost, acquire
from raycner.storage.store import ObjectStore
from raycner.training import ranks
from raycner.training.checkpoint import StepCheckpoint
from raycner.training.plan import StepSpec, plan
from raycner.training.step_trainer import train

SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""The environment variable that Ray sets for a process started by `ray job submit`."""


@dataclass(frozen=True)
class StepResult:
    """One finished step of a run."""

    record: StepRecord
    trained: bool
    """Whether it was trained by this call; otherwise the store had it."""


def prepare(config: RunConfig, emit: EventHandler) -> tuple[ObjectStore, Scenario]:
    """The store, and the scenario over its corpora, which are read into the store if it lacks them."""
    store = open_store(config)
    return store, Scenario.prepare(config.scenario, store, lambda line: emit(Message(line)))


def open_store(config: RunConfig) -> ObjectStore:
    """The store of a run. Raises `InputError` where it would not outlive a job of `ray job submit`."""
    if SUBMITTED in os.environ and "://" not in config.store and not Path(config.store).expanduser().is_absolute():
        what = f"a submitted job runs in a temporary copy of its folder, and {config.store!r} would be removed with it"
        raise InputError(what, location="store", hint="use a URI, or an absolute path that all nodes share")
    return ObjectStore(config.store)


def name(config: RunConfig, specs: Sequence[StepSpec]) -> str:
    """A run's name: corpus, protocol, method and seed for people; the last step's fingerprint identifies it.

    Predictions that are read otherwise than the head's own settings say are another run on the same steps. The run of
    an adopted model has the name that the user gave it, and runs that extend it have the new types after it.
    """
    read_out = _read_out(config)
    marks = [specs[-1].fingerprint[:8], *([fingerprint(read_out)[:4]] if read_out else [])]
    protocol = config.scenario.protocol
    if protocol.run_name:
        learned = [kind for spec in specs[protocol.named_steps :] for kind in spec.inventory.new]
        words = [protocol.run_name, *map(_as_key, learned)]
        return "-".join([*words, *(marks if learned or read_out else [])])
    words = [config.scenario.corpus.name, config.scenario.label, config.method.label, f"seed{config.seed}"]
    return "-".join(["-".join(words).replace("(", "-").replace(")", ""), *marks])


def _read_out(config: RunConfig) -> dict[str, Plain]:
    """The settings of the evaluation by which predictions differ from those of the head's own settings."""
    head, threshold = config.model.head, config.eval.threshold
    changed = {} if threshold in (None, getattr(head, "threshold", None)) else {"threshold": threshold}
    return {**config.eval.overrides(head), **changed}


def _as_key(kind: str) -> str:
    """A type as a part of a key of the store."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", kind)


def begin(config: RunConfig, store: ObjectStore, scenario: Scenario, specs: Sequence[StepSpec]) -> None:
    """Start the run's ledger afresh: the records of committed steps are added as `run_steps` reaches them."""
    notes = [[*corpus.notes] for corpus in scenario.corpora]
    notes[0] += scenario.notes
    RunLedger.create(
        store,
        name(config, specs),
        label=config.method.label,
        config=plain(config),
        corpora=[
            CorpusNote(fingerprint=c.fingerprint, types=c.types, notes=tuple(lines), source=c.source)
            for c, lines in zip(scenario.corpora, notes, strict=True)
        ],
        planned=[PlannedStep(index=s.index, fingerprint=s.fingerprint, new=s.inventory.new) for s in specs],
        numerics=specs[-1].numerics,
    )


def run_steps(
    config: RunConfig, fingerprints: Sequence[str], emit: EventHandler, tests: Mapping[str, str] | None = None
) -> Iterator[StepResult]:
    """Train and evaluate the steps of a run, one after another. Rank 0 writes the run's ledger, where it has one.

    `fingerprints` are those of the scenario's corpora, `tests` (by name) those of extra test sets; the store has both.
    """
    store = ObjectStore(config.store)
    scenario = Scenario.open(config.scenario, store, fingerprints)
    evaluator = Evaluator(store, config, tests or {}, scenario.adopted_on)
    specs = plan(config, scenario)
    run = name(config, specs)
    ledger = RunLedger.find(store, run) if ranks.rank() == 0 else None
    parent: StepCheckpoint | None = None
    finished: list[FinishedStep] = []
    for spec, experience in zip(specs, scenario, strict=True):
        emit(
            StepStarted(
                run=run,
                index=spec.index,
                of=len(specs),
                fingerprint=spec.fingerprint,
                types=experience.inventory.new,
                epochs=spec.optim.epochs,
            )
        )
        step, trained = _find_or_train(config, store, spec, experience, finished, emit)
        counts = evaluator.find(step)
        if counts is None:
            emit(ScoringStarted())
            counts = evaluator.evaluate(step, parent, spec, experience, partial(_waiting, emit, spec, "evaluating"))
        record = StepRecord.of(step.record, counts, evaluator.key.fingerprint)
        if ledger is not None:
            ledger.append(record)
        emit(StepFinished(record) if trained else StepReused(record))
        yield StepResult(record, trained)
        parent = step
        finished.append(FinishedStep(spec, step, experience))


def _find_or_train(
    config: RunConfig,
    store: ObjectStore,
    spec: StepSpec,
    experience: Experience,
    finished: Sequence[FinishedStep],
    emit: EventHandler,
) -> tuple[StepCheckpoint, bool]:
    """A step, and whether this call trained it."""
    step = StepCheckpoint.find(store, spec.fingerprint)
    if step is not None:
        return step, False
    if spec.adopted:
        what = f"step {spec.index + 1} is an adopted model, which the store does not have"
        raise InputError(what, location=str(store), hint="adopt it again: `raycner adopt FOLDER --name NAME`")
    ranks.broadcast_from_rank0(config.scenario.memory.require_permission)
    lock = partial(
        acquire,
        store,
        f"steps/{spec.fingerprint}",
        partial(_waiting, emit, spec, "training"),
        ranks.broadcast_from_rank0,
    )
    trained: tuple[Network, TrainingRecord] | None = None
    while True:  # once, unless the lock is lost: then another process trains the step, and what it commits stays
        with lock() as held:
            step = StepCheckpoint.find(store, spec.fingerprint)
            if step is not None:
                return step, False
            with suppress(LockLost):
                trained = trained or _train(config, store, spec, experience, finished, emit, held)
                if not ranks.broadcast_from_rank0(lambda: held.is_lost):
                    return _commit(store, spec, *trained), True


def _train(
    config: RunConfig,
    store: ObjectStore,
    spec: StepSpec,
    experience: Experience,
    finished: Sequence[FinishedStep],
    emit: EventHandler,
    lock: Lock,
) -> tuple[Network, TrainingRecord]:
    """Train a step on its own sentences and on those that the steps before have kept. Raises `LockLost`."""
    memories = remembered(config, store, finished, partial(_waiting, emit, spec, "choosing the memory for"))
    experience = replace(experience, train=replace(experience.train, further=memories))
    parent = finished[-1].checkpoint if finished else None
    before = None if parent is None else parent.network(config.model)
    carried = parent.record.carried if parent is not None and spec.optim.calibration == "carried" else None
    compute = config.compute
    every, seconds = compute.checkpoint_epochs, compute.checkpoint_seconds
    with SnapshotCallback(store, spec.fingerprint, every, emit, lock, seconds) as callback:
        return train(spec, experience, before, callback, carried=carried or 0.0, compute=compute)


def _commit(store: ObjectStore, spec: StepSpec, network: Network, record: TrainingRecord) -> StepCheckpoint:
    """Commit a trained step, and remove its snapshots: every rank has read the one that it needs."""
    step = ranks.broadcast_from_rank0(lambda: StepCheckpoint.commit(store, spec, network, record))
    ranks.barrier()
    ranks.broadcast_from_rank0(lambda: store.remove(f"snapshots/{spec.fingerprint}"))
    return step


def _waiting(emit: EventHandler, spec: StepSpec, work: str, holder: str) -> None:
    emit(Waiting(f"waiting for step {spec.index + 1}, which {holder} is {work}"))
