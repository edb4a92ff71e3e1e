"""The scores of one run, derived from the counts of its ledger: after each step and over all steps.

Scores are computed on test, in percent and unrounded; F1 unless the name says precision or recall. A score that is
undefined is None: no old type yet, or a type that occurs neither in gold nor in the predictions. The fields are the
keys of `raycner report --json`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from statistics import fmean
from typing import Any

from raycner.analysis.consistency import require_consistent
from raycner.data import metrics
from raycner.data.metrics import TypeCounts
from raycner.data.scenarios.scenario import recorded
from raycner.settings import spell
from raycner.storage.ledger import Counts, EpochRecord, PseudoRecord, RunLedger, StepRecord, ThresholdRecord


@dataclass(frozen=True, kw_only=True)
class CalibratedMeans:
    """F1 with the bias of new types lowered."""

    micro: float
    macro: float


@dataclass(frozen=True, kw_only=True)
class Calibrated(CalibratedMeans):
    """The F1 of a step with the bias of its new types lowered by `delta`."""

    delta: float
    """In logits, chosen on dev."""


@dataclass(frozen=True, kw_only=True)
class Pseudo:
    """The entities of one type that the teacher predicted in the training sentences of a step."""

    proposed: int
    kept: int
    """How many became labels."""
    threshold: float
    """The least confidence of a kept entity."""
    precision: float | None
    """In percent, of the kept entities; None when none was kept, or when the corpus does not annotate the type."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One pass over the training sentences of a step."""

    epoch: int
    """From 0."""
    losses: Mapping[str, float | None]
    """Name of a term -> its mean over the epoch; None when it was not finite."""
    dev: float | None
    """Micro-F1 on dev."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Means:
    """Scores over several types: micro (counts pooled) and macro (mean over types)."""

    micro: float
    macro: float
    micro_precision: float
    micro_recall: float
    macro_precision: float
    macro_recall: float


@dataclass(frozen=True, kw_only=True)
class SetScores(Means):
    """The scores of a step on one set of sentences: over all types known after the step, and for each of them."""

    counts: Mapping[str, TypeCounts]
    """(true positives, false positives, false negatives) for every type known after the step."""
    f1: Mapping[str, float | None]
    precision: Mapping[str, float | None]
    recall: Mapping[str, float | None]
    support: Mapping[str, int]
    """How many entities of each type gold has."""


@dataclass(frozen=True, kw_only=True)
class Overall(Means):
    """Scores over several types, and over the types that steps brought."""

    tasks: float
    """The mean over steps so far of the micro-F1 of the types each brought: SpanKL's Macro-F1."""
    old: float | None
    """Macro-F1 over the types of earlier steps."""
    new: float | None
    """Macro-F1 over the types of this step."""


@dataclass(frozen=True, kw_only=True)
class Step(Overall, SetScores):
    """A finished step, and its scores on test."""

    index: int
    """From 0."""
    fingerprint: str
    learns: tuple[str, ...]
    """The types that this step brought."""
    by_task: tuple[float | None, ...]
    """The micro-F1 of the types that each step so far brought."""
    calibrated: Calibrated | None
    conlleval: float | None
    """Micro-F1 as the conlleval script of 2004 counts BIOES tags; None unless it was asked for."""
    thresholds: Mapping[str, float] | None
    """The least confidence of an entity, by type; None where the head's own decided."""
    tests: Mapping[str, SetScores]
    """The scores on extra test sets, by name (`eval.test.NAME`); a set is left out where no type known after the step
    occurs in it."""
    pseudo: Mapping[str, Pseudo] | None
    """By old type; None when no teacher predicted entities."""
    dev_support: Mapping[str, int]
    """How many entities of each type dev has, which selects the epoch."""
    best_epoch: int
    epochs: tuple[Epoch, ...]
    sentences: int
    seconds: float
    workers: int
    dtype: str | None
    """The arithmetic of training: bf16, fp32 or fp64; None when the ledger does not record it."""
    device: str | None
    """What computed: cpu, or the name of the GPU; None when the ledger does not record it."""
    version: str | None
    """The version of raycner that trained the step; None when the ledger does not record it."""
    notes: tuple[str, ...]
    """Remarks made while it was trained."""


@dataclass(frozen=True, kw_only=True)
class Average(Overall):
    """Means over the finished steps; those of old and new types from the second step on."""

    calibrated: CalibratedMeans | None
    """None when a step was not calibrated."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus that a run learned from."""

    fingerprint: str
    types: tuple[str, ...]
    notes: tuple[str, ...]
    """Remarks made while it was read."""
    source: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """The scores of a run. Those of an unfinished run are over the steps that it has."""

    run: str
    label: str
    seed: int
    joint: bool
    """Whether its protocol is the upper bound of another."""
    config: Mapping[str, Any]
    corpora: tuple[Corpus, ...]
    finished: bool
    plan: tuple[tuple[str, ...], ...]
    """The types that each step brings, including steps that are not done yet."""
    order: str
    """The order of the types: SpanKL's name of it where tasks are learned, "draw 2" where a few sentences of each type
    are drawn, else the types themselves."""
    decoder: str | None
    """How the head's output was decoded; None for a head with one decoder."""
    calibration: str
    threshold: str | None
    """The least confidence of a predicted entity, or how it was chosen; None where there is none."""
    numerics: int | None
    """`NUMERICS` of the version that trained it; None where neither the ledger nor a step in the store says it."""
    steps: tuple[Step, ...]
    average: Average | None
    forgetting: Mapping[str, float]
    """Of each type: its best F1 after an earlier step minus that after the last; negative: improved."""
    mean_forgetting: float | None
    backward_transfer: float | None
    """BWT: mean over the steps but the last of the micro-F1 of their types, after the last step minus when learned."""
    backward_interference: float | None
    """SpanKL's BI: mean over steps of the micro-F1 of their types, after the last step minus the best after any."""
    seconds: float
    """Of training; a step that another run trained before counts here too."""
    workers: tuple[int, ...]
    """Every number of workers that a step was trained on."""
    dtypes: tuple[str, ...]
    """Every arithmetic that a step was trained in, as far as the ledger records it."""
    devices: tuple[str, ...]
    """Every device that trained a step, cpu or the name of a GPU, as far as the ledger records it."""
    versions: tuple[str, ...]
    """Every version of raycner that trained a step, as far as the ledger records it."""


def scores(ledger: RunLedger, label: str | None = None) -> Run:
    """Every score of a run; `label` replaces the name of its method. Raises `InputError` for an inconsistent ledger."""
    settings = recorded(ledger.config)
    require_consistent(ledger, settings)
    records = ledger.records()
    series, tasks = [record.test for record in records], [record.new for record in records]
    steps = tuple(_step(record, tasks[: number + 1]) for number, record in enumerate(records))
    forgetting = {name: 100 * lost for name, lost in metrics.forgetting(series).items()} if series else {}
    return Run(
        run=ledger.run,
        label=label or ledger.label,
        seed=settings["seed"],
        joint=bool(settings["scenario"].get("joint")),
        config=settings,
        corpora=tuple(Corpus(**vars(note)) for note in ledger.corpora),
        finished=ledger.finished,
        plan=tuple(step.new for step in ledger.planned),
        order=_order(settings["scenario"], ledger),
        decoder=_read_out(settings, "decoding"),
        calibration=_calibration(settings),
        threshold=_threshold(settings, records),
        numerics=ledger.numerics,
        steps=steps,
        average=_average(steps) if steps else None,
        forgetting=forgetting,
        mean_forgetting=fmean(forgetting.values()) if forgetting else None,
        backward_transfer=_percent(metrics.backward_transfer(series, tasks)) if series else None,
        backward_interference=100 * metrics.backward_interference(series, tasks) if series else None,
        seconds=sum(record.seconds for record in records),
        workers=tuple(sorted({record.workers for record in records})),
        dtypes=tuple(sorted({record.dtype for record in records if record.dtype})),
        devices=tuple(sorted({record.device for record in records if record.device})),
        versions=tuple(sorted({record.version for record in records if record.version})),
    )


def _evaluation(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings `eval`, which version 0.1 did not have."""
    evaluation: Mapping[str, Any] = settings.get("eval") or {}
    return evaluation


def _read_out(settings: Mapping[str, Any], name: str) -> str | None:
    """A setting of the head as the evaluation read it; None where the head has none."""
    asked = _evaluation(settings).get(name)
    value = settings["model"]["head"].get(name) if asked is None else asked
    return None if value is None else spell(value)


def _order(scenario: Mapping[str, Any], ledger: RunLedger) -> str:
    if learns_tasks(scenario):
        return str(scenario["protocol"]["permutation"])
    if protocol_name(scenario) == "few_shot":
        return f"draw {scenario['protocol']['draw']}"
    return ", ".join(types_of(step.new for step in ledger.planned))


def _threshold(settings: Mapping[str, Any], records: Sequence[StepRecord]) -> str | None:
    """How the thresholds of the last step were chosen; where it records none, the setting."""
    if records and records[-1].thresholds is not None:
        return threshold_name(records[-1].thresholds)
    return _read_out(settings, "threshold")


def threshold_name(thresholds: ThresholdRecord) -> str:
    """A number, "prior 0.1", or how dev chose: "dev" or "dev per type"."""
    value = next(iter(thresholds.values.values()), 0.0)
    names = {"fixed": f"{value:g}", "prior": f"prior {value:g}", "dev": "dev", "dev_per_type": "dev per type"}
    return names[thresholds.rule]


def _calibration(settings: Mapping[str, Any]) -> str:
    """carried, read_out or none; version 0.1 had all three in `optim.calibration`."""
    of_training: str = settings["optim"].get("calibration", "none")
    of_evaluation: str = _evaluation(settings).get("calibration", "none")
    return of_training if of_training != "none" else of_evaluation


def protocol_name(scenario: Mapping[str, Any]) -> str:
    """The protocol of a scenario, or `scratch`, its baseline; that of an upper bound is the one that it bounds."""
    protocol: Mapping[str, Any] = scenario["protocol"]
    return "scratch" if protocol.get("scratch") else str(protocol["name"])


def corpus_name(scenario: Mapping[str, Any]) -> str:
    """What a reader calls the corpus: the folder or file it is read from; else, as for a file pattern, its layout."""
    corpus: Mapping[str, Any] = scenario["corpus"]
    name = PurePosixPath(corpus.get("path") or "").name
    return str(corpus["name"]) if name in ("", "..") or set(name) & set("*?[") else name


def learns_tasks(scenario: Mapping[str, Any]) -> bool:
    """Whether the steps of a scenario are SpanKL's tasks."""
    return protocol_name(scenario) in ("split", "filter")


def types_of(plan: Iterable[Iterable[str]]) -> list[str]:
    """The types of all steps, in the order they are learned."""
    return list(dict.fromkeys(name for names in plan for name in names))


def step_notes(run: Run) -> list[tuple[str, str]]:
    """The remarks on the steps of a run, each with the steps that it is on: `step 2`, or `steps 2, 3`."""
    notes: dict[str, list[str]] = {}
    for step in run.steps:
        for note in step.notes:
            notes.setdefault(note, []).append(str(step.index + 1))
    return [(f"step{'s' if len(steps) > 1 else ''} {', '.join(steps)}", note) for note, steps in notes.items()]


def extra_test_sets(run: Run) -> list[str]:
    """The names of the extra test sets that a step of a run has scores on."""
    return list(dict.fromkeys(name for step in run.steps for name in step.tests))


def _step(record: StepRecord, tasks: Sequence[Sequence[str]]) -> Step:
    counts = record.test
    old, new = metrics.old_new(counts, record.new)
    tests = {name: extra for name, extra in (record.tests or {}).items() if any(map(any, extra.values()))}
    return Step(
        **vars(_set_scores(counts)),
        index=record.index,
        fingerprint=record.fingerprint,
        learns=record.new,
        tasks=100 * metrics.macro_over_tasks(counts, tasks),
        by_task=tuple(_task_score(counts, task) for task in tasks),
        old=_percent(old),
        new=_percent(new),
        calibrated=_calibrated(record),
        thresholds=record.thresholds.values if record.thresholds else None,
        conlleval=None if record.conlleval is None else 100 * metrics.micro(record.conlleval),
        tests={name: _set_scores(extra) for name, extra in tests.items()},
        pseudo=None if record.pseudo is None else {name: _pseudo(stats) for name, stats in record.pseudo.items()},
        dev_support={name: metrics.support(of_type) for name, of_type in record.dev.items()},
        best_epoch=record.best_epoch,
        epochs=tuple(map(_epoch, record.epochs)),
        sentences=record.sentences,
        seconds=record.seconds,
        workers=record.workers,
        dtype=record.dtype,
        device=record.device,
        version=record.version,
        notes=record.notes,
    )


def _set_scores(counts: Counts) -> SetScores:
    occurring = {name: of_type if any(of_type) else None for name, of_type in counts.items()}
    return SetScores(
        counts=dict(counts),
        f1={name: of_type and 100 * metrics.f1(of_type) for name, of_type in occurring.items()},
        precision={name: of_type and 100 * metrics.precision(of_type) for name, of_type in occurring.items()},
        recall={name: of_type and 100 * metrics.recall(of_type) for name, of_type in occurring.items()},
        support={name: metrics.support(of_type) for name, of_type in counts.items()},
        micro=100 * metrics.micro(counts),
        macro=100 * metrics.macro(counts),
        micro_precision=100 * metrics.micro(counts, score=metrics.precision),
        micro_recall=100 * metrics.micro(counts, score=metrics.recall),
        macro_precision=100 * metrics.macro(counts, score=metrics.precision),
        macro_recall=100 * metrics.macro(counts, score=metrics.recall),
    )


def _epoch(record: EpochRecord) -> Epoch:
    losses = {term: _finite(value) for term, value in record.losses.items()}
    return Epoch(epoch=record.epoch, losses=losses, dev=_finite(100 * record.dev_score), seconds=record.seconds)


def _finite(value: float) -> float | None:
    """JSON has no other numbers."""
    return value if math.isfinite(value) else None


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _task_score(counts: Counts, task: Sequence[str]) -> float | None:
    return 100 * metrics.micro(counts, task) if any(any(counts[name]) for name in task) else None


def _pseudo(record: PseudoRecord) -> Pseudo:
    precision = 100 * record.right / record.kept if record.kept and record.right is not None else None
    return Pseudo(proposed=record.proposed, kept=record.kept, threshold=record.threshold, precision=precision)


def _calibrated(record: StepRecord) -> Calibrated | None:
    if record.calibration is None:
        return None
    counts = record.calibration.test
    micro, macro = 100 * metrics.micro(counts), 100 * metrics.macro(counts)
    return Calibrated(delta=record.calibration.delta, micro=micro, macro=macro)


def _average(steps: Sequence[Step]) -> Average:
    calibrated = [step.calibrated for step in steps if step.calibrated is not None]
    old = [step.old for step in steps[1:] if step.old is not None]
    new = [step.new for step in steps[1:] if step.new is not None]
    return Average(
        micro=fmean(step.micro for step in steps),
        macro=fmean(step.macro for step in steps),
        micro_precision=fmean(step.micro_precision for step in steps),
        micro_recall=fmean(step.micro_recall for step in steps),
        macro_precision=fmean(step.macro_precision for step in steps),
        macro_recall=fmean(step.macro_recall for step in steps),
        tasks=fmean(step.tasks for step in steps),
        old=fmean(old) if old else None,
        new=fmean(new) if new else None,
        calibrated=_calibrated_means(calibrated) if len(calibrated) == len(steps) else None,
    )


def _calibrated_means(calibrated: Sequence[Calibrated]) -> CalibratedMeans:
    micro, macro = fmean(step.micro for step in calibrated), fmean(step.macro for step in calibrated)
    return CalibratedMeans(micro=micro, macro=macro)
