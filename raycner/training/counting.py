"""Counting: what a network predicts, against what a split shows. Every rank counts its share, and all get the sum."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import torch

from raycner.data.entities import Entity
from raycner.data.metrics import add, conlleval, tally
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.network import Network
from raycner.storage.ledger import Counts
from raycner.training import ranks
from raycner.training.loader import SplitLoader

Counting = Literal["strict", "conlleval"]
COUNTINGS: Mapping[Counting, Callable[[Iterable[Entity]], Collection[Entity]]] = {"strict": set, "conlleval": conlleval}
"""What each scheme makes of the gold entities of one sentence."""


class ReadOut(NamedTuple):
    """One way to read and to count the output of a network."""

    new_type_bias: float = 0.0
    """In logits, subtracted from those of the newest types."""
    counting: Counting = "strict"


RAW = ReadOut()


def count_entities(
    network: Network, loaders: Iterable[SplitLoader], counted: Collection[str] | None = None, read_out: ReadOut = RAW
) -> Counts:
    """The counts of one read-out; see `count_read_outs`."""
    (counts,) = count_read_outs(network, loaders, [read_out], counted)
    return counts


def count_read_outs(
    network: Network,
    loaders: Iterable[SplitLoader],
    read_outs: Sequence[ReadOut],
    counted: Collection[str] | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> tuple[Counts, ...]:
    """The counts of several read-outs, from one pass of the encoder; the same on every rank.

    Each split is counted for the types visible in it, or for `counted`. `thresholds` are the least confidences of
    entities, by type; None reads by the head's own. Pseudo-labels count as gold, so a split without
    them is scored on gold alone.
    """
    types = network.inventory.types
    totals = [add(dict.fromkeys(types, (0, 0, 0))) for _ in read_outs]
    with network.eval_mode():
        for loader in loaders:
            scored = [kind for kind in types if kind in (counted or loader.split.visible)]
            for positions, batch in loader.batches():
                gold = [loader.split[int(i)].labelled() for i in positions]
                states = network.states(batch)
                for i, predictions in enumerate(_predictions(network, states, batch, read_outs, thresholds)):
                    reading = COUNTINGS[read_outs[i].counting]
                    pairs = [(g, p) for g, p in zip(gold, predictions, strict=True) if g or p]
                    totals[i] = add(totals[i], *(tally(reading(g), p, scored) for g, p in pairs))
    local = torch.tensor([[total[kind] for kind in types] for total in totals], device=network.device)
    return tuple(
        {kind: (tp, fp, fn) for kind, (tp, fp, fn) in zip(types, counts, strict=True)}
        for counts in ranks.all_reduce_sum(local).tolist()
    )


def _predictions(
    network: Network,
    states: States,
    batch: Batch,
    read_outs: Sequence[ReadOut],
    thresholds: Mapping[str, float] | None,
) -> Iterator[Sequence[Collection[Entity]]]:
    """What each read-out finds in each sentence of a batch."""
    biases = list(dict.fromkeys(bias for bias, counting in read_outs if counting == "strict"))
    strict = dict(zip(biases, network.read_out_each(states, batch, biases, thresholds), strict=True)) if biases else {}
    for bias, counting in read_outs:
        yield strict[bias] if counting == "strict" else network.head.chunks(states, batch, new_type_bias=bias)
