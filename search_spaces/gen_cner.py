"""How many pseudo-triplets are used, how much is distilled, and are pseudo-triplets supervised like gold?"""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("method.keep_ratio", 0.3, 1.0)
    trial.suggest_float("method.kd_weight", 0.5, 3.0, log=True)
    trial.suggest_float("method.temperature", 0.5, 4.0)
    trial.suggest_categorical("method.supervise", ["gold", "all"])
    trial.suggest_categorical("method.collisions", ["identical", "overlapping"])


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("model.head.name=triplets", "method.name=gen_cner", "compute.workers=0"),
    space=space,
    first=[
        {
            "method.keep_ratio": 0.5,
            "method.kd_weight": 1.0,
            "method.temperature": 1.0,
            "method.supervise": "gold",
            "method.collisions": "identical",
        }
    ],
    trials=16,
)
