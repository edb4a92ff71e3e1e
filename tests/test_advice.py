"""Advice on a step's batches."""

import pytest

from raycner.config import OptimConfig
from raycner.training.advice import advice

STEP = OptimConfig(epochs=3, batch_size=32)


@pytest.mark.parametrize(
    ("optim", "batches", "sentences", "workers", "lines"),
    [
        (STEP, 13, 408, 1, ["makes 39 updates from 408 sentences"]),
        (STEP, 34, 1088, 1, []),
        (STEP, 34, 1088, 4, []),
        (STEP, 34, 1088, 8, ["gives a worker 4 sentences of each batch of 32"]),
        (STEP, 1, 3, 4, ["makes 3 updates", "has 3 sentences for 4 workers: some have none"]),
    ],
)
def test_advice_names_what_is_too_small(
    optim: OptimConfig, batches: int, sentences: int, workers: int, lines: list[str]
) -> None:
    given = list(advice("step 2", optim, batches, sentences, workers))
    assert len(given) == len(lines)
    assert all(line in text for line, text in zip(lines, given, strict=True))
