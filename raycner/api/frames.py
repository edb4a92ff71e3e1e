"""The scores of a run as pandas frames. Scores are in percent; a score that is undefined is NaN."""

from typing import TYPE_CHECKING

from raycner.analysis.scores import Run, extra_test_sets
from raycner.errors import InputError
from raycner.registry import suggest

if TYPE_CHECKING:
    from pandas import DataFrame


PRECISION_AND_RECALL = ("micro_precision", "micro_recall", "macro_precision", "macro_recall")
SCORES = ("micro", "macro", *PRECISION_AND_RECALL, "tasks", "old", "new")


def scores_by_type(run: Run, test: str | None = None) -> "DataFrame":
    """One row per finished step and type known by then, on test or on an extra test set.

    Raises `InputError` for a test set on which no step has scores.
    """
    from pandas import DataFrame

    names = extra_test_sets(run)
    if test is not None and test not in names:
        hint = suggest(test, names) if names else "name one in eval.test, and run again"
        raise InputError(f"no step has scores on a test set {test!r}", location=run.run, hint=hint)
    scored = [(step, step if test is None else step.tests.get(test)) for step in run.steps]
    rows = [
        {
            "step": step.index + 1,
            "type": name,
            "new": name in step.learns,
            "precision": scores.precision[name],
            "recall": scores.recall[name],
            "f1": scores.f1[name],
            "support": scores.support[name],
            **dict(zip(("tp", "fp", "fn"), counts, strict=True)),
        }
        for step, scores in scored
        if scores is not None
        for name, counts in scores.counts.items()
    ]
    columns = ["step", "type", "new", "precision", "recall", "f1", "support", "tp", "fp", "fn"]
    return DataFrame(rows, columns=columns).astype(dict.fromkeys(("precision", "recall", "f1"), "float64"))


def scores_by_step(run: Run) -> "DataFrame":
    """One row per finished step, on test, over all types known by then."""
    from pandas import DataFrame

    rows = [
        {
            "step": step.index + 1,
            "learns": ", ".join(step.learns),
            **{name: getattr(step, name) for name in SCORES},
            "sentences": step.sentences,
            "seconds": step.seconds,
            "best_epoch": step.best_epoch + 1,
            "fingerprint": step.fingerprint,
        }
        for step in run.steps
    ]
    return DataFrame(rows).astype(dict.fromkeys(SCORES, "float64")) if rows else DataFrame(columns=["step", *SCORES])


def epochs(run: Run) -> "DataFrame":
    """One row per epoch of each finished step: micro-F1 on dev, seconds, and the mean of every loss term."""
    from pandas import DataFrame

    rows = [
        {
            "step": step.index + 1,
            "epoch": epoch.epoch + 1,
            "dev": epoch.dev,
            "seconds": epoch.seconds,
            **{f"loss_{term}": value for term, value in epoch.losses.items()},
        }
        for step in run.steps
        for epoch in step.epochs
    ]
    return DataFrame(rows) if rows else DataFrame(columns=["step", "epoch", "dev", "seconds"])
