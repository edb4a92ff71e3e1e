"""The recommended recipe, which lies under jobs/ in three forms, and what of any recipe is active in a run."""

from collections.abc import Iterator, Mapping
from os import fspath
from typing import Literal

from raycner.config import RunConfig
from raycner.data.scenarios.memory import MemoryConfig
from raycner.hashing import Plain
from raycner.shipped import shipped
from raycner.yaml_text import load_file

Form = Literal["no_text", "reservoir", "memory"]
LAYERS: Mapping[Form, str] = {
    "no_text": "jobs/recommended.yaml",
    "reservoir": "jobs/recommended_reservoir.yaml",
    "memory": "jobs/recommended_memory.yaml",
}
"""By what later steps may use: nothing of earlier ones, other text, or some of their sentences."""

EXTENSION: Mapping[str, Plain] = {"method": {"name": "extend_ner"}}
"""The settings by which `raycner extend` teaches a model that was trained elsewhere.

Few steps follow, and what the old types keep counts most: on dev of WNUT17, three seeds, they lost nothing on average,
and 2.1 points by `recommended`, which is ahead over many steps.
"""


def recommended(form: Form = "no_text") -> dict[str, Plain]:
    """The settings of one form, as `raycner init` writes them."""
    settings: dict[str, Plain] = load_file(fspath(shipped(LAYERS[form])), "reinstall raycner")
    return settings


def active_parts(config: RunConfig) -> str:
    """One line: what of the settings acts against forgetting.

    As in "against forgetting: duplet(extend_ner), a memory of 20 sentences per type (random)".
    """
    return f"against forgetting: {', '.join(_parts(config)) or 'nothing'}"


def _parts(config: RunConfig) -> Iterator[str]:
    method, growth, optim = config.method, config.model.growth, config.optim
    memory, reservoir = config.scenario.memory, config.scenario.reservoir
    if config.scenario.joint:
        yield "all sentences of all steps so far (the upper bound)"
    elif method.name != "finetuning":
        yield method.label
    if memory.size:
        yield _of_memory(memory)
    if reservoir.path:
        yield f"{reservoir.size} sentences per old type from a reservoir"
    if config.model.encoder.is_frozen:
        yield "a frozen encoder"
    if growth.freeze_old:
        yield "frozen old rows"
    if growth.align:
        yield "aligned new rows"
    if optim.fusion:
        yield f"{optim.fusion:.0%} of the weights of the step before"
    if optim.ema:
        yield "averaged weights"
    if optim.feature_replay:
        yield "replayed features" + (", their weight chosen on dev" if optim.feature_replay == "dev" else "")
    yield from (f"calibration={kind}" for kind in (optim.calibration, config.eval.calibration) if kind != "none")


def _of_memory(memory: MemoryConfig) -> str:
    kept_words = {"labels": "", "logits": " with their logits", "states": " as states of words"}[memory.keep]
    until = f", until {memory.until}" if memory.until else ""
    return f"a memory of {memory.size} sentences per {memory.per}{kept_words} ({memory.choose}{until})"
