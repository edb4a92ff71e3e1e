"""Advice: notes on a step whose batches are too few to learn from, or too small for its workers."""

from collections.abc import Iterator

from raycner.config import OptimConfig

FEW_UPDATES = 100
"""What a network with fewer updates has not learned looks like forgetting in a table."""
SMALL_SHARE = 8
"""Sentences per worker and update below which workers mostly wait for each other."""


def advice(step: str, optim: OptimConfig, batches: int, sentences: int, workers: int) -> Iterator[str]:
    """Lines on a step that trains `sentences` in so many `batches` per epoch, on so many workers."""
    updates = optim.epochs * batches
    if updates < FEW_UPDATES:
        hint = "leave optim.epochs and optim.batch_size at 0, or raise the epochs"
        yield f"{step} makes {updates} updates from {sentences} sentences, too few to learn much: {hint}"
    if workers > sentences:
        yield f"{step} has {sentences} sentences for {workers} workers: some have none, and compute on a masked copy"
    elif workers > 1 and optim.batch_size < SMALL_SHARE * workers:
        share = f"{optim.batch_size / workers:.3g} sentences of each batch of {optim.batch_size}"
        yield f"{step} gives a worker {share}: fewer compute.workers, or a larger optim.batch_size, use them better"
