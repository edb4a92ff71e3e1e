"""The chain of steps of a run, computed without the store.

The name of a step is the hash of everything that determines its weights. Resume, sharing and provenance rest on it.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from raycner.config import OptimConfig, RunConfig
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.memory import MemoryConfig
from raycner.data.scenarios.reservoir import ReservoirKey
from raycner.data.scenarios.scenario import Scenario, ScenarioKey
from raycner.errors import InputError
from raycner.hashing import fingerprint, omit_default_from_hash
from raycner.methods.method import Method
from raycner.networks.heads.head import GrowthConfig
from raycner.networks.network import ModelConfig
from raycner.registry import suggest

NUMERICS = 3
"""Raised by every change that alters what a step learns (CHANGELOG, Numerics), and so renames every step."""


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """Everything that determines one step's weights, and nothing that does not."""

    index: int
    parent: str | None
    """Fingerprint of the step before."""
    scenario: ScenarioKey
    encoder: str
    """Digest of the weights the encoder starts from, and of those the head does if it has any."""
    model: ModelConfig
    method: Method[Any]
    optim: OptimConfig
    """With nothing left open: epochs, batch size and rates are those of this step."""
    seed: int
    memory: MemoryConfig = omit_default_from_hash(MemoryConfig())
    """What the steps before have kept of their sentences."""
    reservoir: ReservoirKey | None = omit_default_from_hash(None)
    """What the step draws from text without annotations."""
    prototypes: bool = omit_default_from_hash(False)
    """Whether the step stores the prototypes of its tags, which the method of later steps reads."""
    numerics: int = NUMERICS
    adopted: str = omit_default_from_hash(default="")
    """The name of a step that was trained elsewhere: a digest of its files, whatever this run trains with."""

    @cached_property
    def fingerprint(self) -> str:
        return self.adopted or fingerprint(self)

    @property
    def inventory(self) -> TypeInventory:
        """The types that the network knows when the step ends."""
        inventory = TypeInventory()
        for size in self.scenario.sizes[: self.index + 1]:
            inventory = inventory.grow(self.scenario.types[len(inventory) : len(inventory) + size])
        return inventory


def plan(config: RunConfig, scenario: Scenario) -> tuple[StepSpec, ...]:
    """The steps of a run, each naming the one before. Step 0 reads no growth and nothing that only later steps do."""
    learned = scenario[-1].inventory.types
    for kind in config.method.types:
        if kind not in learned:
            raise InputError(f"no type called {kind!r} is learned", location="method", hint=suggest(kind, learned))
    for number in config.at:
        if int(number) > len(scenario):
            raise InputError(f"there is no step {number}", location="at", hint=f"the run has {len(scenario)} steps")
    _require_partly(config, scenario)
    identity = config.model.identity()
    memory = config.scenario.memory if config.scenario.memory.size else MemoryConfig()
    chain: list[StepSpec] = []
    for index in range(len(scenario)):
        first, here = index == 0, config.for_step(index)
        chain.append(
            StepSpec(
                index=index,
                parent=chain[-1].fingerprint if chain else None,
                scenario=scenario.key(index),
                encoder=identity,
                model=_of_first_step(here.model) if first else here.model,
                method=here.method.first if first else here.method,
                optim=here.optim.for_step(index).for_sentences(
                    round(len(scenario[index].train) / scenario.config.train_share)
                ),
                seed=config.seed,
                memory=MemoryConfig() if first else memory,
                adopted=scenario[index].adopted,
                reservoir=None if first else scenario.reservoir_key,
                prototypes=config.method.needs_prototypes,
            )
        )
    return tuple(chain)


def _require_partly(config: RunConfig, scenario: Scenario) -> None:
    """Raise `InputError` where a method would read words as O that may be of a type which is annotated in part."""
    for index, experience in enumerate(scenario):
        method = config.for_step(index).method
        if experience.train.open and not (method if index else method.first).learns_partly:
            name = method.label if index else "the first step, which has no teacher,"
            what = f"{name} takes words without annotation for O"
            hint = "set method.name=extend_ner, or duplet or dld around it; the first step needs full annotations"
            raise InputError(what, location=f"scenario.protocol.steps.{index}.partly", hint=hint)


def _of_first_step(model: ModelConfig) -> ModelConfig:
    return replace(model, growth=GrowthConfig(), encoder=model.encoder.first)
