"""How strongly should remembered logits be held, around which method? Trial 0 has the default around finetuning."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_float("method.logit_weight", 0.01, 10.0, log=True)
    trial.suggest_categorical("method.base.name", ["finetuning", "extend_ner", "self_training"])


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=(
        "method={name: der, base: {name: finetuning}}",
        "scenario.memory={size: 20, keep: logits}",
        "compute.workers=0",
    ),
    space=space,
    first=[{"method.logit_weight": 0.5, "method.base.name": "finetuning"}],
    trials=24,
)
