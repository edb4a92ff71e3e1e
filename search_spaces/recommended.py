"""How much should later steps of `jobs/recommended.yaml` learn, distil and replay? Trial 0 is the recipe itself."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("method.kd_weight", 0.5, 4.0, log=True)
    trial.suggest_float("method.teacher_temperature", 0.5, 2.0, log=True)
    trial.suggest_float("optim.lr", 5e-5, 4e-4, log=True)
    trial.suggest_categorical("optim.feature_replay", [0.25, 0.5, 1.0])
    trial.suggest_categorical("optim.feature_replay_words", [0.0, 3.0, 10.0, 30.0])


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("jobs/recommended.yaml", "optim.first.lr=2e-4", "compute.workers=0"),
    space=space,
    first=[
        {
            "method.kd_weight": 1.0,
            "method.teacher_temperature": 1.0,
            "optim.lr": 2e-4,
            "optim.feature_replay": 0.5,
            "optim.feature_replay_words": 10.0,
        }
    ],
    trials=24,
)
