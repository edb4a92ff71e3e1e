"""What a new step gained, and what it cost of each type that was known before."""

from collections.abc import Mapping
from statistics import fmean

from rich.console import Group, RenderableType
from rich.text import Text

from raycner.analysis.formatting import figure, signed
from raycner.analysis.table import Cell, by_columns, score_cell
from raycner.data.metrics import f1, precision, recall, support
from raycner.reporting.terminal.renderer import render
from raycner.storage.ledger import Counts, StepRecord


def f1_by_type(counts: Counts) -> dict[str, float]:
    """F1 in percent, of the types that occur in gold or in the predictions."""
    return {name: 100 * f1(of_type) for name, of_type in counts.items() if any(of_type)}


def changes(before: StepRecord, after: StepRecord) -> dict[str, float]:
    """By old type, the change of its F1 on test in a step, in points; of types that occur both times."""
    old, new = f1_by_type(before.test), f1_by_type(after.test)
    return {name: new[name] - old[name] for name in before.seen if name in old and name in new}


def gains_view(before: StepRecord, after: StepRecord, *, width: int) -> RenderableType:
    """The F1 of every type before and after the step `after`, its precision, recall and support after it, on test."""
    old, new, changed = f1_by_type(before.test), f1_by_type(after.test), changes(before, after)
    types = [*after.new, *before.seen]
    counts = [after.test[name] for name in types]
    columns = [
        ("type", [Cell(name) for name in types]),
        ("before", [Cell("new") if name in after.new else score_cell(old.get(name)) for name in types]),
        ("after", [score_cell(new.get(name)) for name in types]),
        ("change", [Cell("" if name in after.new else signed(changed.get(name))) for name in types]),
        ("precision", [score_cell(100 * precision(of_type) if any(of_type) else None) for of_type in counts]),
        ("recall", [score_cell(100 * recall(of_type) if any(of_type) else None) for of_type in counts]),
        ("support", [Cell(f"{support(of_type):,}") for of_type in counts]),
    ]
    note = "before, after, change: F1; precision and recall: after; on test in percent."
    return Group(render(by_columns("", columns, notes=(note,)), width), Text(_sentence(after, new, changed)))


def _sentence(after: StepRecord, new: Mapping[str, float], changed: Mapping[str, float]) -> str:
    gained = [new[name] for name in after.new if name in new]
    sentence = f"gained: {', '.join(after.new)} at F1 {figure(fmean(gained) if gained else None)}"
    mean = f"; the old types changed by {signed(fmean(changed.values()))} on average" if changed else ""
    return sentence + mean
