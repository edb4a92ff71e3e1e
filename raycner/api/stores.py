"""Stores: what one holds, whether it is undamaged, and what can be removed."""

from collections.abc import Callable, Iterator
from os import PathLike, fspath
from typing import TYPE_CHECKING

from rich.console import Console

from raycner.api.notebook import as_html
from raycner.api.runs import Run, load_run, load_runs
from raycner.console import TextConsole
from raycner.reporting.terminal.store_view import contents_view
from raycner.storage.housekeeping import UNUSED_DAYS, Damage, Leftover, damages, leftovers
from raycner.storage.searches import SearchRecord
from raycner.storage.store import ObjectStore

if TYPE_CHECKING:
    from raycner.api.searches import Search


class Store:
    """A folder or a bucket that holds corpora, steps, runs and searches."""

    def __init__(self, uri: str | PathLike[str] = "store") -> None:
        self._store = ObjectStore(fspath(uri))

    @property
    def uri(self) -> str:
        return self._store.uri

    def run(self, name: str) -> Run:
        """The run of this name; its beginning suffices."""
        return load_run(name, self.uri)

    def runs(self, *names: str) -> list[Run]:
        """The runs of these names, beginnings or patterns; all without any."""
        return load_runs(*names, store=self.uri)

    def searches(self) -> "list[Search]":
        """Its searches, by name."""
        from raycner.api.searches import Search

        return [Search(record, self._store) for record in SearchRecord.all(self._store)]

    def damages(self, on_key: Callable[[str], None] = lambda _: None) -> Iterator[Damage]:
        """Read every byte, and yield what is not as it was committed; `on_key` is called before each key is read."""
        return damages(self._store, on_key)

    def leftovers(self, unused_days: float = UNUSED_DAYS) -> list[Leftover]:
        """What no run or search refers to. Nothing is removed before `Leftover.remove` is called.

        Raises `InputError` while some process works in the store.
        """
        return leftovers(self._store, unused_days)

    def show(self, console: Console | None = None) -> None:
        """Print its runs, searches, corpora and steps, with their sizes."""
        console = console or TextConsole()
        console.print(contents_view(self._store, console.width), highlight=False)

    def __repr__(self) -> str:
        return f"<Store {self.uri}>"

    def _repr_html_(self) -> str:
        return as_html(self.show)
