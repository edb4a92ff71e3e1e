"""How sure must the teacher be of each type? Trial 0 believes everything it says, as published."""

from optuna import Trial

from raycner import Study

TYPES = ("location", "organization", "person", "product")
"""Of the base job; name those of your own beside --base."""


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
