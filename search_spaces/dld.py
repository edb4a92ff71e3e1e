"""How much decomposed distillation around ExtendNER or CFNER, and which form? Weights: published times or over five."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("method.weight_positive", 0.1, 10.0, log=True)
    trial.suggest_float("method.weight_negative", 0.1, 10.0, log=True)
    trial.suggest_categorical("method.words", ["all", "outside"])
    if trial.suggest_categorical("method.form", ["mse", "kl"]) == "kl":
        trial.suggest_float("method.temperature", 0.5, 4.0)
    if trial.suggest_categorical("method.base.name", ["extend_ner", "cfner"]) == "cfner":
        trial.suggest_int("method.base.top_k", 1, 10, log=True)
    trial.suggest_float("method.base.kd_weight", 0.2, 10.0, log=True)


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("method.name=dld", "method.base.name=extend_ner", "compute.workers=0"),
    space=space,
    first=[
        {
            "method.weight_positive": 2.0,
            "method.weight_negative": 2.0,
            "method.words": "outside",
            "method.form": "kl",
            "method.temperature": 1.0,
            "method.base.name": "extend_ner",
            "method.base.kd_weight": 1.0,
        }
    ],
    trials=24,
)
