"""Evaluator: scores trained steps from their checkpoints, and keeps the counts in the store.

An evaluation is named by what it reads, whatever the step: decoding, thresholds, calibration, counting scheme, extra
test sets. It is made when it is first asked for, on all ranks together, and never trains.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Literal

from raycner.config import RunConfig
from raycner.data.scenarios.scenario import Experience, Split
from raycner.evaluation.test_sets import every_sentence, open_test_sets
from raycner.evaluation.thresholds import threshold_settings, thresholds_of
from raycner.hashing import Plain, fingerprint, omit_default_from_hash, plain
from raycner.networks.devices import place
from raycner.networks.network import Network
from raycner.storage.evaluations import Evaluation, find_evaluation, write_evaluation
from raycner.storage.ledger import CalibrationRecord, Counts, EvaluationRecord
from raycner.storage.locks import acquire
from raycner.storage.scratch import scratch_folder
from raycner.storage.store import ObjectStore
from raycner.training import ranks
from raycner.training.calibration import by_prior, calibrate
from raycner.training.checkpoint import StepCheckpoint
from raycner.training.counting import Counting, ReadOut, count_read_outs
from raycner.training.loader import SplitLoader
from raycner.training.plan import StepSpec
from raycner.training.teacher import Teacher


@dataclass(frozen=True, kw_only=True)
class EvaluationKey:
    """Everything that determines the counts of a given step."""

    head: Mapping[str, Plain] = field(default_factory=dict)
    """Settings of the head that the evaluation changes."""
    calibration: Literal["none", "read_out", "prior"] = "none"
    counting: Counting = "strict"
    tests: Mapping[str, str] = field(default_factory=dict)
    """Extra test sets: name -> fingerprint of the corpus."""
    threshold: Mapping[str, Plain] | None = omit_default_from_hash(default=None)
    """How thresholds are chosen; None reads by the head's own."""
    adopted_on: tuple[str, ...] = omit_default_from_hash(default=())
    """The test sentences of an adopted first step, which its name does not determine: see `Scenario.adopted_on`."""

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self)


DEFAULT = EvaluationKey()
"""The evaluation that version 0.1 stored with every step."""


@dataclass(frozen=True)
class Evaluator:
    """Scores the steps of one run as its `EvalConfig` asks."""

    store: ObjectStore
    config: RunConfig
    tests: Mapping[str, str] = field(default_factory=dict)
    """Extra test sets: name -> fingerprint of the corpus, which the store holds."""
    adopted_on: tuple[str, ...] = ()
    """The scenario's `adopted_on`."""

    @cached_property
    def key(self) -> EvaluationKey:
        asked = self.config.eval
        return EvaluationKey(
            head=asked.overrides(self.config.model.head),
            calibration=asked.calibration,
            counting=asked.counting,
            tests=self.tests,
            threshold=threshold_settings(asked, self.config.model.head),
            adopted_on=self.adopted_on,
        )

    def find(self, step: StepCheckpoint) -> EvaluationRecord | None:
        """The evaluation of a step, if it was made before. A collective call."""
        stored = ranks.broadcast_from_rank0(lambda: find_evaluation(self.store, step.fingerprint, self.key.fingerprint))
        return step.default_evaluation if stored is None and self.key == DEFAULT else stored

    def evaluate(
        self,
        step: StepCheckpoint,
        parent: StepCheckpoint | None,
        spec: StepSpec,
        experience: Experience,
        waiting: Callable[[str], None],
    ) -> EvaluationRecord:
        """Score a step, unless somebody else does so meanwhile. A collective call.

        `parent` is the step before, whose predictions on dev stand in for old labels when a calibration is chosen.
        """
        lock = f"evaluations/{step.fingerprint}/{self.key.fingerprint}"
        with acquire(self.store, lock, waiting, ranks.broadcast_from_rank0):
            record = self.find(step)
            if record is None:
                record = self._score(step, parent, spec, experience)
                if ranks.rank() == 0:
                    evaluation = Evaluation(step=step.fingerprint, settings=plain(self.key), record=record)
                    write_evaluation(self.store, self.key.fingerprint, evaluation)
            ranks.barrier()
        return record

    def _score(
        self, step: StepCheckpoint, parent: StepCheckpoint | None, spec: StepSpec, experience: Experience
    ) -> EvaluationRecord:
        network = self._network(step, spec)
        delta = self._delta(network, step, parent, spec, experience)
        thresholds = thresholds_of(self.config.eval, network, experience.dev)
        count = partial(_count, network, thresholds=thresholds.values if thresholds else None)
        raw, calibrated, published = ReadOut(), ReadOut(delta or 0.0), ReadOut(counting=self.key.counting)
        dev = count(experience.dev, {raw, calibrated})
        test = count(experience.test, {raw, calibrated, published})
        extra = {
            name: count(every_sentence(corpus, experience.inventory), {raw})[raw]
            for name, corpus in open_test_sets(self.store, self.tests).items()
        }
        return EvaluationRecord(
            dev=dev[raw],
            test=test[raw],
            calibration=None
            if delta is None
            else CalibrationRecord(delta=delta, dev=dev[calibrated], test=test[calibrated]),
            conlleval=None if published == raw else test[published],
            tests=extra or None,
            thresholds=thresholds,
        )

    def _network(self, step: StepCheckpoint, spec: StepSpec) -> Network:
        model = replace(self.config.model, head=self.config.eval.head(self.config.model.head))
        return place(step.network(model), spec.optim.precision)

    def _delta(
        self,
        network: Network,
        step: StepCheckpoint,
        parent: StepCheckpoint | None,
        spec: StepSpec,
        experience: Experience,
    ) -> float | None:
        """The new-type bias of the calibrated read-out: the one that the step carries, or one that dev gives."""
        if step.record.carried is not None or self.key.calibration == "none":
            return step.record.carried
        if self.key.calibration == "prior":
            return by_prior(network, experience.train, experience.dev)
        if parent is None:
            return calibrate(network, None, experience.dev)
        teacher = place(parent.network(self.config.model), spec.optim.precision)
        with scratch_folder() as scratch:
            return calibrate(network, Teacher(teacher, scratch), experience.dev)


def _count(
    network: Network, splits: Sequence[Split], read_outs: set[ReadOut], thresholds: Mapping[str, float] | None
) -> dict[ReadOut, Counts]:
    ordered = sorted(read_outs)
    loaders = [SplitLoader(split, network) for split in splits]
    return dict(zip(ordered, count_read_outs(network, loaders, ordered, thresholds=thresholds), strict=True))
