"""How strongly should words be contrasted, and which? Trial 0 has the published temperature and confidence."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("method.weight", 0.01, 1.0, log=True)
    trial.suggest_float("method.temperature", 0.02, 0.5, log=True)
    trial.suggest_float("method.confidence", 0.5, 1.0)
    trial.suggest_categorical("method.outside", [True, False])


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("method.name=contrastive", "method.base.name=extend_ner", "compute.workers=0"),
    space=space,
    first=[
        {"method.weight": 0.1, "method.temperature": 0.07, "method.confidence": 0.98, "method.outside": True},
    ],
    trials=24,
)
