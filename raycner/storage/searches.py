"""The record of a search: one JSON object of the store, replaced whenever a round of trials ends.

`searches/NAME/search.json` holds the fields of `SearchRecord` (schema 1). The journal of the search lies next to
it: Optuna reads and writes it, and optuna-dashboard shows it; people and reports read the record. An empty object at
`searches/NAME/steps/FINGERPRINT` says that a trial reached that step, so that it is not removed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict

from raycner.storage.documents import Document
from raycner.storage.store import ObjectStore

_JSON = ConfigDict(ser_json_inf_nan="strings")


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial: its settings, scores and progress."""

    __pydantic_config__ = _JSON

    number: int
    state: Literal["complete", "pruned", "failed"]
    settings: Mapping[str, Any]
    values: tuple[float, ...]
    """Its objectives against trial 0's at the same steps, in F1 from -1 to 1; () if it failed."""
    scores: tuple[float, ...]
    """After each step it came to: the first objective, as above."""
    trained: int
    """Steps that it trained; the others were in the store."""
    shared: int
    seconds: float
    reason: str = ""
    """Why it failed."""


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """Trials that compete with each other: all of a search, or those for one step of it."""

    name: str
    steps: int
    """How many steps the trials of this round walk."""
    trials: tuple[TrialRecord, ...]
    importances: Mapping[str, float]
    """Setting -> its share of what makes good trials good."""


@dataclass(frozen=True, kw_only=True)
class WinnerRecord:
    """The best finished trial, and trial 0."""

    settings: Mapping[str, Any]
    command: str
    """The line that runs it again."""
    runs: tuple[str, ...]
    """Names of its runs, one a seed: their ledgers lie in the store."""
    baseline: tuple[str, ...]
    """The same of trial 0."""


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """A search, as far as it has come."""

    schema: Literal[1] = 1
    name: str
    space: str
    """The file it was read from."""
    job: tuple[str, ...]
    metric: str
    objectives: tuple[str, ...]
    seeds: int
    strategy: str
    steps: int
    """Of the job."""
    rounds: tuple[RoundRecord, ...] = ()
    winner: WinnerRecord | None = None

    def __post_init__(self) -> None:
        if not self.objectives:
            raise ValueError("it has no objective")
        for trial in (trial for round_ in self.rounds for trial in round_.trials):
            if trial.state == "complete" and len(trial.values) != len(self.objectives):
                raise ValueError(f"trial {trial.number} has {len(trial.values)} of {len(self.objectives)} values")

    @staticmethod
    def key(name: str) -> str:
        """Where a search's record lies in the store."""
        return f"searches/{name}/search.json"

    def write(self, store: ObjectStore) -> None:
        """Keep it, in the place of an earlier one."""
        _RECORDS.write(store, self.key(self.name), self)

    @classmethod
    def all(cls, store: ObjectStore) -> "list[SearchRecord]":
        """The searches of a store, by name; one that cannot be read is left out with a warning."""
        return list(_RECORDS.read_valid(store, cls.keys(store)))

    @staticmethod
    def keys(store: ObjectStore) -> list[str]:
        """Where the records of all searches lie, by name."""
        return [key for key in store.list("searches") if key.endswith("/search.json")]

    @staticmethod
    def read(store: ObjectStore, key: str) -> "SearchRecord":
        """The record at a key. Raises FileNotFoundError, or `InputError` when the file cannot be read."""
        return _RECORDS.read(store, key)


_RECORDS = Document(
    SearchRecord,
    "search",
    "remove the file and search again: the finished steps are still in the store",
    lambda record: SearchRecord.key(record.name),
)


def want(store: ObjectStore, name: str, fingerprint: str) -> None:
    """Say that a search refers to a step."""
    store.write(f"searches/{name}/steps/{fingerprint}", b"")


def wanted(store: ObjectStore) -> set[str]:
    """The steps that the searches of a store refer to."""
    keys = (key.split("/") for key in store.list("searches"))
    return {key[3] for key in keys if len(key) == 4 and key[2] == "steps"}
