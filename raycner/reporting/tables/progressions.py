"""The tables of progressive NER: every type by target, its precision and recall, forgetting, and the new types."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from raycner.analysis.progressions import OVERALL, Progression, TypeProgress
from raycner.analysis.provenance import provenance
from raycner.analysis.scores import Run
from raycner.analysis.statistics import Spread
from raycner.analysis.table import Cell, Table, by_columns, score_cell
from raycner.reporting.tables.labels import runs_of

Score = Callable[[TypeProgress], float | None]
SCORES: dict[str, Score] = {
    "Init.": lambda progress: _mean(progress.init),
    "Sub.": lambda progress: _mean(progress.sub),
    "Rand.": lambda progress: _mean(progress.rand),
}
INIT_SUB_RAND = "F1 on test in percent. Init.: before the new type; Sub.: after it; Rand.: after its sentences alone."


class Line(NamedTuple):
    """What a row of these tables is about."""

    corpus: str
    target: str
    type: str


def progressions_tables(progressions: Sequence[Progression], runs: Sequence[Run]) -> Iterator[Table]:
    """The four tables."""
    lines = list(dict.fromkeys(Line(one.corpus, one.target, name) for one in progressions for name in one.types))
    old = [line for line in lines if line.type not in (line.target, OVERALL)]
    new = [line for line in lines if line.type == line.target]
    source = provenance(runs_of([run for one in progressions for run in one.runs], runs))
    yield _table("Progressive NER, every type", (INIT_SUB_RAND, source), progressions, SCORES, lines)
    read: dict[str, Score] = {
        "P": lambda progress: _mean(progress.precision),
        "R": lambda progress: _mean(progress.recall),
    }
    note = "In percent, after the new type (Sub.); P: precision, R: recall."
    yield _table("Precision and recall", (note,), progressions, read, lines)
    lost: dict[str, Score] = {"": lambda progress: progress.forgetting}
    yield _table("Forgetting of old types", ("Init. minus Sub.: lower is better.",), progressions, lost, old)
    learned = {name: SCORES[name] for name in ("Sub.", "Rand.")}
    note = "Sub.: after the old types; Rand.: without them."
    yield _table("The new type", (note,), progressions, learned, new)


def _table(
    title: str,
    notes: tuple[str, ...],
    progressions: Sequence[Progression],
    scores: dict[str, Score],
    lines: Sequence[Line],
) -> Table:
    systems = list(dict.fromkeys(one.system for one in progressions))
    types = {(one.corpus, one.target, one.system): one.types for one in progressions}

    def cell(line: Line, system: str, score: Score) -> Cell:
        of_system = types.get((line.corpus, line.target, system))
        return score_cell(score(of_system[line.type]) if of_system else None)

    columns: list[tuple[str, list[Cell]]] = [
        ("corpus", [Cell(line.corpus) for line in lines]),
        ("new type", [Cell(line.target) for line in lines]),
        ("type", [Cell(line.type) for line in lines]),
        *(
            (f"{system}\n{name}".strip(), [cell(line, system, score) for line in lines])
            for name, score in scores.items()
            for system in systems
        ),
    ]
    return by_columns(title, columns, notes=notes, lead=3)


def _mean(spread: Spread | None) -> float | None:
    return spread.mean if spread else None
