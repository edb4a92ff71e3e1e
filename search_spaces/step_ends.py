"""Should a step end with weights of the step before, averaged weights, aligned rows, and replayed features?"""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("optim.fusion", 0.0, 0.7, step=0.1)
    trial.suggest_float("optim.fusion_share", 0.05, 1.0, log=True)
    trial.suggest_categorical("optim.ema", [0.0, 0.9, 0.97, 0.99])
    trial.suggest_categorical("model.growth.align", [False, True])
    trial.suggest_categorical("optim.feature_replay", [0.0, 0.1, 0.5, 2.0, "dev"])


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("method.name=extend_ner", "compute.workers=0"),
    space=space,
    first=[
        {
            "optim.fusion": 0.0,
            "optim.fusion_share": 1.0,
            "optim.ema": 0.0,
            "model.growth.align": False,
            "optim.feature_replay": 0.0,
        }
    ],
    trials=16,
)
