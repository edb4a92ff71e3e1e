"""Consistency: what the scores of a run rely on in its ledger, which is data that anybody may have written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from raycner.errors import InputError
from raycner.storage.ledger import RunLedger, StepRecord


@dataclass(frozen=True)
class Kind:
    """A member of a family, such as a layout; its other settings are its own."""

    name: str


@dataclass(frozen=True)
class ScenarioSettings:
    corpus: Kind
    protocol: Kind


@dataclass(frozen=True)
class ModelSettings:
    head: Kind


@dataclass(frozen=True)
class CalibrationSettings:
    calibration: str = "none"


@dataclass(frozen=True)
class ReportedSettings:
    """The settings that every report reads."""

    seed: int
    scenario: ScenarioSettings
    model: ModelSettings
    optim: CalibrationSettings
    eval: CalibrationSettings = CalibrationSettings()


SETTINGS = TypeAdapter(ReportedSettings)


def require_consistent(ledger: RunLedger, settings: Mapping[str, Any]) -> None:
    """Raise `InputError` for the first flaw. `settings` are those of the ledger in today's form."""
    for flaw in (*_of_settings(settings), *_of_records(ledger)):
        hint = "remove the run's ledger.json and run it again: the finished steps are still in the store"
        raise InputError(f"an inconsistent ledger: {flaw}", location=ledger.run, hint=hint)


def _of_settings(settings: Mapping[str, Any]) -> Iterator[str]:
    try:
        SETTINGS.validate_python(settings)
    except ValidationError as error:
        flaw = error.errors(include_url=False)[0]
        yield f"config.{'.'.join(map(str, flaw['loc']))}: {flaw['msg'].lower()}"


def _of_records(ledger: RunLedger) -> Iterator[str]:
    planned = {kind for step in ledger.planned for kind in step.new}
    indices = [record.index for record in ledger.records()]
    if indices != sorted(set(indices)):
        yield "its steps are not in order, or one comes twice"
    learned: set[str] = set()
    for record in ledger.records():
        learned.update(record.new)
        if not learned <= set(record.seen):
            yield f"step {record.index + 1}: it has not seen the types of the steps before"
        yield from (f"step {record.index + 1}: {flaw}" for flaw in _of_record(record, planned))


def _of_record(record: StepRecord, planned: set[str]) -> Iterator[str]:
    seen = set(record.seen)
    if not set(record.new) <= seen <= planned:
        yield "its types are not among those learned so far, or those planned"
    for part, counts in (("dev", record.dev), ("test", record.test)):
        if not seen <= counts.keys():
            yield f"{part} lacks the counts of a type"
        if any(min(triple) < 0 for triple in counts.values()):
            yield f"{part} has a negative count"
