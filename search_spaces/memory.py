"""How many sentences of each type should be kept, and which? Trial 0 keeps five at random."""

from optuna import Trial

from raycner import Study


def space(trial: Trial) -> None:
    trial.suggest_int("scenario.memory.size", 1, 100, log=True)
    trial.suggest_categorical("scenario.memory.choose", ["random", "rarest", "herding", "uncertain"])


STUDY = Study(
    base="jobs/demo.yaml",
    overrides=("method.name=extend_ner", "compute.workers=0"),
    space=space,
    first=[{"scenario.memory.size": 5, "scenario.memory.choose": "random"}],
    trials=16,
)
