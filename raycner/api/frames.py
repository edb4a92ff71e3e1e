"""The scores of a run as pandas frames. Scores are in percent; a score that is undefined is NaN."""

from typing import TYPE_CHECKING

from raycner.analysis.scores import Run

if TYPE_CHECKING:
    from pandas import DataFrame


SCORES = ("micro", "macro", "tasks", "old", "new")


def scores_by_type(run: Run) -> "DataFrame":
    """One row per finished step and type known by then, on test."""
    from pandas import DataFrame

    columns = ["step", "type", "new", "tp", "fp", "fn"]
    rows = [
        (step["index"] + 1, name, name in step["learns"], *counts)
        for step in run["steps"]
        for name, counts in step["counts"].items()
    ]
    frame = DataFrame(rows, columns=columns)
    tp, fp, fn = frame["tp"], frame["fp"], frame["fn"]
    occurs = tp + fp + fn > 0
    frame["precision"] = (100 * tp / (tp + fp)).fillna(0).where(occurs)
    frame["recall"] = (100 * tp / (tp + fn)).fillna(0).where(occurs)
    frame["f1"] = (200 * tp / (2 * tp + fp + fn)).where(occurs)
    frame["support"] = tp + fn
    return frame[["step", "type", "new", "precision", "recall", "f1", "support", "tp", "fp", "fn"]]


def scores_by_step(run: Run) -> "DataFrame":
    """One row per finished step, on test, over all types known by then."""
    from pandas import DataFrame

    rows = [
        {
            "step": step["index"] + 1,
            "learns": ", ".join(step["learns"]),
            "micro": step["micro"],
            "macro": step["macro"],
            "tasks": step["tasks"],
            "old": step["old"],
            "new": step["new"],
            "sentences": step["sentences"],
            "seconds": step["seconds"],
            "best_epoch": step["best_epoch"] + 1,
            "fingerprint": step["fingerprint"],
        }
        for step in run["steps"]
    ]
    return DataFrame(rows).astype(dict.fromkeys(SCORES, "float64")) if rows else DataFrame(columns=["step", *SCORES])


def epochs(run: Run) -> "DataFrame":
    """One row per epoch of each finished step: micro-F1 on dev, seconds, and the mean of every loss term."""
    from pandas import DataFrame

    rows = [
        {
            "step": step["index"] + 1,
            "epoch": epoch["epoch"] + 1,
            "dev": epoch["dev"],
            "seconds": epoch["seconds"],
            **{f"loss_{term}": value for term, value in epoch["losses"].items()},
        }
        for step in run["steps"]
        for epoch in step["epochs"]
    ]
    return DataFrame(rows) if rows else DataFrame(columns=["step", "epoch", "dev", "seconds"])
