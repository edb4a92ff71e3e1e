"""An adopted model: its types, what its step predicts otherwise than transformers.pipeline, and its scores."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.text import Text

from raycner.analysis.table import Cell, by_columns, score_cell
from raycner.console import printable
from raycner.data.entities import Entity
from raycner.data.metrics import f1, precision, recall, support
from raycner.evaluation.agreement import Agreement, Difference
from raycner.reporting.terminal.renderer import render
from raycner.storage.ledger import Counts, RunLedger

SHOWN = 5
"""How many sentences with differences are listed."""
RARE = 20
"""Fewer predicted entities of a type teach little."""


def adoption_view(ledger: RunLedger, check: Agreement | None, width: int) -> RenderableType:
    """What `raycner adopt` prints."""
    (step,) = ledger.records()
    lines = [f"{ledger.run}: {len(step.seen)} types: {', '.join(step.seen)}"]
    if check is not None:
        lines += _check_lines(check)
    parts: list[RenderableType] = [Text(printable(line)) for line in lines]
    if any(map(any, step.test.values())):
        parts.append(_scores(step.test, width))
    return Group(*parts)


def distillation_view(
    ledger: RunLedger, agreement: Agreement, source: str, learned: Counts, place: str, width: int
) -> RenderableType:
    """What `raycner adopt --by-predictions` prints. `learned` are the predicted entities by type: (number, 0, 0)."""
    (step, *_) = ledger.records()
    number = sum(counts[0] for counts in learned.values())
    alike = agreement.sentences - len(agreement.differences)
    lines = [
        f"{ledger.run}: {len(step.seen)} types: {', '.join(step.seen)}",
        f"learned from {number:,} entities that {source} predicts: {place}",
        f"agrees with it in {alike} of {agreement.sentences} held-out sentences",
    ]
    rare = [f"{name} ({counts[0]})" for name, counts in learned.items() if counts[0] < RARE]
    lines += [f"too rare to be learned well: {', '.join(rare)}"] if rare else []
    for difference in agreement.differences[:SHOWN]:
        lines += _difference_lines(difference, source)
    parts: list[RenderableType] = [Text(printable(line)) for line in lines]
    note = f"on the held-out sentences, against what {source} predicts, in percent."
    return Group(*parts, _scores(step.test, width, note))


def _check_lines(check: Agreement) -> Iterable[str]:
    """How the step compares with the pipeline."""
    compared = f"{check.sentences} sentences, {check.entities} entities"
    if check.differences:
        yield f"differs from transformers.pipeline in {len(check.differences)} of {compared}:"
        for difference in check.differences[:SHOWN]:
            yield from _difference_lines(difference, "pipeline")
    else:
        yield f"predicts what transformers.pipeline predicts: {compared}"
    if check.too_long:
        yield f"not compared: {check.too_long} sentences that are longer than the model's input"


def _difference_lines(difference: Difference, other: str) -> Iterable[str]:
    width = max(len(other), len("step")) + 1
    yield f"  {' '.join(difference.words)}"
    yield f"    {f'{other}:':{width}} {_entities(difference.words, difference.pipeline)}"
    yield f"    {'step:':{width}} {_entities(difference.words, difference.step)}"


def _entities(words: tuple[str, ...], entities: Iterable[Entity]) -> str:
    return ", ".join(f"{' '.join(words[e.start : e.end])} ({e.type})" for e in entities) or "none"


def _scores(counts: Counts, width: int, note: str = "on the test files, in percent.") -> RenderableType:
    """Scores per type."""
    occurring = {name: of_type for name, of_type in counts.items() if any(of_type)}
    columns = [
        ("type", [Cell(name) for name in occurring]),
        ("precision", [score_cell(100 * precision(of_type)) for of_type in occurring.values()]),
        ("recall", [score_cell(100 * recall(of_type)) for of_type in occurring.values()]),
        ("F1", [score_cell(100 * f1(of_type)) for of_type in occurring.values()]),
        ("support", [Cell(f"{support(of_type):,}") for of_type in occurring.values()]),
    ]
    return render(by_columns("", columns, notes=(note,)), width)
