"""How much should twins and their consistency weigh, around which method? Published values are first."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("method.twin_weight", 0.1, 10.0, log=True)
    trial.suggest_float("method.consistency_weight", 0.001, 10.0, log=True)
    if trial.suggest_categorical("method.base.name", ["extend_ner", "self_training"]) == "extend_ner":
        trial.suggest_float("method.base.kd_weight", 0.2, 5.0, log=True)


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("method.name=duplet", "method.base.name=extend_ner", "compute.workers=0"),
    space=space,
    first=[
        {
            "method.twin_weight": 1.0,
            "method.consistency_weight": 0.01,
            "method.base.name": "extend_ner",
            "method.base.kd_weight": 1.0,
        }
    ],
    trials=24,
)
