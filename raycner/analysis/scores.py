"""The scores of one run: what its ledger's counts say, step by step and over all steps.

All scores are F1 on test, in percent and unrounded; None where there is nothing to say (no old type yet, a type that
occurs neither in gold nor in the predictions).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from statistics import fmean
from typing import Any, TypedDict

from raycner.data import metrics as scoring
from raycner.data.scenarios.scenario import PROTOCOLS
from raycner.hashing import plain
from raycner.storage.ledger import Counts, EpochRecord, PseudoRecord, RunLedger, StepRecord


class ReadOut(TypedDict):
    """Scores of a network read out in another way."""

    micro: float
    macro: float


class Calibrated(ReadOut):
    """A step read out with its new types' bias lowered."""

    delta: float
    """In logits, chosen on dev."""


class Pseudo(TypedDict):
    """What became of the entities of one type that the teacher found in a step's training sentences."""

    proposed: int
    kept: int
    threshold: float
    """The confidence that was asked for."""
    precision: float | None
    """In percent, of the kept ones; None where none was kept, or where the corpus does not know the type."""


class Epoch(TypedDict):
    """One pass over a step's training sentences."""

    epoch: int
    """From 0."""
    losses: dict[str, float | None]
    """Name of a term -> its mean over the epoch; None where it was no number."""
    dev: float | None
    """Micro-F1 on dev."""
    seconds: float


class Step(TypedDict):
    """A finished step."""

    index: int
    """From 0."""
    fingerprint: str
    learns: list[str]
    """The types this step brought."""
    counts: dict[str, list[int]]
    """[tp, fp, fn] on test, for every type known after the step."""
    f1: dict[str, float | None]
    micro: float
    macro: float
    tasks: float
    """The mean over steps so far of the micro-F1 of the types each brought: SpanKL's Macro-F1."""
    by_task: list[float | None]
    """That micro-F1, of each step so far."""
    old: float | None
    """Macro-F1 over the types of earlier steps."""
    new: float | None
    """Macro-F1 over the types of this step."""
    calibrated: Calibrated | None
    conlleval: float | None
    """Micro-F1 as the conlleval script of 2004 counts BIOES tags; None where it was not asked for."""
    pseudo: dict[str, Pseudo] | None
    """By old type; None where no teacher was asked for entities."""
    best_epoch: int
    epochs: list[Epoch]
    sentences: int
    seconds: float
    workers: int


class Average(TypedDict):
    """Means over the finished steps; those of old and new types from the second step on."""

    micro: float
    macro: float
    tasks: float
    old: float | None
    new: float | None
    calibrated: ReadOut | None
    """None when a step was not calibrated."""


class Run(TypedDict):
    """A ledger. Of an unfinished run, everything is said over the steps it has."""

    run: str
    label: str
    seed: int
    joint: bool
    """Whether its protocol is the upper bound of another."""
    config: dict[str, Any]
    corpora: list[dict[str, Any]]
    """Of each: fingerprint, types, notes (what had to be said about reading it), source."""
    finished: bool
    plan: list[list[str]]
    """The types that each step brings, steps to come included."""
    steps: list[Step]
    average: Average | None
    forgetting: dict[str, float]
    """Of each type: its best F1 after an earlier step minus that after the last; negative is gained."""
    mean_forgetting: float | None
    backward_transfer: float | None
    """The mean over steps of: micro-F1 of the types it brought after the last step, minus their best."""
    seconds: float
    """Of training; a step that another run had trained before counts here too."""
    workers: list[int]
    """Every number of workers that a step was trained on."""


def scores(ledger: RunLedger) -> Run:
    """Every score of a run."""
    records = ledger.records()
    series, tasks = [record.test for record in records], [record.new for record in records]
    steps = [_step(record, tasks[: number + 1]) for number, record in enumerate(records)]
    fallen = {name: 100 * far for name, far in scoring.forgetting(series).items()} if series else {}
    return {
        "run": ledger.run,
        "label": ledger.label,
        "seed": ledger.config["seed"],
        "joint": bounded(ledger.config["scenario"]) != ledger.config["scenario"]["protocol"],
        "config": plain(ledger.config),
        "corpora": plain(ledger.corpora),
        "finished": ledger.finished,
        "plan": [list(step.new) for step in ledger.planned],
        "steps": steps,
        "average": _average(steps) if steps else None,
        "forgetting": fallen,
        "mean_forgetting": fmean(fallen.values()) if fallen else None,
        "backward_transfer": 100 * scoring.backward_transfer(series, tasks) if series else None,
        "seconds": sum(record.seconds for record in records),
        "workers": sorted({record.workers for record in records}),
    }


def bounded(scenario: Mapping[str, Any]) -> str:
    """The protocol of a scenario or, if that is an upper bound, the one that it bounds."""
    name: str = scenario["protocol"]
    return (PROTOCOLS[name].bounds if name in PROTOCOLS else None) or name


def corpus_name(scenario: Mapping[str, Any]) -> str:
    """What a reader calls the corpus: the folder or file it is read from; else, as of a file pattern, its layout."""
    name = PurePosixPath(scenario.get("source") or "").name
    layout: str = scenario["corpus"]
    return layout if name in ("", "..") or set(name) & set("*?[") else name


def learns_tasks(scenario: Mapping[str, Any]) -> bool:
    """Whether the steps of a scenario are SpanKL's tasks."""
    return bounded(scenario) in ("split", "filter")


def _step(record: StepRecord, tasks: Sequence[Sequence[str]]) -> Step:
    old, new = scoring.old_new(record.test, record.new)
    return {
        "index": record.index,
        "fingerprint": record.fingerprint,
        "learns": list(record.new),
        "counts": {name: list(counts) for name, counts in record.test.items()},
        "f1": {name: 100 * scoring.f1(counts) if any(counts) else None for name, counts in record.test.items()},
        "micro": 100 * scoring.micro(record.test),
        "macro": 100 * scoring.macro(record.test),
        "tasks": 100 * scoring.macro_over_tasks(record.test, tasks),
        "by_task": [_micro(record.test, task) for task in tasks],
        "old": None if old is None else 100 * old,
        "new": None if new is None else 100 * new,
        "calibrated": _calibrated(record),
        "conlleval": None if record.conlleval is None else 100 * scoring.micro(record.conlleval),
        "pseudo": None if record.pseudo is None else {kind: _pseudo(said) for kind, said in record.pseudo.items()},
        "best_epoch": record.best_epoch,
        "epochs": [_epoch(epoch) for epoch in record.epochs],
        "sentences": record.sentences,
        "seconds": record.seconds,
        "workers": record.workers,
    }


def _epoch(epoch: EpochRecord) -> Epoch:
    losses = {term: _number(value) for term, value in epoch.losses.items()}
    return {"epoch": epoch.epoch, "losses": losses, "dev": _number(100 * epoch.dev_score), "seconds": epoch.seconds}


def _number(value: float) -> float | None:
    """What JSON can hold."""
    return value if math.isfinite(value) else None


def _micro(counts: Counts, task: Sequence[str]) -> float | None:
    return 100 * scoring.micro(counts, task) if any(any(counts[name]) for name in task) else None


def _pseudo(said: PseudoRecord) -> Pseudo:
    precision = 100 * said.right / said.kept if said.kept and said.right is not None else None
    return {"proposed": said.proposed, "kept": said.kept, "threshold": said.threshold, "precision": precision}


def _calibrated(record: StepRecord) -> Calibrated | None:
    if record.calibration is None:
        return None
    counts = record.calibration.test
    micro, macro = 100 * scoring.micro(counts), 100 * scoring.macro(counts)
    return {"delta": record.calibration.delta, "micro": micro, "macro": macro}


def _average(steps: Sequence[Step]) -> Average:
    calibrated = [step["calibrated"] for step in steps if step["calibrated"] is not None]
    old = [step["old"] for step in steps[1:] if step["old"] is not None]
    new = [step["new"] for step in steps[1:] if step["new"] is not None]
    return {
        "micro": fmean(step["micro"] for step in steps),
        "macro": fmean(step["macro"] for step in steps),
        "tasks": fmean(step["tasks"] for step in steps),
        "old": fmean(old) if old else None,
        "new": fmean(new) if new else None,
        "calibrated": _read_out(calibrated) if len(calibrated) == len(steps) else None,
    }


def _read_out(calibrated: Sequence[Calibrated]) -> ReadOut:
    return {"micro": fmean(s["micro"] for s in calibrated), "macro": fmean(s["macro"] for s in calibrated)}
