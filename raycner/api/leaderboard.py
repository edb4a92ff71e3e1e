"""Leaderboards: several tables that are run one after another, and the page of what is there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from os import PathLike, fspath
from shlex import quote

from raycner.analysis.formatting import many
from raycner.analysis.table import Table, by_rows
from raycner.api.progress import Progress
from raycner.api.reports import Report, compare, contrasts
from raycner.api.runs import Run
from raycner.errors import InputError
from raycner.orchestration.leaderboard import FinishedRuns, LeaderboardTable, anywhere, read_leaderboard
from raycner.reporting.leaderboard_page import TableState, leaderboard_page
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore


def leaderboard(path: str | PathLike[str], overrides: Sequence[str] = (), /) -> "Leaderboard":
    """The leaderboard of a YAML file of tables, with overrides for the jobs of all tables.

        board = raycner.leaderboard("jobs/leaderboard/small.yaml", ["store=/data/store"])
        board.run(parallel=4)
        print(board.markdown())

    Raises `InputError` for a file without tables, and for a row that cannot be run on the job of its table.
    """
    tables = read_leaderboard(fspath(path))
    for table in tables.values():
        table.entries(overrides)
    return Leaderboard(fspath(path), tuple(overrides), tables)


@dataclass(frozen=True)
class Leaderboard:
    """Tables, and the runs of them that the store has."""

    path: str
    overrides: tuple[str, ...]
    tables: dict[str, LeaderboardTable]
    """By name."""

    def run(self, *, parallel: int = 1, progress: Progress = True) -> tuple[str, ...]:
        """Run what is missing, table by table; the same call resumes.

        Returns a line for each table that could not be run, such as one whose corpus is not there; the others are run.
        """
        failed: list[str] = []
        for name, table in self.tables.items():
            try:
                compare(
                    [*table.job, *self.overrides],
                    table.rows,
                    seeds=table.seeds,
                    orders=table.orders,
                    parallel=parallel,
                    progress=progress,
                )
            except InputError as error:
                failed.append(f"{name}: {error}")
        return tuple(failed)

    def status(self) -> Table:
        """How many runs of each row the store has, finished."""
        states = self.states()
        rows = [
            (name if place == 0 else "", row, f"{done} of {planned}")
            for name, state in states.items()
            for place, (row, (done, planned)) in enumerate(state.counts.items())
        ]
        finished, planned = (
            sum(state.finished for state in states.values()),
            sum(state.planned for state in states.values()),
        )
        title = f"{self.path}: {finished} of {many(planned, 'run')} finished"
        return by_rows(title, ["table", "system", "runs"], rows, lead=2)

    def markdown(self) -> str:
        """The page: each table with what is finished of it, and the rows that were not run."""
        command = " ".join(["raycner leaderboard", self.path, *map(quote, anywhere(self.overrides))])
        return leaderboard_page(command, self.states())

    def states(self) -> dict[str, TableState]:
        """The tables, and which of their runs are finished."""
        finished = cache(_finished)
        return {name: self._state(table, finished) for name, table in self.tables.items()}

    def _state(self, table: LeaderboardTable, finished_in: Callable[[str], FinishedRuns]) -> TableState:
        entries = table.entries(self.overrides)
        store, finished = ObjectStore(entries[0].config.store), finished_in(entries[0].config.store)
        ledgers = [finished.find(entry.config) for entry in entries]
        finished_rows = [(entry.row, ledger is not None) for entry, ledger in zip(entries, ledgers, strict=True)]
        labels = {ledger.run: entry.row for entry, ledger in zip(entries, ledgers, strict=True) if ledger is not None}
        runs = {ledger.run: Run(ledger, store) for ledger in ledgers if ledger is not None}
        report = Report(runs.values(), labels=labels, contrasts=contrasts(table.systems), published=True)
        counts = {
            row: (
                sum(done for name, done in finished_rows if name == row),
                sum(name == row for name, _ in finished_rows),
            )
            for row in table.systems
        }
        extent = [many(len(table.systems), "system"), many(len(table.seeds), "seed")]
        extent += [many(len(table.orders), "order")] if table.orders else []
        return TableState(table.command(self.overrides), ", ".join(extent), counts, report.data if runs else None)


def _finished(store: str) -> FinishedRuns:
    return FinishedRuns(RunLedger.all(ObjectStore(store)))
