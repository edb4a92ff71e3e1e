"""An evaluation as tables of text, for the terminal and the page alike. Scores are in percent, with two decimals."""

from collections.abc import Iterator

from raycner.analysis.formatting import DASH, short
from raycner.analysis.table import Table, by_rows
from raycner.data.entities import OUTSIDE
from raycner.evaluation.bootstrap import Interval
from raycner.evaluation.confusion import OUTCOMES, flows
from raycner.evaluation.entity_report import EntityEvaluation, EntityReport
from raycner.evaluation.entity_scores import TypeScore
from raycner.evaluation.mistakes import Example, Mistake

CONTEXT = 8
"""Words shown on either side of a mistake."""
MOST_OF_A_STEP = 24
"""Characters of the names of a step's types."""


def scores_table(evaluation: EntityEvaluation) -> Table:
    """Precision, recall, F1, its interval and support: a row per type, then the averages."""
    report = evaluation.report
    intervals = report.intervals
    scores = report.scores
    of_types = intervals.types if intervals else {}
    rows = [_scores(name, score, of_types.get(name)) for name, score in scores.types.items()]
    rows.append(_scores("micro average", scores.micro, intervals.micro if intervals else None))
    rows.append(_scores("macro average", scores.macro, intervals.macro if intervals else None))
    rows.append(_scores("weighted average", scores.weighted, None))
    note = "In percent. Support: gold entities. An entity is correct if its words and its type are."
    if intervals:
        note += f" 95 %: bootstrap interval of F1 over sentences, {intervals.resamples} resamples."
    headers = ["type", "precision", "recall", "F1", "95 %", "support", "predicted"]
    if not intervals:
        headers.remove("95 %")
        rows = [[*row[:4], *row[5:]] for row in rows]
    notes = filter(None, [note, evaluation.provenance])
    return by_rows("Scores", headers, rows, notes=notes, rules=[len(scores.types)])


def _scores(name: str, score: TypeScore, interval: Interval | None) -> list[str]:
    between = f"{percent(interval.low)} {DASH} {percent(interval.high)}" if interval else ""
    return [
        *(name, percent(score.precision), percent(score.recall), percent(score.f1)),
        *(between, str(score.support), str(score.predicted)),
    ]


def percent(fraction: float) -> str:
    """A fraction in percent, with two decimals."""
    return f"{100 * fraction:.2f}"


def outcomes_table(report: EntityReport) -> Table:
    """The outcome of the gold entities of each type, and its spurious predictions."""
    outcomes = report.confusion.outcomes
    rows = [[name, *(str(outcomes[name][outcome] or DASH) for outcome in OUTCOMES)] for name in outcomes]
    note = (
        "Gold entities by outcome. boundary: same type, other words; type: same words, other type; both: other words "
    )
    note += "and other type; spurious: predictions of this type that belong to no gold entity."
    return by_rows("Outcomes", ["type", *OUTCOMES], rows, notes=[note])


def matrix_table(report: EntityReport) -> Table:
    """Gold types down, predicted types across."""
    names = report.confusion.types
    counts = report.confusion.matrix()
    rows = [
        [name, *(str(number or DASH) for number in row)] for name, row in zip([*names, OUTSIDE], counts, strict=True)
    ]
    note = (
        f"Gold types down, predicted types across; {OUTSIDE}: missed or spurious. The diagonal has exact matches and "
    )
    note += "wrong boundaries of the same type."
    return by_rows("Confusion", ["gold", *names, OUTSIDE], rows, notes=[note])


def flows_table(evaluation: EntityEvaluation) -> Table:
    """Gold entities by the step that brought their type, and what they are taken for."""
    steps = evaluation.steps
    names = [f"{number}: {short(', '.join(group), MOST_OF_A_STEP)}" for number, group in enumerate(steps, start=1)]
    rows = [
        [name, *(str(number or DASH) for number in row)]
        for name, row in zip([*names, OUTSIDE], flows(evaluation.report.confusion, steps), strict=True)
    ]
    headers = ["gold of step", *(f"step {number}" for number in range(1, len(steps) + 1)), OUTSIDE]
    note = "Gold entities by the step of their type (down), and of the type predicted for them (across); right of the "
    note += f"diagonal: old types taken for newer ones. {OUTSIDE}: missed or spurious."
    return by_rows("Between steps", headers, rows, notes=[note])


def mistakes_table(report: EntityReport) -> Table:
    """The most frequent mistakes, a row per example."""
    rows = [row for mistake in report.mistakes for row in _examples(mistake)]
    note = "The most frequent mistakes first. Gold entities stand in [brackets], predicted ones in {braces}."
    return by_rows("Most frequent mistakes", ["times", "mistake", "in the sentence"], rows, notes=[note], lead=3)


def _examples(mistake: Mistake) -> Iterator[list[str]]:
    times, name = str(mistake.times), title(mistake)
    for example in mistake.examples:
        yield [times, name, marked(example)]
        times = name = ""


def title(mistake: Mistake) -> str:
    """What was mistaken, in words.

    >>> title(Mistake("type", "person", "location", 3, ()))
    'person as location'
    """
    match mistake.outcome:
        case "missed":
            return f"missed {mistake.gold}"
        case "spurious":
            return f"spurious {mistake.predicted}"
        case "boundary":
            return f"boundary of {mistake.gold}"
        case "both":
            return f"{mistake.gold} as {mistake.predicted}, other words"
        case _:
            return f"{mistake.gold} as {mistake.predicted}"


def marked(example: Example) -> str:
    """The sentence around a mistake, with its entities marked."""
    entities = [entity for entity in (example.gold, example.predicted) if entity is not None]
    start = max(0, min(entity.start for entity in entities) - CONTEXT)
    end = min(len(example.words), max(entity.end for entity in entities) + CONTEXT)
    words = list(example.words)
    for entity, (opening, closing) in ((example.predicted, "{}"), (example.gold, "[]")):
        if entity is not None:
            words[entity.start] = opening + words[entity.start]
            words[entity.end - 1] += closing
    shown = " ".join(words[start:end])
    return f"{'... ' if start else ''}{shown}{' ...' if end < len(words) else ''}"
