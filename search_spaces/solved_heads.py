"""Which head in closed form on a frozen encoder, and how? Trial 0 is ridge regression with the default values."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    if trial.suggest_categorical("model.head.name", ["analytic", "nearest_mean"]) == "analytic":
        trial.suggest_int("model.head.features", 200, 5000, log=True)
        trial.suggest_float("model.head.ridge", 0.01, 10_000.0, log=True)
    trial.suggest_float("method.threshold", 0.0, 0.9)


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=(
        "method={name: self_training}",
        "model.encoder={name: pretrained, frozen: always}",
        "model.head={name: analytic}",
        "compute.workers=0",
    ),
    space=space,
    first=[
        {
            "model.head.name": "analytic",
            "model.head.features": 2000,
            "model.head.ridge": 100.0,
            "method.threshold": 0.0,
        }
    ],
    trials=24,
)
