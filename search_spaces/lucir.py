"""How strongly does LUCIR weight features and margins? Trial 0 is the published configuration."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("method.feature_weight", 5.0, 100.0, log=True)
    trial.suggest_float("method.margin_weight", 0.5, 5.0, log=True)
    trial.suggest_float("method.margin", 0.1, 1.0)
    trial.suggest_int("method.top", 1, 4)


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("method.name=lucir", "model.head.name=cosine", "compute.workers=0"),
    space=space,
    first=[{"method.feature_weight": 50.0, "method.margin_weight": 1.0, "method.margin": 0.5, "method.top": 1}],
    trials=16,
)
