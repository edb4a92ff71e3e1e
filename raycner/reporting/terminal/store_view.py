"""The contents of a store and what could be removed from it, as tables."""

from collections.abc import Collection, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.text import Text

from raycner.analysis.formatting import DASH, many
from raycner.analysis.table import Table, by_columns
from raycner.errors import InputError
from raycner.reporting.terminal.renderer import render
from raycner.storage.housekeeping import DEPTHS, Leftover, directories, referred
from raycner.storage.ledger import RunLedger
from raycner.storage.searches import SearchRecord
from raycner.storage.store import ObjectStore


def contents_view(store: ObjectStore, width: int) -> RenderableType:
    """The runs, searches, corpora and steps of a store, their sizes, and whether they are finished."""
    sizes = store.sizes("")
    runs, searches = RunLedger.all(store), SearchRecord.all(store)
    corpora, steps, snapshots, memories = (directories(store, kind) for kind in DEPTHS)
    tables = [_runs(runs, steps)] if runs else []
    tables += [_searches(searches)] if searches else []
    tables += [_corpora(corpora, runs)] if corpora else []
    lines = [f"{many(len(steps), 'step')}, {decimal(sum(steps.values()))}{_unreferenced(store, steps)}"]
    if memories:
        lines.append(f"memory of {many(len(memories), 'step')}, {decimal(sum(memories.values()))}")
    evaluations = store.sizes("evaluations")
    if evaluations:
        lines.append(f"{many(len(evaluations), 'evaluation')}, {decimal(sum(evaluations.values()))}")
    if snapshots:
        lines.append(f"{many(len(snapshots), 'snapshot')} of steps in training, {decimal(sum(snapshots.values()))}")
    lines.append(f"in all {decimal(sum(sizes.values()))} in {store}")
    rendered = [part for table in tables for part in (render(table, width), Text())]
    return Group(*rendered, *map(Text, lines))


def leftovers_view(leftovers: Sequence[Leftover], width: int) -> RenderableType:
    """What could be removed, and why."""
    columns = [
        ("left over", [leftover.name for leftover in leftovers]),
        ("why", [leftover.why for leftover in leftovers]),
        ("size", [decimal(leftover.size) if leftover.size else DASH for leftover in leftovers]),
    ]
    total = f"{many(len(leftovers), 'thing')}, {decimal(sum(leftover.size for leftover in leftovers))}"
    return Group(render(by_columns("", columns, lead=2), width), Text(total))


def _unreferenced(store: ObjectStore, steps: Collection[str]) -> str:
    """How many steps nothing refers to, or why that is unknown; nothing if there are none."""
    try:
        number = len({key.partition("/")[2] for key in steps} - referred(store))
    except InputError as error:
        return f"; which of them are in use is unknown: {error}"
    return f", {number} that no run or search refers to" if number else ""


def _runs(runs: Sequence[RunLedger], steps: Collection[str]) -> Table:
    stored = [sum(f"steps/{step.fingerprint}" in steps for step in run.planned) for run in runs]
    columns = [
        ("run", [run.run for run in runs]),
        ("steps", [f"{number} of {len(run.planned)}" for run, number in zip(runs, stored, strict=True)]),
        ("finished", ["yes" if run.finished else "no" for run in runs]),
    ]
    return by_columns("", columns)


def _searches(searches: Sequence[SearchRecord]) -> Table:
    columns = [
        ("search", [search.name for search in searches]),
        ("trials", [str(sum(len(round_.trials) for round_ in search.rounds)) for search in searches]),
        ("finished", ["no" if search.winner is None else "yes" for search in searches]),
    ]
    return by_columns("", columns)


def _corpora(sizes: Mapping[str, int], runs: Sequence[RunLedger]) -> Table:
    """The corpora by fingerprint, with their sizes in bytes."""
    sources = {note.fingerprint: note.source for run in runs for note in run.corpora}
    fingerprints = [key.partition("/")[2] for key in sizes]
    columns = [
        ("corpus", fingerprints),
        ("source", [sources.get(fingerprint, DASH) for fingerprint in fingerprints]),
        ("size", [decimal(size) for size in sizes.values()]),
    ]
    return by_columns("", columns, lead=2)
