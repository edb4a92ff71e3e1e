"""Should a step keep a share of the weights of the step before, of which weights, and align its new rows?"""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("optim.fusion", 0.0, 0.7, step=0.1)
    trial.suggest_float("optim.fusion_share", 0.05, 1.0, log=True)
    trial.suggest_categorical("model.growth.align", [False, True])


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("method.name=extend_ner", "compute.workers=0"),
    space=space,
    first=[{"optim.fusion": 0.0, "optim.fusion_share": 1.0, "model.growth.align": False}],
    trials=16,
)
