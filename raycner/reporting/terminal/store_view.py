"""What lies in a store, and what could go, as tables."""

from collections.abc import Collection, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.text import Text

from raycner.analysis.formatting import DASH, many
from raycner.reporting.terminal.tables import table
from raycner.storage.housekeeping import Leftover, directories, referred
from raycner.storage.ledger import RunLedger
from raycner.storage.searches import SearchRecord
from raycner.storage.store import ObjectStore


def contents_view(store: ObjectStore) -> RenderableType:
    """Runs, searches, corpora and steps of a store, how large they are, and whether they are finished."""
    sizes = store.sizes("")
    runs, searches = RunLedger.all(store), SearchRecord.all(store)
    corpora, steps, snapshots = (directories(store, room) for room in ("corpora", "steps", "snapshots"))
    parts: list[RenderableType] = []
    if runs:
        parts += [_runs(runs, steps), Text()]
    if searches:
        parts += [_searches(searches), Text()]
    if corpora:
        parts += [_corpora(corpora, runs), Text()]
    loose = len({key.partition("/")[2] for key in steps} - referred(store))
    unwanted = f", {loose} that no run or search refers to" if loose else ""
    parts.append(Text(f"{many(len(steps), 'step')}, {decimal(sum(steps.values()))}{unwanted}"))
    evaluations = store.sizes("evaluations")
    if evaluations:
        parts.append(Text(f"{many(len(evaluations), 'evaluation')}, {decimal(sum(evaluations.values()))}"))
    if snapshots:
        parts.append(
            Text(f"{many(len(snapshots), 'snapshot')} of steps in training, {decimal(sum(snapshots.values()))}")
        )
    parts.append(Text(f"in all {decimal(sum(sizes.values()))} in {store}"))
    return Group(*parts)


def leftovers_view(found: Sequence[Leftover]) -> RenderableType:
    """What could go, and why."""
    drawn = _table("left over", "why", "size")
    for one in found:
        drawn.add_row(one.name, one.why, decimal(one.size) if one.size else DASH)
    return Group(drawn, Text(f"{many(len(found), 'thing')}, {decimal(sum(one.size for one in found))}"))


def _runs(runs: Sequence[RunLedger], steps: Collection[str]) -> Any:
    drawn = _table("run", "steps", "finished")
    for run in runs:
        there = sum(f"steps/{step.fingerprint}" in steps for step in run.planned)
        drawn.add_row(run.run, f"{there} of {len(run.planned)}", "yes" if run.finished else "no")
    return drawn


def _searches(searches: Sequence[SearchRecord]) -> Any:
    drawn = _table("search", "trials", "finished")
    for search in searches:
        trials = sum(len(found.trials) for found in search.rounds)
        drawn.add_row(search.name, str(trials), "no" if search.winner is None else "yes")
    return drawn


def _corpora(corpora: dict[str, int], runs: Sequence[RunLedger]) -> Any:
    drawn = _table("corpus", "source", "size")
    sources = {note.fingerprint: note.source for run in runs for note in run.corpora}
    for key, size in corpora.items():
        fingerprint = key.partition("/")[2]
        drawn.add_row(fingerprint, sources.get(fingerprint, DASH), decimal(size))
    return drawn


def _table(*columns: str) -> Any:
    drawn = table()
    for column in columns:
        right = column in ("size", "steps", "trials")
        drawn.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=right)
    return drawn
