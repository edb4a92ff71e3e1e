"""The page of a leaderboard: each table with what is finished of it, and the systems that were not run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from raycner.analysis.formatting import many
from raycner.analysis.summary import Summary
from raycner.orchestration.leaderboard import LeaderboardTable
from raycner.orchestration.table_rows import Entry
from raycner.reporting.markdown import escape, render
from raycner.reporting.tables.comparison import ranking
from raycner.reporting.tables.labels import title
from raycner.reporting.tables.orders import orders_table
from raycner.reporting.tables.published import published_tables
from raycner.reporting.tables.significance import significance_table

NOT_RUN = "No run of this table is finished."


@dataclass(frozen=True)
class TableState:
    """A table of a leaderboard, and which of its runs are finished."""

    table: LeaderboardTable
    entries: Sequence[Entry]
    """All of its runs."""
    done: Sequence[bool]
    """Whether each is finished."""
    summary: Summary | None
    """Of the finished ones; None without any."""

    @property
    def finished(self) -> int:
        return sum(self.done)

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """The finished and all runs of each row, in the order of the file."""
        rows = dict.fromkeys(entry.row for entry in self.entries)
        return {row: (sum(self._of(row)), len(self._of(row))) for row in rows}

    def _of(self, row: str) -> list[bool]:
        return [done for entry, done in zip(self.entries, self.done, strict=True) if entry.row == row]


def leaderboard_page(path: str, states: Mapping[str, TableState]) -> str:
    """Markdown, of the leaderboard of a file."""
    return "\n\n".join(_parts(path, states)) + "\n"


def _parts(path: str, states: Mapping[str, TableState]) -> Iterator[str]:
    finished, planned = (sum(counts) for counts in zip(*map(_counts, states.values()), strict=True))
    yield "# Leaderboard"
    yield (
        f"Printed by `raycner leaderboard {path} --markdown` from the runs of a store: {finished} of "
        f"{many(planned, 'run')}. `--run` makes the others; rows that were not run are named below each table. Figures "
        "of different tables are not comparable."
    )
    for name, state in states.items():
        yield f"## {escape(name)}"
        yield "\n".join(["```sh", _command(state.table), "```"])
        yield f"{state.finished} of {many(len(state.entries), 'run')}: {_extent(state.table)}."
        yield from _tables(state.summary) if state.summary else [NOT_RUN]
        yield from _missing(state)


def _counts(state: TableState) -> tuple[int, int]:
    return state.finished, len(state.entries)


def _command(table: LeaderboardTable) -> str:
    orders = f" --orders {','.join(table.orders)}" if table.orders else ""
    return (
        f"raycner compare {' '.join(table.job)} --rows {table.rows} --seeds {','.join(map(str, table.seeds))}{orders}"
    )


def _extent(table: LeaderboardTable) -> str:
    orders = f", {many(len(table.orders), 'order')}" if table.orders else ""
    return f"{many(len(table.systems), 'system')}, {many(len(table.seeds), 'seed')}{orders}"


def _tables(summary: Summary) -> Iterator[str]:
    for orders in summary.orders:
        yield render(orders_table(orders, summary.runs))
    for number, comparison in enumerate(summary.comparisons):
        yield f"**{escape(title(comparison))}.**"
        yield render(ranking(comparison, summary.runs))
        if summary.published is not None:
            yield from map(render, published_tables(summary.published[number], comparison))
    for paired in summary.significance or ():
        yield render(significance_table(paired, summary))


def _missing(state: TableState) -> Iterator[str]:
    """The rows of which no run is finished, and those of which some are."""
    counts = state.counts
    if absent := [row for row, (done, _) in counts.items() if not done]:
        yield f"Not run: {escape('; '.join(absent))}."
    if partial := [f"{row} ({done} of {planned})" for row, (done, planned) in counts.items() if 0 < done < planned]:
        yield f"Not complete: {escape('; '.join(partial))}."
