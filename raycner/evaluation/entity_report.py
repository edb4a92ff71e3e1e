"""Everything that is computed from gold and predicted entities: scores, intervals, confusion, mistakes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from raycner.evaluation.bootstrap import F1Intervals, bootstrap
from raycner.evaluation.confusion import Confusion, confusion
from raycner.evaluation.entity_scores import ScoredSentence, ScoreReport, count, score
from raycner.evaluation.mistakes import Mistake, mistakes


@dataclass(frozen=True, slots=True)
class EntityReport:
    """How well entities were predicted on a set of sentences."""

    sentences: int
    scores: ScoreReport
    intervals: F1Intervals | None
    """None where no resamples were asked for."""
    confusion: Confusion
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True, slots=True)
class EntityEvaluation:
    """A report, and what was evaluated on what."""

    model: str
    """RUN:STEP, a folder, or a hub id."""
    sources: tuple[str, ...]
    """The files that were read, or the corpora of a test part."""
    report: EntityReport
    sentences: tuple[ScoredSentence, ...]
    """With the entities of the scored types only."""
    notes: tuple[str, ...] = ()
    """What was left out or decided, one line each."""
    steps: tuple[tuple[str, ...], ...] = ()
    """The scored types that each step of the model brought; none of a model whose steps are not recorded."""
    provenance: str = ""
    """How the scores were obtained, in one sentence: the decoder, and what a run records of its step."""


def entity_report(
    sentences: Sequence[ScoredSentence],
    types: Collection[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
    most: int = 10,
    examples: int = 2,
) -> EntityReport:
    """Score sentences on these types; entities of any other type, gold or predicted, are ignored."""
    scored = [sentence.restricted(types) for sentence in sentences]
    counts = count(scored)
    return EntityReport(
        sentences=len(scored),
        scores=score(counts),
        intervals=bootstrap(counts, resamples, seed) if resamples else None,
        confusion=confusion(scored),
        mistakes=mistakes(scored, most, examples) if examples else (),
    )
