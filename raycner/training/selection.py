"""Selection: the dev score of an epoch, which decides the state that is kept and when a step stops early."""

from collections.abc import Sequence

from raycner.config import OptimConfig
from raycner.data.metrics import macro, micro
from raycner.networks.network import Network
from raycner.storage.ledger import EpochRecord
from raycner.training.counting import count_entities
from raycner.training.loader import SplitLoader


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
