"""How much should RDP distil, smooth and sharpen? Trial 0 has the published values."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("method.kd_weight", 0.2, 10.0, log=True)
    trial.suggest_float("method.soft_weight", 0.0, 1.0)
    trial.suggest_float("method.entropy_weight", 0.0, 0.5)
    trial.suggest_categorical("method.prototypes", ["mean", "none"])


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("method.name=rdp", "compute.workers=0"),
    space=space,
    first=[
        {
            "method.kd_weight": 2.0,
            "method.soft_weight": 0.3,
            "method.entropy_weight": 0.1,
            "method.prototypes": "mean",
        }
    ],
    trials=24,
)
