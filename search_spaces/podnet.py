"""How strongly does PODNet distil pooled features? Trial 0 is the published configuration."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("method.flat_weight", 0.5, 10.0, log=True)
    trial.suggest_float("method.spatial_weight", 0.5, 10.0, log=True)
    trial.suggest_float("method.scale", 1.0, 20.0, log=True)
    trial.suggest_float("method.margin", 0.0, 1.0)


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("method.name=podnet", "model.head.name=cosine", "compute.workers=0"),
    space=space,
    first=[
        {"method.flat_weight": 1.0, "method.spatial_weight": 1.0, "method.scale": 1.0, "method.margin": 0.6},
    ],
    trials=16,
)
