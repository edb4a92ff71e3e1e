"""A search on the terminal: the best trials of each round, what mattered, and the test scores of the winner."""

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from raycner.analysis.scores import Run
from raycner.reporting.tables.search import counts, failures, heading, trials_table, winner_table
from raycner.reporting.terminal.renderer import render
from raycner.storage.searches import RoundRecord, SearchRecord


def search_view(search: SearchRecord, runs: Mapping[str, Run], width: int) -> RenderableType:
    """A search; `runs` are the runs of its winner and of trial 0, by name."""
    parts: list[RenderableType] = [Text(heading(search), style="bold")]
    for round_ in search.rounds:
        parts += [*_round(search, round_, width), Text()]
    if search.winner is None:
        return Group(*parts, Text("no trial finished", style="red"))
    return Group(*parts, render(winner_table(search.winner, runs), width))


def _round(search: SearchRecord, round_: RoundRecord, width: int) -> Iterator[RenderableType]:
    yield Text(counts(round_))
    yield render(trials_table(search, round_), width)
    yield from (Text(line, style="red") for line in failures(round_))
    if round_.importances:
        shares = "  ".join(f"{key} {share:.2f}" for key, share in round_.importances.items())
        yield Text(f"importance of the settings: {shares}", style="dim")
