"""The ledger of a run: the records of its steps, in one JSON object of the store, replaced whole after each step.

`runs/RUN/ledger.json` holds (schema 1; a reader ignores keys that it does not know):

    schema     1
    run        the run's name: fingerprint of its chain of steps
    label      its title in tables
    config     the settings, as plain data
    corpora    [{fingerprint, types, notes, source}]: the corpora it learned from, with notes of their reader
    numerics   what `NUMERICS` was when its steps were named; null in ledgers written before it was recorded
    planned    [{index, fingerprint, new}]: the steps the run consists of, and the types each one brings
    records    [{index, fingerprint, new, seen, sentences, epochs, best_epoch, seconds, workers, batch_size, dtype,
               version, environment, carried, replay_weight, pseudo, notes, evaluation, dev, test, calibration,
               conlleval, tests, thresholds}]: the steps that are done, by index. `dev` and `test` count, for each type,
               [true positives, false positives, false negatives] of the entities predicted on all types seen so far;
               every score is derived from them. `evaluation` names the evaluation of the step that these counts are
               copied from (evaluations/STEP/EVALUATION.json). `epochs` are [{epoch, losses, dev_score, seconds}],
               `conlleval` counts like `test` as that script does, `tests` has the counts of extra test sets by name,
               `thresholds` are the least confidences of the counted entities, and `pseudo` has, by old type, {proposed,
               kept, threshold, right} of a teacher's entities. Numbers that JSON lacks are "NaN" and "Infinity".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import ConfigDict

from raycner.errors import InputError
from raycner.storage.documents import Document
from raycner.storage.store import ObjectStore

Counts = Mapping[str, tuple[int, int, int]]
"""Type -> (true positives, false positives, false negatives), in entities."""

_JSON = ConfigDict(ser_json_inf_nan="strings")


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One pass over a step's training sentences."""

    __pydantic_config__ = _JSON

    epoch: int
    losses: Mapping[str, float]
    """Name of a term -> its mean over the epoch, unweighted by other terms."""
    dev_score: float
    """Micro F1 on the dev split, from 0 to 1."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class CalibrationRecord:
    """The counts of a step whose newest types' logits are lowered by `delta`."""

    delta: float
    """In logits, chosen on dev."""
    dev: Counts
    test: Counts


@dataclass(frozen=True, kw_only=True)
class ThresholdRecord:
    """The least confidence of an entity, by type, and how it was chosen."""

    rule: Literal["fixed", "prior", "dev", "dev_per_type"]
    values: Mapping[str, float]
    source: Mapping[str, str] = field(default_factory=dict)
    """Of each type, where dev chose: type, by its own entities; all, by those of all types; prior, by none, since these
    are too few."""
    support: Mapping[str, int] = field(default_factory=dict)
    """Of each type, where dev chose: how many entities dev shows."""


@dataclass(frozen=True, kw_only=True)
class PseudoRecord:
    """The entities of one type that a teacher predicted in a step's training sentences."""

    proposed: int
    kept: int
    """As labels, next to gold."""
    threshold: float
    """The confidence from which they are kept."""
    right: int | None
    """How many of the kept ones are in the corpus, hidden from training; None where it does not annotate the type."""


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """How one step was trained. The store keeps it next to the step's weights."""

    __pydantic_config__ = _JSON

    index: int
    fingerprint: str
    new: tuple[str, ...]
    seen: tuple[str, ...]
    """All types learned so far, the new ones last, in the order they were learned."""
    sentences: int
    """How many training sentences the step had."""
    epochs: tuple[EpochRecord, ...]
    best_epoch: int
    seconds: float
    workers: int
    batch_size: int | None = None
    """Sentences per update, over all workers together; None in ledgers written before it was recorded."""
    carried: float | None = None
    """The new-type bias, in logits, that the step's answers as a teacher include; None where none is carried."""
    replay_weight: float | None = None
    """The weight of replayed features that dev chose; None where it is given, or none are replayed."""
    pseudo: Mapping[str, PseudoRecord] | None = None
    """By old type; None where no teacher was asked for entities."""
    dtype: str | None = None
    """The arithmetic of training: bf16, fp32 or fp64; None in ledgers written before it was recorded."""
    device: str | None = None
    """What computed: cpu, or the name of the GPU; None in ledgers written before it was recorded."""
    deterministic: bool | None = None
    """Whether PyTorch was limited to deterministic algorithms; None in ledgers written before it was recorded."""
    version: str | None = None
    """The version of raycner that trained the step; None in ledgers written before it was recorded."""
    environment: Mapping[str, str] | None = None
    """Versions of what it was computed with, by name (python, machine, torch, ray, transformers, numpy, and the commit
    of a checkout); None in ledgers written before it was recorded."""
    notes: tuple[str, ...] = ()
    """Lines for people: what of the step could not be done, or not as it was asked."""


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """The counts of one evaluation of a step."""

    dev: Counts
    test: Counts
    calibration: CalibrationRecord | None = None
    """Next to the raw `dev` and `test`; None where it is not asked for."""
    conlleval: Counts | None = None
    """`test` as the conlleval script of 2004 counts BIOES tags; None where it is not asked for."""
    tests: Mapping[str, Counts] | None = None
    """Extra test sets, by name; None where there are none."""
    thresholds: ThresholdRecord | None = None
    """The thresholds that all counts were read with; None where the head's own were."""


@dataclass(frozen=True, kw_only=True)
class StepRecord(TrainingRecord, EvaluationRecord):
    """How one step was trained, and the counts of one of its evaluations."""

    evaluation: str | None = None
    """Name of the evaluation; None where the step comes from version 0.1, which evaluated while it trained."""

    @classmethod
    def of(cls, training: TrainingRecord, evaluation: EvaluationRecord, name: str) -> "StepRecord":
        """The record of a step and the evaluation of that name."""
        return cls(**vars(training), **vars(evaluation), evaluation=name)


@dataclass(frozen=True, kw_only=True)
class CorpusNote:
    """A corpus from which a run learned."""

    fingerprint: str
    types: tuple[str, ...]
    notes: tuple[str, ...]
    source: str


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """A step of a run, finished or not."""

    index: int
    fingerprint: str
    new: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A ledger as its file holds it."""

    schema: Literal[1] = 1
    run: str
    label: str
    config: Mapping[str, Any]
    corpora: tuple[CorpusNote, ...]
    planned: tuple[PlannedStep, ...]
    records: tuple[StepRecord, ...] = ()
    numerics: int | None = None


_PAGES = Document(
    Page,
    "ledger",
    "remove the file and run again: the finished steps are still in the store",
    lambda page: RunLedger.key(page.run),
)


class RunLedger:
    """The records of one run, kept in a store. One process writes it: the one that drives the run."""

    def __init__(self, store: ObjectStore, page: Page) -> None:
        self._store, self._page = store, page

    @staticmethod
    def key(run: str) -> str:
        """Where a run's ledger lies in the store."""
        return f"runs/{run}/ledger.json"

    @classmethod
    def create(
        cls,
        store: ObjectStore,
        run: str,
        *,
        label: str,
        config: Mapping[str, Any],
        corpora: Sequence[CorpusNote],
        planned: Sequence[PlannedStep],
        numerics: int | None = None,
    ) -> "RunLedger":
        """Write a new ledger, in place of any that the run had."""
        page = Page(
            run=run, label=label, config=config, corpora=tuple(corpora), planned=tuple(planned), numerics=numerics
        )
        ledger = cls(store, page)
        ledger._write()
        return ledger

    @classmethod
    def open(cls, store: ObjectStore, run: str) -> "RunLedger":
        """The ledger of a run. Raises FileNotFoundError when it has none, `InputError` when the file cannot be read."""
        return cls(store, _PAGES.read(store, cls.key(run)))

    @classmethod
    def find(cls, store: ObjectStore, run: str) -> "RunLedger | None":
        """The ledger of a run, if it has one."""
        try:
            return cls.open(store, run)
        except FileNotFoundError:
            return None

    @classmethod
    def all(cls, store: ObjectStore) -> "list[RunLedger]":
        """The ledgers of all runs in a store, by name; one that cannot be read is left out with a warning."""
        return [cls(store, page) for page in _PAGES.read_valid(store, ledger_keys(store))]

    @classmethod
    def open_all(cls, store: ObjectStore) -> "dict[str, RunLedger | InputError]":
        """The ledgers of all runs in a store, by key; in place of one that cannot be read, its error."""
        keys = ledger_keys(store)
        pages = dict(zip(keys, _PAGES.read_many(store, keys), strict=True))
        return {
            key: page if isinstance(page, InputError) else cls(store, page)
            for key, page in pages.items()
            if not isinstance(page, FileNotFoundError)
        }

    @property
    def run(self) -> str:
        return self._page.run

    @property
    def label(self) -> str:
        return self._page.label

    @property
    def config(self) -> Mapping[str, Any]:
        return self._page.config

    @property
    def corpora(self) -> tuple[CorpusNote, ...]:
        return self._page.corpora

    @property
    def planned(self) -> tuple[PlannedStep, ...]:
        return self._page.planned

    @property
    def numerics(self) -> int | None:
        """`NUMERICS` when its steps were named; of a ledger that does not record it, as its first step says, if it is
        still in the store."""
        if self._page.numerics is None and self.records():
            return _numerics(self._store, self.records()[0].fingerprint)
        return self._page.numerics

    def records(self) -> tuple[StepRecord, ...]:
        """The finished steps, by index."""
        return self._page.records

    def up_to(self, record: StepRecord) -> Page:
        """The ledger without the steps after this one."""
        return replace(
            self._page,
            planned=tuple(step for step in self.planned if step.index <= record.index),
            records=tuple(one for one in self.records() if one.index <= record.index),
        )

    @property
    def finished(self) -> bool:
        """Whether every planned step has a record."""
        done = {(record.index, record.fingerprint) for record in self.records()}
        return all((step.index, step.fingerprint) in done for step in self.planned)

    def append(self, record: StepRecord) -> None:
        """Add the record of a step, in place of an earlier one of that index."""
        records = {one.index: one for one in (*self.records(), record)}
        self._page = replace(self._page, records=tuple(records[index] for index in sorted(records)))
        self._write()

    def _write(self) -> None:
        _PAGES.write(self._store, self.key(self.run), self._page)


def ledger_keys(store: ObjectStore) -> list[str]:
    """Where the ledgers of all runs lie, readable or not, by name."""
    keys = store.list("runs")
    return [key for key in keys if key.count("/") == 2 and key.endswith("/ledger.json")]


def _numerics(store: ObjectStore, step: str) -> int | None:
    """The numerics in the specification of a step; None where the step is gone or says nothing of the kind."""
    try:
        numerics = json.loads(store.read(f"steps/{step}/step.json"))["spec"]["numerics"]
    except (FileNotFoundError, InputError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return numerics if isinstance(numerics, int) else None
