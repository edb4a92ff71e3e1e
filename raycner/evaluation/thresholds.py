"""Thresholds: the least confidence of an entity, chosen on dev in one pass.

    dev            t   = argmax_t  F1(entities of all types with p >= t)
    dev_per_type   t_c = argmax_t  F1(entities of type c with p >= t), each type by itself

Every confidence is collected once and sorted; cumulative sums give the F1 of every threshold. The criterion sees of dev
what the step's protocol shows: in each part, gold entities of the types that are annotated there. A type with fewer
than `LEAST_ENTITIES` of them has the threshold of all types together; where these are fewer too, the prior of the head.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raycner.config import EvalConfig
from raycner.data.scenarios.scenario import Split
from raycner.hashing import Plain
from raycner.networks.heads.head import HeadConfig
from raycner.networks.network import Network
from raycner.storage.ledger import ThresholdRecord
from raycner.training import ranks
from raycner.training.loader import SplitLoader

LEAST_ENTITIES = 20
"""Fewer gold entities are too small a dev to choose a threshold by: one entity more or less moves F1 by points."""


def thresholds_of(config: EvalConfig, network: Network, dev: Sequence[Split]) -> ThresholdRecord | None:
    """The thresholds that an evaluation reads a network with; None where it reads by the head's own.

    A collective call, the same on every rank.
    """
    settings = threshold_settings(config, network.config.head)
    if settings is None:
        return None
    if config.threshold == "dev" or config.threshold == "dev_per_type":
        return choose_thresholds(network, dev, config.threshold)
    value: float = settings["value"]
    return ThresholdRecord(rule=settings["rule"], values=dict.fromkeys(network.inventory.types, value))


def threshold_settings(config: EvalConfig, head: HeadConfig) -> dict[str, Plain] | None:
    """Everything that determines the thresholds of a given network and dev; None where they are the head's own."""
    lowest, prior = head.module.lowest_threshold, head.module.prior_threshold
    if config.chooses_thresholds:
        return {"rule": config.threshold, "lowest": lowest, "prior": prior, "least_entities": LEAST_ENTITIES}
    value = prior if config.threshold == "prior" else config.threshold
    if value in (None, getattr(head, "threshold", 0.0)):
        return None
    return {"rule": "prior" if config.threshold == "prior" else "fixed", "value": value}


def choose_thresholds(network: Network, dev: Sequence[Split], rule: Literal["dev", "dev_per_type"]) -> ThresholdRecord:
    """The thresholds of every type that the network predicts. A collective call, the same on every rank."""
    types, lowest, prior = network.inventory.types, network.head.lowest_threshold, network.head.prior_threshold
    support = Counter(entity.type for part in dev for sentence in part.sentences() for entity in sentence.entities)
    together, apart = _candidates(network, dev, per_type=rule == "dev_per_type")
    enough = support.total() >= LEAST_ENTITIES
    common = best_threshold(together, support.total(), lowest, prior) if enough else prior
    values, source = dict.fromkeys(types, common), dict.fromkeys(types, "all" if enough else "prior")
    for kind, of_type in apart.items():
        if support[kind] >= LEAST_ENTITIES:
            values[kind], source[kind] = best_threshold(of_type, support[kind], lowest, prior), "type"
    return ThresholdRecord(rule=rule, values=values, source=source, support={kind: support[kind] for kind in types})


class Scored(NamedTuple):
    """A candidate of dev."""

    confidence: float
    is_gold: bool


def best_threshold(candidates: Sequence[Scored], gold: int, lowest: float, prior: float) -> float:
    """The threshold of highest F1 among `gold` entities; of equal ones the nearest to the prior.

    Thresholds lie halfway between neighbouring confidences, so that rounding moves no entity across; `lowest` takes all
    candidates. The prior where no threshold finds an entity.
    """
    if not any(candidate.is_gold for candidate in candidates):
        return prior
    confidences, is_gold = (np.asarray(column) for column in zip(*candidates, strict=True))
    order = np.argsort(-confidences, kind="stable")
    confidences, hits = confidences[order], np.cumsum(is_gold[order])
    ends = np.flatnonzero(np.append(confidences[1:] < confidences[:-1], True))  # the last of equal confidences
    f1 = 2 * hits[ends] / (ends + 1 + gold)
    distinct = confidences[ends]
    thresholds = np.append((distinct[:-1] + distinct[1:]) / 2, lowest)
    best: NDArray[np.float64] = thresholds[f1 == f1.max()]
    return float(best[np.abs(best - prior).argmin()])


def _candidates(
    network: Network, dev: Sequence[Split], *, per_type: bool
) -> tuple[list[Scored], Mapping[str, list[Scored]]]:
    """The candidates of dev as one threshold reads them, and those of each type by itself: one pass.

    Each rank reads its share, and every rank receives all.
    """
    head, lowest = network.head, network.head.lowest_threshold
    thresholds = dict.fromkeys(network.inventory.types, lowest)
    together: list[Scored] = []
    apart: list[tuple[str, Scored]] = []
    with network.eval_mode():
        for part in dev:
            for positions, batch in SplitLoader(part, network).batches():
                by_sentence = head.candidates(network.states(batch), batch, lowest)
                for position, candidates in zip(positions, by_sentence, strict=True):
                    gold = part[int(position)].entities
                    chosen = head.select(candidates, thresholds)
                    together += [Scored(p, e in gold) for e, p in chosen.items() if e.type in part.visible]
                    for kind in part.visible if per_type else ():
                        alone = {entity: p for entity, p in candidates.items() if entity.type == kind}
                        apart += [(kind, Scored(p, e in gold)) for e, p in head.select(alone, thresholds).items()]
    by_type: dict[str, list[Scored]] = defaultdict(list)
    for kind, scored in ranks.gather(apart, network.device):
        by_type[kind].append(scored)
    return ranks.gather(together, network.device), by_type
