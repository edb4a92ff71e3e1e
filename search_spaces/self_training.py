"""From which confidence are the teacher's entities of each type used? Trial 0 uses all of them, as published."""

from optuna import Trial

from raycner import Study

TYPES = ("location", "organization", "person", "product")
"""Of the base job; list your own types for another --base."""


def space(trial: Trial) -> None:
    for name in TYPES:
        trial.suggest_float(f"method.thresholds.{name}", 0.0, 0.95)


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("method.name=self_training", "compute.workers=0"),
    space=space,
    first=[{f"method.thresholds.{name}": 0.0 for name in TYPES}],
    trials=24,
)
