"""Selection: the dev score of an epoch, which decides the state that is kept and when a step stops early.

A dev part without an entity of the step's new types cannot judge what the step learns: its score is best where nothing
was learned and nothing forgotten. The last epoch is kept then. One without an entity of old types cannot judge what a
step replays: the weight of replayed features is then the first of `WEIGHTS`.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from raycner.config import OptimConfig
from raycner.data.metrics import macro, micro
from raycner.data.scenarios.experience import Experience
from raycner.networks.network import Network
from raycner.storage.ledger import EpochRecord
from raycner.training.counting import count_entities
from raycner.training.loader import SplitLoader

WEIGHTS = (0.5, 1.0, 2.0, 0.2, 0.0)
"""Of replayed features, those that `optim.feature_replay=dev` tries; of equal scores the earlier one counts."""


def dev_has(experience: Experience, types: Collection[str]) -> bool:
    """Whether dev has an entity of one of these types."""
    wanted = set(types)
    sentences = (sentence for part in experience.dev if part.visible & wanted for sentence in part.sentences())
    return any(entity.type in wanted for sentence in sentences for entity in sentence.entities)


def applicable(optim: OptimConfig, experience: Experience) -> tuple[OptimConfig, tuple[str, ...]]:
    """The selection that dev allows, and a note for each that is not as `optim` asks for."""
    new, old = experience.inventory.new, experience.inventory.old
    notes: list[str] = []
    if optim.select != "last" and not dev_has(experience, new):
        types = f"{', '.join(new)}, the new type{'s' if len(new) > 1 else ''} of the step"
        notes.append(f"dev has no entity of {types}, and cannot select an epoch: the last one is kept")
        optim = replace(optim, select="last", patience=0)
    if optim.feature_replay == "dev" and not dev_has(experience, old):
        what = "dev has no entity of an old type, and cannot choose the weight of replayed features"
        notes.append(f"{what}: it is {WEIGHTS[0]}")
        optim = replace(optim, feature_replay=WEIGHTS[0])
    return optim, tuple(notes)


def dev_score(optim: OptimConfig, network: Network, dev: Sequence[SplitLoader]) -> float:
    """F1 on dev as `optim.select_by` averages it, over the types that `optim.select` names."""
    types = network.inventory.new if optim.select == "new" else network.inventory.types
    loaders = [loader for loader in dev if loader.split.visible & set(types)]
    average = macro if optim.select_by == "macro" else micro
    return average(count_entities(network, loaders), types)


def mean_f1(network: Network, dev: Sequence[SplitLoader]) -> float:
    """The mean of micro- and macro-F1 on dev, over all types so far."""
    types = network.inventory.types
    counts = count_entities(network, [loader for loader in dev if loader.split.visible])
    return (micro(counts, types) + macro(counts, types)) / 2


def is_best(optim: OptimConfig, score: float, best_score: float) -> bool:
    """Whether the newest epoch becomes the one that is kept; of equal scores the later one does."""
    return optim.select == "last" or score >= best_score


def out_of_patience(optim: OptimConfig, epochs: Sequence[EpochRecord]) -> bool:
    """Whether the dev score has not risen for `optim.patience` epochs."""
    if not optim.patience or not epochs:
        return False
    scores = [epoch.dev_score for epoch in epochs]
    return len(scores) - 1 - scores.index(max(scores)) >= optim.patience
