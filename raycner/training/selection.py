"""Selection: the dev score of an epoch, which decides the state that is kept and when a step stops early.

A dev part without an entity of the step's new types cannot judge what the step learns: its score is best where nothing
was learned and nothing forgotten. The last epoch is kept then.
"""

from collections.abc import Sequence
from dataclasses import replace

from raycner.config import OptimConfig
from raycner.data.metrics import macro, micro
from raycner.data.scenarios.experience import Experience
from raycner.networks.network import Network
from raycner.storage.ledger import EpochRecord
from raycner.training.counting import count_entities
from raycner.training.loader import SplitLoader


def dev_judges(experience: Experience) -> bool:
    """Whether dev has an entity of a new type of the step."""
    new = set(experience.inventory.new)
    sentences = (sentence for part in experience.dev if part.visible & new for sentence in part.sentences())
    return any(entity.type in new for sentence in sentences for entity in sentence.entities)


def applicable(optim: OptimConfig, experience: Experience) -> tuple[OptimConfig, tuple[str, ...]]:
    """The selection that dev allows, and a note where it is not the one that `optim` asks for."""
    if optim.select == "last" or dev_judges(experience):
        return optim, ()
    new = experience.inventory.new
    types = f"{', '.join(new)}, the new type{'s' if len(new) > 1 else ''} of the step"
    note = f"dev has no entity of {types}, and cannot select an epoch: the last one is kept"
    return replace(optim, select="last", patience=0), (note,)


def dev_score(optim: OptimConfig, network: Network, dev: Sequence[SplitLoader]) -> float:
    """F1 on dev as `optim.select_by` averages it, over the types that `optim.select` names."""
    types = network.inventory.new if optim.select == "new" else network.inventory.types
    loaders = [loader for loader in dev if loader.split.visible & set(types)]
    average = macro if optim.select_by == "macro" else micro
    return average(count_entities(network, loaders), types)


def is_best(optim: OptimConfig, score: float, best_score: float) -> bool:
    """Whether the newest epoch becomes the one that is kept; of equal scores the later one does."""
    return optim.select == "last" or score >= best_score


def out_of_patience(optim: OptimConfig, epochs: Sequence[EpochRecord]) -> bool:
    """Whether the dev score has not risen for `optim.patience` epochs."""
    if not optim.patience or not epochs:
        return False
    scores = [epoch.dev_score for epoch in epochs]
    return len(scores) - 1 - scores.index(max(scores)) >= optim.patience
