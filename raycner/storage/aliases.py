"""Aliases: names such as `production` for the step that is in use, with the history of each.

`aliases/ALIAS/NUMBER-RANDOM.json` is one promotion or rollback. It is written once, in one piece, and never replaced;
the one with the highest number is current. So an alias is whole whenever a process is killed, and its history complete.
Two processes that both believe to hold the alias's lock write two records, and lose neither.

    schema       1
    alias        its name
    number       from 1
    action       promote or rollback
    step         the step's number in its run, from 1
    fingerprint  of the step, whose weights lie at steps/FINGERPRINT
    who, when, why    user and machine, UTC, and the reason that was given
    before       the number of the record to which a rollback returns; null if there is none
    gate         the verdict of the gate that it passed; null if none was asked for
    ledger       the run's ledger up to the step, so that the alias needs no run
"""

import getpass
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from raycner.errors import InputError
from raycner.storage.documents import Document
from raycner.storage.ledger import Page, RunLedger, StepRecord
from raycner.storage.locks import acquire
from raycner.storage.manifests import is_key
from raycner.storage.store import ObjectStore


@dataclass(frozen=True, kw_only=True)
class AliasRecord:
    """One promotion or rollback."""

    schema: Literal[1] = 1
    alias: str
    number: int
    action: Literal["promote", "rollback"]
    step: int
    fingerprint: str
    who: str
    when: str
    why: str = ""
    before: int | None = None
    gate: Mapping[str, Any] | None = None
    ledger: Page

    def __post_init__(self) -> None:
        if all(record.index + 1 != self.step for record in self.ledger.records):
            raise ValueError(f"its ledger has no step {self.step}")

    @property
    def address(self) -> str:
        """RUN:STEP"""
        return f"{self.ledger.run}:{self.step}"

    @property
    def record(self) -> StepRecord:
        """The record of the step."""
        return next(record for record in self.ledger.records if record.index + 1 == self.step)


_RECORDS = Document(AliasRecord, "record of an alias", "restore the file from a copy of the store, or remove it")


def history(store: ObjectStore, alias: str) -> list[AliasRecord]:
    """All promotions and rollbacks of an alias, oldest first; none if there is no such alias.

    Raises `InputError` for a record that cannot be read.
    """
    if not is_key(alias) or "/" in alias:
        return []
    return [_RECORDS.read(store, key) for key in store.list(f"aliases/{alias}")]


def find_alias(store: ObjectStore, alias: str) -> AliasRecord | None:
    """The current record of an alias; None if there is no such alias."""
    keys = store.list(f"aliases/{alias}") if is_key(alias) and "/" not in alias else []
    return _RECORDS.read(store, keys[-1]) if keys else None


def alias_names(store: ObjectStore) -> list[str]:
    """The aliases of a store."""
    return sorted({key.split("/")[1] for key in store.list("aliases")})


def promote(
    store: ObjectStore,
    alias: str,
    ledger: RunLedger,
    record: StepRecord,
    waiting: Callable[[str], None],
    *,
    why: str = "",
    gate: Mapping[str, Any] | None = None,
) -> AliasRecord:
    """Let an alias name a step. Raises `InputError` for a name that a run has or that cannot be one."""
    _require_name(store, alias)
    page = ledger.up_to(record)
    with acquire(store, f"aliases/{alias}", waiting):
        current = find_alias(store, alias)
        promoted = AliasRecord(
            alias=alias,
            number=1 if current is None else current.number + 1,
            action="promote",
            step=record.index + 1,
            fingerprint=record.fingerprint,
            **_signature(why),
            before=None if current is None else current.number,
            gate=gate,
            ledger=page,
        )
        return _write(store, promoted)


def rollback(store: ObjectStore, alias: str, waiting: Callable[[str], None], *, why: str = "") -> AliasRecord:
    """Let an alias name the step again that it named before the last promotion.

    Raises `InputError` if there is no such alias, or nothing before.
    """
    with acquire(store, f"aliases/{alias}", waiting):
        records = {record.number: record for record in history(store, alias)}
        if not records:
            raise no_alias(store, alias)
        current = records[max(records)]
        target = records.get(current.before) if current.before is not None else None
        if target is None:
            what = f"{alias} named nothing before {current.address}"
            raise InputError(what, location=str(store), hint="promote another step")
        signature = _signature(why)
        return _write(store, replace(target, number=current.number + 1, action="rollback", gate=None, **signature))


def no_alias(store: ObjectStore, alias: str) -> InputError:
    """The error for an alias that does not exist."""
    names = ", ".join(alias_names(store)) or "none"
    return InputError(f"no alias is called {alias!r}", location=str(store), hint=f"aliases there: {names}")


def _require_name(store: ObjectStore, alias: str) -> None:
    if not is_key(alias) or "/" in alias:
        hint = "use letters, digits, '.', '_' and '-'"
        raise InputError(f"{alias!r} cannot name an alias", location=str(store), hint=hint)
    if RunLedger.find(store, alias) is not None:
        raise InputError(f"a run is called {alias!r}", location=str(store), hint="choose another alias")


def _signature(why: str) -> dict[str, Any]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container without a user database
        user = "?"
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return {"who": f"{user}@{socket.gethostname() or '?'}", "when": when, "why": why}


def _write(store: ObjectStore, record: AliasRecord) -> AliasRecord:
    key = f"aliases/{record.alias}/{record.number:06d}-{uuid4().hex[:8]}.json"
    _RECORDS.write(store, key, record)
    return record
