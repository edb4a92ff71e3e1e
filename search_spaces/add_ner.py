"""How strongly does AddNER distil its old blocks, at which temperature? Ranges: published values times or over five."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("method.kd_weight", 0.2, 5.0, log=True)
    trial.suggest_float("method.temperature", 0.5, 4.0)


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("method.name=add_ner", "model.head.name=stepwise", "compute.workers=0"),
    space=space,
    first=[{"method.kd_weight": 1.0, "method.temperature": 2.0}],
    trials=16,
)
