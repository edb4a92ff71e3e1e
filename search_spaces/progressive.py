"""The ranges of progressive NER's paper, which drew at random (`--sampler random`); TPE is the default here.

Learning rates and clips are the published ones, of losses summed over the words of a sentence, as rates of mean losses.
"""

from optuna import Trial

from raycner import Study

WORDS = 14.5
"""A sentence of CoNLL-2003 has so many, on average."""


def space(trial: Trial) -> None:
    trial.suggest_categorical("optim.batch_size", [16, 32, 64, 128, 256])
    trial.suggest_float("optim.clip", 5 / WORDS, 50 / WORDS)
    trial.suggest_int("model.encoder.char_width", 5, 25, step=5)
    trial.suggest_categorical("model.encoder.width", [64, 72, 128, 256, 512])
    trial.suggest_float("model.encoder.dropout", 0.1, 0.8, step=0.1)
    trial.suggest_float("optim.lr", 0.0025 * WORDS, 0.01 * WORDS)
    trial.suggest_float("optim.head_lr", 0.0025 * WORDS, 0.01 * WORDS)


STUDY = Study(
    base="jobs/conll_progressive.yaml",
    overrides=("compute.workers=0",),
    space=space,
    first=[
        {
            "optim.batch_size": 128,
            "optim.clip": 5 / WORDS,
            "model.encoder.char_width": 25,
            "model.encoder.width": 128,
            "model.encoder.dropout": 0.5,
            "optim.lr": 0.005 * WORDS,
            "optim.head_lr": 0.005 * WORDS,
        }
    ],
    trials=32,
    pruning="none",
)
