"""How a network is counted: its predictions against what a split shows, shared among the ranks."""

from collections.abc import Callable, Collection, Iterable

import torch

from raycner.data.entities import Entity
from raycner.data.metrics import add, tally
from raycner.networks.network import Network
from raycner.storage.ledger import Counts
from raycner.training import ranks
from raycner.training.loader import SplitLoader


def evaluate(
    network: Network,
    feeds: Iterable[SplitLoader],
    counted: Collection[str] | None = None,
    reading: Callable[[Iterable[Entity]], Collection[Entity]] = set,
    new_type_bias: float = 0.0,
) -> Counts:
    """The counts of a network's predictions; the same on every rank.

    Each part is counted for the types visible in it, or for `counted`. What a teacher said counts like gold, so a split
    without pseudo-entities is scored on gold alone. `reading` is what a scorer makes of a sentence's entities.
    """
    types = network.inventory.types
    total = add(dict.fromkeys(types, (0, 0, 0)))
    with network.eval_mode():
        for feed in feeds:
            here = [kind for kind in types if kind in (counted or feed.split.visible)]
            for positions, batch in feed.batches():
                gold = [feed.split[int(i)].labelled() for i in positions]
                predictions = network.predict(batch, new_type_bias=new_type_bias)
                pairs = [(g, s) for g, s in zip(gold, predictions, strict=True) if g or s]
                total = add(total, *(tally(reading(g), reading(s), here) for g, s in pairs))
    counts = ranks.all_reduce_sum(torch.tensor([total[kind] for kind in types], device=network.device))
    return {kind: (tp, fp, fn) for kind, (tp, fp, fn) in zip(types, counts.tolist(), strict=True)}
