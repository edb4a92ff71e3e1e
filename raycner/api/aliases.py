"""Aliases: names such as `production` for the step that is in use."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from rich.console import Console

from raycner.api.notebook import as_html
from raycner.console import TextConsole
from raycner.errors import InputError
from raycner.reporting.terminal.alias_view import aliases_view, history_view
from raycner.storage import aliases as storage
from raycner.storage.aliases import AliasRecord
from raycner.storage.run_names import find_step
from raycner.storage.store import ObjectStore

if TYPE_CHECKING:
    from raycner.api.gates import Judgement


@dataclass(frozen=True)
class Alias:
    """An alias: what it names now, and what it named before."""

    name: str
    records: tuple[AliasRecord, ...]
    """All promotions and rollbacks, oldest first."""

    @property
    def address(self) -> str:
        """RUN:STEP, as `predict`, `evaluate` and `export` take it; they take the alias too."""
        return self.records[-1].address

    def show(self, console: Console | None = None) -> None:
        """Print the history."""
        console = console or TextConsole()
        console.print(history_view(self.records, console.width), highlight=False)

    def __repr__(self) -> str:
        return f"<Alias {self.name}: {self.address}>"

    def _repr_html_(self) -> str:
        return as_html(self.show)


class Aliases(Mapping[str, Alias]):
    """The aliases of a store, by name."""

    def __init__(self, store: ObjectStore) -> None:
        self._aliases = {name: _alias(store, name) for name in storage.alias_names(store)}

    def __getitem__(self, name: str) -> Alias:
        return self._aliases[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._aliases)

    def __len__(self) -> int:
        return len(self._aliases)

    def show(self, console: Console | None = None) -> None:
        """Print what each alias names."""
        console = console or TextConsole()
        console.print(aliases_view([alias.records[-1] for alias in self.values()], console.width), highlight=False)

    def _repr_html_(self) -> str:
        return as_html(self.show)


def promote(
    step: str,
    alias: str,
    *,
    why: str = "",
    gate: "Judgement | None" = None,
    store: str | PathLike[str] = "store",
    waiting: Callable[[str], object] = print,
) -> Alias:
    """Let an alias name the step RUN or RUN:STEP; what it named before stays in its history.

        judgement = raycner.gate("base-product", "test.conll", against="production")
        raycner.promote("base-product", "production", gate=judgement, why="products, ticket 12")

    The verdict of a gate is recorded. Raises `InputError` for a gate that does not pass, for a step that is not
    finished, and for a name that a run has.
    """
    if gate is not None and not gate.passes:
        raise InputError(f"{step} does not pass against {gate.report.against}", hint="nothing was promoted")
    place = ObjectStore(fspath(store))
    ledger, record = find_step(step, place)
    verdict = None if gate is None else _verdict(gate.data)
    storage.promote(place, alias, ledger, record, partial(_wait, waiting, alias), why=why, gate=verdict)
    return _alias(place, alias)


def rollback(
    alias: str, *, why: str = "", store: str | PathLike[str] = "store", waiting: Callable[[str], object] = print
) -> Alias:
    """Let an alias name the step again that it named before the last promotion.

    Raises `InputError` if there is no such alias, or nothing before.
    """
    place = ObjectStore(fspath(store))
    storage.rollback(place, alias, partial(_wait, waiting, alias), why=why)
    return _alias(place, alias)


def aliases(store: str | PathLike[str] = "store") -> Aliases:
    """The aliases of a store, by name."""
    return Aliases(ObjectStore(fspath(store)))


def history(alias: str, *, store: str | PathLike[str] = "store") -> Alias:
    """An alias with all its promotions and rollbacks. Raises `InputError` if there is none of that name."""
    return _alias(ObjectStore(fspath(store)), alias)


def _alias(store: ObjectStore, name: str) -> Alias:
    records = storage.history(store, name)
    if not records:
        raise storage.no_alias(store, name)
    return Alias(name, tuple(records))


def _verdict(document: Mapping[str, Any]) -> dict[str, Any]:
    """A gate without examples: no text enters the store."""
    types = {name: {k: v for k, v in one.items() if k != "examples"} for name, one in document["types"].items()}
    return {**document, "types": types}


def _wait(waiting: Callable[[str], object], alias: str, holder: str) -> None:
    waiting(f"waiting for {alias}, which {holder} is changing")
