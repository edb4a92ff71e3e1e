"""An evaluation for programs: what `raycner evaluate --json` prints (schema 1).

    {"schema": 1, "model": TEXT, "sources": [TEXT, ...], "notes": [TEXT, ...], "provenance": TEXT, "sentences": N,
     "types": {TYPE: SCORE, ...}, "micro": SCORE, "macro": SCORE, "weighted": SCORE,
     "bootstrap": {"level": 0.95, "resamples": N, "seed": N} or null,
     "outcomes": {TYPE: {"exact": N, "boundary": N, "type": N, "both": N, "missed": N, "spurious": N}, ...},
     "matrix": {"types": [TYPE, ..., "O"], "counts": [[N, ...], ...]},
     "mistakes": [{"outcome": TEXT, "gold": TYPE or null, "predicted": TYPE or null, "times": N,
                   "examples": [{"sentence": N, "words": [TEXT, ...], "gold": ENTITY or null,
                                 "predicted": ENTITY or null}, ...]}, ...]}

SCORE is {"precision", "recall", "f1", "support", "predicted", "f1_interval"}: fractions, unrounded, equal to those of
seqeval in strict mode; "f1_interval" is [low, high], or null where there is none. ENTITY is {"start", "end", "type",
"text"} in words of its sentence, end exclusive. "matrix" has gold types down and predicted ones across; its diagonal
has exact matches and wrong boundaries of the same type. With --seqeval, "seqeval" is the text of its own report. A key
may be added under the same schema number; a key that changes or goes raises it.
"""

from typing import Any

from raycner.data.entities import OUTSIDE, Entity
from raycner.evaluation.bootstrap import LEVEL, Interval
from raycner.evaluation.entity_report import EntityEvaluation
from raycner.evaluation.entity_scores import TypeScore
from raycner.evaluation.mistakes import Example, Mistake

SCHEMA = 1


def document(evaluation: EntityEvaluation) -> dict[str, Any]:
    """The evaluation as plain data."""
    report = evaluation.report
    scores, intervals = report.scores, report.intervals
    of_types = intervals.types if intervals else {}
    return {
        "schema": SCHEMA,
        "model": evaluation.model,
        "sources": list(evaluation.sources),
        "notes": list(evaluation.notes),
        "provenance": evaluation.provenance,
        "sentences": report.sentences,
        "types": {name: _score(score, of_types.get(name)) for name, score in scores.types.items()},
        "micro": _score(scores.micro, intervals.micro if intervals else None),
        "macro": _score(scores.macro, intervals.macro if intervals else None),
        "weighted": _score(scores.weighted, None),
        "bootstrap": {"level": LEVEL, "resamples": intervals.resamples, "seed": intervals.seed} if intervals else None,
        "outcomes": {name: dict(outcomes) for name, outcomes in report.confusion.outcomes.items()},
        "matrix": {"types": [*report.confusion.types, OUTSIDE], "counts": report.confusion.matrix()},
        "mistakes": [_mistake(mistake) for mistake in report.mistakes],
    }


def _score(score: TypeScore, interval: Interval | None) -> dict[str, Any]:
    return {
        "precision": score.precision,
        "recall": score.recall,
        "f1": score.f1,
        "support": score.support,
        "predicted": score.predicted,
        "f1_interval": list(interval) if interval else None,
    }


def _mistake(mistake: Mistake) -> dict[str, Any]:
    return {
        "outcome": mistake.outcome,
        "gold": mistake.gold,
        "predicted": mistake.predicted,
        "times": mistake.times,
        "examples": [
            {
                "sentence": example.sentence,
                "words": list(example.words),
                "gold": _entity(example, example.gold),
                "predicted": _entity(example, example.predicted),
            }
            for example in mistake.examples
        ],
    }


def _entity(example: Example, entity: Entity | None) -> dict[str, Any] | None:
    if entity is None:
        return None
    return {"start": entity.start, "end": entity.end, "type": entity.type, "text": example.text(entity)}
