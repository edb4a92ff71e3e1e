"""Gains: what a step brought, and what it cost of each type that was known before."""

from collections.abc import Mapping
from statistics import fmean

from rich.console import Group, RenderableType
from rich.text import Text

from raycner.analysis.formatting import figure
from raycner.data.metrics import f1
from raycner.reporting.terminal.tables import heat, table
from raycner.storage.ledger import Counts, StepRecord


def f1_by_type(counts: Counts) -> dict[str, float]:
    """F1 in percent, of the types that occur in gold or in the predictions."""
    return {kind: 100 * f1(said) for kind, said in counts.items() if any(said)}


def changes(before: StepRecord, after: StepRecord) -> dict[str, float]:
    """By old type, how its F1 on test changed in a step, in points; of types that occur both times."""
    old, new = f1_by_type(before.test), f1_by_type(after.test)
    return {kind: new[kind] - old[kind] for kind in before.seen if kind in old and kind in new}


def gains_view(before: StepRecord, after: StepRecord) -> RenderableType:
    """What the step `after` gained in new types, and lost or gained of the old ones, on test."""
    old, new, changed = f1_by_type(before.test), f1_by_type(after.test), changes(before, after)
    shown = table()
    for heading in ("type", "before", "after", "change"):
        shown.add_column(heading, justify="left" if heading == "type" else "right")
    for kind in after.new:
        shown.add_row(kind, "new", heat(new.get(kind)), "")
    for kind in before.seen:
        shown.add_row(kind, heat(old.get(kind)), heat(new.get(kind)), signed(changed.get(kind)))
    return Group(shown, Text(_sentence(after, new, changed)))


def signed(points: float | None) -> str:
    """A change in points, with its sign."""
    return figure(points) if points is None else f"{points:+.1f}"


def _sentence(after: StepRecord, new: Mapping[str, float], changed: Mapping[str, float]) -> str:
    gained = [new[kind] for kind in after.new if kind in new]
    said = f"gained: {', '.join(after.new)} at F1 {figure(fmean(gained) if gained else None)}"
    return f"{said}; the old types changed by {signed(fmean(changed.values()))} on average" if changed else said
