"""Which share of a tag's words should keep their pseudo-label, and how much should CPFD distil? Published: trial 0."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("method.quantile", 0.1, 1.0)
    trial.suggest_categorical("method.spare_outside", [True, False])
    trial.suggest_float("method.kd_weight", 0.2, 10.0, log=True)
    trial.suggest_categorical("method.adaptive", [True, False])


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("method.name=cpfd", "compute.workers=0"),
    space=space,
    first=[{"method.quantile": 0.5, "method.spare_outside": False, "method.kd_weight": 2.0, "method.adaptive": True}],
    trials=24,
)
