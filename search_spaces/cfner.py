"""How many neighbours, how much distillation, and does the curriculum help? Trial 0 is the published configuration."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("method.kd_weight", 0.5, 5.0, log=True)
    trial.suggest_categorical("method.adaptive", [False, True])
    trial.suggest_categorical("method.weighting", ["mean", "word"])
    trial.suggest_int("method.top_k", 1, 10, log=True)
    trial.suggest_categorical("method.new_types", [True, False])
    old_types = trial.suggest_categorical("method.old_types", [True, False])
    if old_types and trial.suggest_categorical("method.curriculum", [False, True]):
        trial.suggest_float("method.confidence_start", 0.7, 1.0)
        trial.suggest_float("method.confidence_end", 0.0, 0.5)


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("method.name=cfner", "compute.workers=0"),
    space=space,
    first=[
        {
            "method.kd_weight": 2.0,
            "method.adaptive": True,
            "method.weighting": "mean",
            "method.top_k": 3,
            "method.new_types": True,
            "method.old_types": True,
            "method.curriculum": False,
        }
    ],
    trials=24,
)
