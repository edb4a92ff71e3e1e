"""New-type bias calibration: one number per step, chosen on dev, that lowers the logits of the newest types.

    z' = z - delta  for every tag of a new type,   delta in GRID, the one of highest macro-F1 on pseudo-gold dev

A step's training sentences are full of its new types, so the network over-predicts them. The criterion uses no label
that the protocol withholds: gold entities of the new types, and the teacher's predictions for the old ones. Every
second sentence of dev chooses: one pass over them computes the logits, and all values of delta are decoded from these;
a teacher reads them once too. Where no sentence has a gold entity of a new type, dev cannot judge, and delta is 0.
Measured: +1 to +5 micro-F1.

`by_prior` chooses delta without any label of dev, from how many of its words the network takes for new types:

    delta = logit(a) - logit(b),    a the mean of p_i over the words of the step's sentences, b the share in dev
    b <- mean_i  r p_i / ( r p_i + s (1 - p_i) ),    r = b / a,  s = (1 - b) / (1 - a),    from b = a on

p_i is the mass of a word's new tags. b is the maximum-likelihood share of a mixture whose components the network tells
apart; a is its own mean rather than that of the labels, so that equal texts have no bias however sure the network is.
Source: Saerens et al. (Neural Computation 2002), for the new types together.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from raycner.data.metrics import macro
from raycner.data.scenarios.scenario import Split
from raycner.networks.batch import Batch
from raycner.networks.network import Network
from raycner.training.counting import ReadOut, count_read_outs
from raycner.training.loader import SplitLoader
from raycner.training.teacher import Teacher

GRID = tuple(0.5 * i for i in range(11))
"""The values of delta that are tried, in logits; on a tie the smallest is taken."""

ROUNDS = 100
"""Of expectation maximisation: a few would do, and a round is one sum."""
SMALLEST_SHARE = 1e-9
MOST = GRID[-1]
"""The largest correction, in logits: where dev seems to have no new type at all, or nothing else."""


def calibrate(network: Network, teacher: Teacher | None, dev: Sequence[Split]) -> float:
    """The delta of highest score, the same on every rank. No weight of the network is changed."""
    new = frozenset(network.inventory.new)
    (part,) = [part for part in dev if part.visible & new]
    half = replace(part, rows=part.rows[::2])
    if not any(entity.type in new for sentence in half.sentences() for entity in sentence.entities):
        return 0.0
    if teacher is not None:
        predictions = teacher.predictions(half)
        pseudo = [frozenset(e for e in entities if e.type in part.visible) for entities in predictions]
        half = replace(half, visible=part.visible & new).with_pseudo(pseudo)
    counts = count_read_outs(network, [SplitLoader(half, network)], [ReadOut(delta) for delta in GRID], part.visible)
    scores = dict(zip(GRID, (macro(count, sorted(part.visible)) for count in counts), strict=True))
    return max(GRID, key=lambda delta: (scores[delta], -delta))


def by_prior(network: Network, train: Split, dev: Sequence[Split]) -> float:
    """The delta that turns the step's share of new types into that of dev; the same on every rank. No label is read."""
    (part,) = [part for part in dev if part.visible & frozenset(network.inventory.new)]
    own, masses = (_masses(network, split) for split in (train.sources[0], part))
    share = float(own.mean()) if len(own) else 0.0
    if not 0 < share < 1 or not len(masses):
        return 0.0
    return max(-MOST, min(MOST, _logit(share) - _logit(share_in(masses, share))))


def share_in(masses: Tensor, share: float) -> float:
    """The share of new types among words with these masses [N] of new tags, by a network that learned at `share`."""
    present = share
    for _ in range(ROUNDS):
        new, other = masses * (present / share), (1 - masses) * ((1 - present) / (1 - share))
        present = min(max(float((new / (new + other)).mean()), SMALLEST_SHARE), 1 - SMALLEST_SHARE)
    return present


def _masses(network: Network, split: Split) -> Tensor:
    """[words] the mass of the new tags of each word of a split, by the network."""
    num_old = network.head.num_old

    def mass(batch: Batch, output: Any) -> Tensor:
        logits: Tensor = output.logits[batch.mask].double()
        return logits.softmax(-1)[:, num_old:].sum(-1).cpu()

    return torch.cat([torch.zeros(0, dtype=torch.float64), *SplitLoader(split, network).survey(mass)])


def _logit(share: float) -> float:
    return math.log(share) - math.log1p(-share)
