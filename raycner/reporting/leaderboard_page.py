"""The page of a leaderboard: each table with what is finished of it, and the systems that were not run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from raycner.analysis.formatting import many
from raycner.analysis.summary import Summary
from raycner.reporting.markdown import escape, render
from raycner.reporting.tables.comparison import ranking
from raycner.reporting.tables.labels import title
from raycner.reporting.tables.orders import orders_table
from raycner.reporting.tables.published import published_tables
from raycner.reporting.tables.significance import significance_table

NOT_RUN = "No run of this table is finished."


@dataclass(frozen=True)
class TableState:
    """A table of a leaderboard, and how much of it is finished."""

    command: str
    """What runs it."""
    extent: str
    """How large it is, as in "26 systems, 3 seeds, 3 orders"."""
    counts: Mapping[str, tuple[int, int]]
    """The finished and all runs of each row, in the order of the file."""
    summary: Summary | None
    """Of the finished ones; None without any."""

    @property
    def finished(self) -> int:
        return sum(finished for finished, _ in self.counts.values())

    @property
    def planned(self) -> int:
        return sum(planned for _, planned in self.counts.values())


def leaderboard_page(command: str, states: Mapping[str, TableState]) -> str:
    """Markdown, of the tables of a command."""
    return "\n\n".join(_parts(command, states)) + "\n"


def _parts(command: str, states: Mapping[str, TableState]) -> Iterator[str]:
    finished, planned = (sum(getattr(state, name) for state in states.values()) for name in ("finished", "planned"))
    yield "# Leaderboard"
    yield (
        f"Printed by `{command} --markdown` from the runs of a store: {finished} of "
        f"{many(planned, 'run')}. `--run` makes the others; rows that were not run are named below each table. Figures "
        "of different tables are not comparable."
    )
    for name, state in states.items():
        yield f"## {escape(name)}"
        yield "\n".join(["```sh", state.command, "```"])
        yield f"{state.finished} of {many(state.planned, 'run')}: {state.extent}."
        yield from _tables(state.summary) if state.summary else [NOT_RUN]
        yield from _missing(state)


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
    if absent := [row for row, (done, _) in state.counts.items() if not done]:
        yield f"Not run: {escape('; '.join(absent))}."
    partly = {row: counts for row, counts in state.counts.items() if 0 < counts[0] < counts[1]}
    if partial := [f"{row} ({done} of {planned})" for row, (done, planned) in partly.items()]:
        yield f"Not complete: {escape('; '.join(partial))}."
