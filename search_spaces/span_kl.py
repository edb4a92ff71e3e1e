"""How strongly does SpanKL distil old types, and at which learning rate of the head? Trial 0 is as published."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("method.kd_weight", 0.5, 5.0, log=True)
    trial.suggest_float("method.temperature", 0.5, 4.0)
    trial.suggest_float("model.head.threshold", 0.3, 0.6)
    trial.suggest_float("model.head.positive_weight", 1.0, 5.0)
    trial.suggest_float("optim.head_lr", 5e-4, 1e-2, log=True)


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("scenario.protocol.name=split", "model.head.name=spans", "method.name=span_kl", "compute.workers=0"),
    space=space,
    first=[
        {
            "method.kd_weight": 1.0,
            "method.temperature": 1.0,
            "model.head.threshold": 0.5,
            "model.head.positive_weight": 1.0,
            "optim.head_lr": 1e-3,
        }
    ],
    trials=16,
)
