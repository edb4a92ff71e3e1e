"""The memories of a run: what its finished steps keep for the next one, chosen when that is first trained.

A memory lies at memories/MEMORY, named by its step and by the settings that chose it. One that the store lacks is
chosen again from the step's sentences.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

from raycner.config import RunConfig
from raycner.data.scenarios.experience import Experience, Split
from raycner.data.scenarios.memory import open_memory, write_memory
from raycner.hashing import fingerprint, plain
from raycner.networks.devices import place
from raycner.networks.network import Network
from raycner.storage.locks import acquire
from raycner.storage.memories import MemoryRecord
from raycner.storage.scratch import scratch_folder
from raycner.storage.store import ObjectStore
from raycner.training import ranks
from raycner.training.checkpoint import StepCheckpoint
from raycner.training.exemplars import exemplars, kept_of
from raycner.training.plan import StepSpec


@dataclass(frozen=True)
class FinishedStep:
    """A step that later ones may remember."""

    spec: StepSpec
    checkpoint: StepCheckpoint
    experience: Experience


def remembered(
    config: RunConfig, store: ObjectStore, finished: Sequence[FinishedStep], waiting: Callable[[str], None]
) -> tuple[Split, ...]:
    """The memories of finished steps, oldest first. A collective call."""
    if not config.scenario.memory.size:
        return ()
    return tuple(_find_or_choose(config, store, step, waiting) for step in finished)


def _find_or_choose(config: RunConfig, store: ObjectStore, step: FinishedStep, waiting: Callable[[str], None]) -> Split:
    memory = config.scenario.memory
    chosen_by = {**plain(memory, hashed=True), "until": plain(memory.until)}
    key = f"memories/{fingerprint([step.checkpoint.fingerprint, chosen_by])}"
    with acquire(store, key, waiting, ranks.broadcast_from_rank0):
        if ranks.broadcast_from_rank0(lambda: store.damage(key)):
            _choose(config, store, key, step)
    return open_memory(store.local(key), f"{store}/{key}")


def _choose(config: RunConfig, store: ObjectStore, key: str, step: FinishedStep) -> None:
    memory, train = config.scenario.memory, step.experience.train
    network = cache(partial(_network, config, step))
    positions = exemplars(train, memory, network, (step.spec.seed, step.spec.index))
    chosen = Split(train.corpus, train.part, train.rows[positions], train.visible)
    kept_words = kept_of(chosen, memory, network)

    def write() -> None:
        with scratch_folder() as folder:
            record = MemoryRecord(step.checkpoint.fingerprint, memory.until)
            write_memory(folder / "memory", chosen.sentences(), train.visible, record, kept_words)
            store.push(folder / "memory", key)

    ranks.broadcast_from_rank0(write)


def _network(config: RunConfig, step: FinishedStep) -> Network:
    return place(step.checkpoint.network(config.model), step.spec.optim.precision)
