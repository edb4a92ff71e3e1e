"""What a search has found, in one JSON object of the store, replaced whole whenever a trial ends.

`searches/NAME/search.json` holds the fields of `SearchRecord` (schema 1). Beside it lie the journals of the search's
rounds, which Optuna reads and writes and optuna-dashboard shows; the record is what people and reports read. An empty
object at `searches/NAME/steps/FINGERPRINT` says that a trial came to that step: the search wants it kept.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from raycner.errors import Refusal
from raycner.storage.store import ObjectStore

_JSON = ConfigDict(ser_json_inf_nan="strings")


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial: what was tried, and how far it came."""

    __pydantic_config__ = _JSON

    number: int
    state: Literal["complete", "pruned", "failed"]
    settings: Mapping[str, Any]
    values: tuple[float, ...]
    """Its objectives against trial 0's at the same steps, in F1 from -1 to 1; () if it failed."""
    scores: tuple[float, ...]
    """After each step it came to: the first objective, as above."""
    trained: int
    """Steps that it trained; the rest it took from the store."""
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
    """The best finished trial, and trial 0 beside it."""

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

    @staticmethod
    def key(name: str) -> str:
        """Where a search's record lies in the store."""
        return f"searches/{name}/search.json"

    def write(self, store: ObjectStore) -> None:
        """Keep it, in the place of an earlier one."""
        said = json.loads(_RECORDS.dump_json(self))
        store.write(self.key(self.name), f"{json.dumps(said, indent=1, sort_keys=True, allow_nan=False)}\n".encode())

    @classmethod
    def all(cls, store: ObjectStore) -> "list[SearchRecord]":
        """The searches of a store, by name."""
        keys = [key for key in store.list("searches") if key.endswith("/search.json")]
        return [cls._read(store, key) for key in keys]

    @classmethod
    def _read(cls, store: ObjectStore, key: str) -> "SearchRecord":
        try:
            return _RECORDS.validate_json(store.read(key))
        except ValidationError as error:
            what = f"not a search of schema 1 ({error.errors(include_url=False)[0]['msg'].lower()})"
            remedy = "remove the file and search again: the finished steps are still in the store"
            raise Refusal(what, where=f"{store}/{key}", remedy=remedy) from None


_RECORDS = TypeAdapter(SearchRecord)


def want(store: ObjectStore, name: str, fingerprint: str) -> None:
    """Say that a search refers to a step."""
    store.write(f"searches/{name}/steps/{fingerprint}", b"")


def wanted(store: ObjectStore) -> set[str]:
    """The steps that the searches of a store refer to."""
    keys = (key.split("/") for key in store.list("searches"))
    return {key[3] for key in keys if len(key) == 4 and key[2] == "steps"}
