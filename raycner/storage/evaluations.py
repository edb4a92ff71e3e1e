"""Evaluations: the counts of a trained step under one way of scoring it, in one JSON object of the store.

`evaluations/STEP/EVALUATION.json` holds (schema 1):

    schema     1
    step       fingerprint of the step, whose weights lie at steps/STEP
    settings   how it was scored, as plain data; EVALUATION is their fingerprint
    record     {dev, test, calibration, conlleval, tests, thresholds}: counts as in a ledger (`storage/ledger.py`)
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from raycner.errors import InputError
from raycner.storage.documents import Document
from raycner.storage.ledger import EvaluationRecord
from raycner.storage.store import ObjectStore


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluation as its file holds it."""

    schema: Literal[1] = 1
    step: str
    settings: Mapping[str, Any]
    record: EvaluationRecord


_EVALUATIONS = Document(Evaluation, "evaluation", "remove the file: the evaluation is made again when it is asked for")


def evaluation_key(step: str, name: str) -> str:
    """Where an evaluation lies in the store."""
    return f"evaluations/{step}/{name}.json"


def read_evaluation(store: ObjectStore, key: str) -> Evaluation:
    """The evaluation at a key. Raises FileNotFoundError, or `InputError` when the file cannot be read."""
    return _EVALUATIONS.read(store, key)


def find_evaluation(store: ObjectStore, step: str, name: str) -> EvaluationRecord | None:
    """The counts of an evaluation, if the store has it; a damaged file is logged."""
    try:
        return read_evaluation(store, evaluation_key(step, name)).record
    except FileNotFoundError:
        return None
    except InputError as error:
        logging.getLogger(__name__).warning("evaluated again: %s", error)
        return None


def write_evaluation(store: ObjectStore, name: str, evaluation: Evaluation) -> None:
    """Keep an evaluation under its name."""
    _EVALUATIONS.write(store, evaluation_key(evaluation.step, name), evaluation)
