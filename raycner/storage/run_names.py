"""Names of runs and steps as users type them: RUN, RUN:STEP or an alias."""

from collections.abc import Collection, Sequence
from fnmatch import fnmatch

from raycner.errors import InputError
from raycner.storage.aliases import find_alias
from raycner.storage.ledger import RunLedger, StepRecord
from raycner.storage.store import ObjectStore


def find_run(name: str, store: ObjectStore, without: Collection[str] = ()) -> RunLedger:
    """The one run of this name, beginning or pattern; of several, the one that learns no type of `without`."""
    exact = RunLedger.find(store, name) if "/" not in name and "*" not in name and "?" not in name else None
    if exact is not None:
        return exact
    ledgers = RunLedger.all(store)
    meant = [ledger for ledger in ledgers if fnmatch(ledger.run, f"{name}*")]
    others = [ledger for ledger in meant if not any(kind in without for step in ledger.planned for kind in step.new)]
    for candidates in (meant, others if without else []):
        if len(candidates) == 1:
            return candidates[0]
    what = f"{len(meant)} runs are called {name!r}" if meant else f"no run is called {name!r}"
    there = ", ".join(ledger.run for ledger in meant or ledgers) or "none"
    raise InputError(what, location=str(store), hint=f"runs there: {there}")


def find_runs(names: Sequence[str], store: ObjectStore) -> list[RunLedger]:
    """The runs of these names, beginnings or patterns; all where none is given. Each must call at least one."""
    ledgers = RunLedger.all(store)
    for name in names:
        if not any(fnmatch(ledger.run, f"{name}*") for ledger in ledgers):
            there = ", ".join(ledger.run for ledger in ledgers) or "none"
            hint = (
                f"write --store {name.removeprefix('store=')}" if name.startswith("store=") else f"runs there: {there}"
            )
            raise InputError(f"no run is called {name!r}", location=str(store), hint=hint)
    return [ledger for ledger in ledgers if any(fnmatch(ledger.run, f"{name}*") for name in names or ("",))]


def find_step(address: str, store: ObjectStore) -> tuple[RunLedger, StepRecord]:
    """The run and the step of an address; the run's last finished step where it names none. Steps count from 1.

    An alias is an address, unless a run has its name.
    """
    alias = find_alias(store, address)
    if alias is not None and RunLedger.find(store, address) is None:
        return RunLedger(store, alias.ledger), alias.record
    name, colon, number = address.rpartition(":")
    if not colon:
        name, number = address, ""
    ledger = find_run(name, store)
    records = {str(record.index + 1): record for record in ledger.records()}
    if not records:
        raise InputError(f"run {ledger.run} has no finished step", location=str(store), hint="run it first")
    if colon and number not in records:
        raise InputError(f"no step {number!r} is done", location=ledger.run, hint=f"done are {', '.join(records)}")
    return ledger, records[number] if colon else ledger.records()[-1]
