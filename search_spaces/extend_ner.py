"""How much should ExtendNER distil, at which temperatures? Ranges: the published values times or over five."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("method.kd_weight", 0.2, 5.0, log=True)
    trial.suggest_float("method.student_temperature", 0.5, 4.0)
    trial.suggest_float("method.teacher_temperature", 0.25, 4.0, log=True)
    trial.suggest_categorical("method.adaptive", [False, True])
    trial.suggest_categorical("method.weighting", ["word", "mean"])
    trial.suggest_categorical("method.prototype_weight", [0.0, 0.02, 0.1, 0.5])


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("method.name=extend_ner", "compute.workers=0"),
    space=space,
    first=[
        {
            "method.kd_weight": 1.0,
            "method.student_temperature": 2.0,
            "method.teacher_temperature": 1.0,
            "method.adaptive": False,
            "method.weighting": "mean",
            "method.prototype_weight": 0.0,
        }
    ],
    trials=24,
)
