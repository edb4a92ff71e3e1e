"""Feature replay: a step ends by aligning the rows of all tags with features drawn for the tags of earlier steps.

Where a step's sentences lack an old type, its words are soon taken for those of a new type, although the encoder still
tells them apart. Nothing is kept of the old sentences but, for each tag k, mean m_k and variance s_k^2 of the features
of its words at the end of its own step. As the encoder moves on, the means move as the features of the step's words do,
by an affine map D [H, H + 1]:

    m_k <- m_k + D [m_k; 1]      D = argmin_D  sum_i || f_i - f'_i - D [f'_i; 1] ||^2 + ridge * ||D||^2

f'_i, f_i: features [H] of word i of the step's sentences, by the networks before and after the step. Then rows W alone
are learned, from the rows W_0 with which training ended:

    L(W) = KL( p_0(f_i) || p(f_i) ) + weight * a_k CE( p(h_k), k ),    h_k ~ N(m_k, s_k^2),  p(f) = softmax(W f)

    a_k = 1 / (1 + n_k / c),    n_k = sum_i p'_k(f'_i)    (1 if c is 0)

A tag counts the less, the more of the step's words the network before, p', gives it: there the method holds it, and
drawn features would only make it more frequent than it is. How much is forgotten depends on the step, so the weight may
be the one of several whose rows score best on dev.

Sources: a learned map of the drift as in LDC (ECCV 2024), Gaussian features for the classifier as in SLCA (ICCV 2023).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from raycner.config import OptimConfig
from raycner.data.entities import OUTSIDE, split_tag
from raycner.data.scenarios.scenario import Split
from raycner.networks.class_statistics import ClassStatistics
from raycner.networks.network import Network
from raycner.training import ranks
from raycner.training.loader import SplitLoader
from raycner.training.selection import WEIGHTS

RIDGE = 0.1
"""In units of the squares of a feature summed over the words, on average over features."""
SENTENCES = 10_000
"""At most so many sentences of the step are read, evenly spread over it."""
WORDS = 20_000
"""At most so many of their words keep the rows where they are."""
DRAWN = 16
"""Features drawn of each old tag in an update."""
UPDATES, RATE = 150, 0.02
"""Of the rows, by Adam."""


class WordFeatures(NamedTuple):
    """What the head reads of the words of some sentences, in the order of the split."""

    features: Tensor
    """[N, H]"""
    targets: Tensor
    """[N] tag ids"""


def replay_features(
    network: Network, before: Network | None, train: Split, optim: OptimConfig, score: Callable[[], float]
) -> float | None:
    """Align the rows of a network that has ended its step, and add the statistics of the step's own tags.

    `before` is the network of the step before, `score` that of `network` on dev. Returns the weight that dev chose, or
    None where it did not. Every rank computes the same.
    """
    now, chosen = word_features(network, train), None
    if before is not None:
        earlier = word_features(before, train).features
        network.statistics = moved(before.statistics, earlier, now.features)
        align = partial(align_rows, network, now.features, lack(before, earlier, optim.feature_replay_words))
        if optim.feature_replay == "dev":
            chosen = align_by_dev(network, align, score)
        else:
            align(optim.feature_replay)
    network.statistics = observed(network, now)
    return chosen


def align_by_dev(network: Network, align: Callable[[float], None], score: Callable[[], float]) -> float:
    """Align rows with the weight that scores best, and return it."""
    trained, best, best_score = network.head.row_weights.clone(), 0.0, -math.inf
    rows = trained
    for weight in WEIGHTS:
        network.head.row_weights = trained
        align(weight)
        if (of_weight := score()) > best_score:
            best, best_score, rows = weight, of_weight, network.head.row_weights.clone()
    network.head.row_weights = rows
    return best


def word_features(network: Network, split: Split) -> WordFeatures:
    """The features of a split's words. A collective call: each rank reads its share of the sentences."""
    loader = SplitLoader(split, network)
    chosen = np.unique(np.linspace(0, len(loader) - 1, min(len(loader), SENTENCES)).astype(np.int64))
    own: list[tuple[int, Tensor, Tensor]] = []
    with network.eval_mode():
        for positions, batch in loader.batches_of(chosen[ranks.rank() :: ranks.world_size()]):
            features = network.head.row_features(network.states(batch), batch)
            for position, row, target, is_word in zip(
                positions.tolist(), features, batch.targets, batch.mask, strict=True
            ):
                own.append((position, row[is_word].cpu(), target[is_word].cpu()))
    read = sorted(ranks.gather(own, network.device), key=lambda sentence: sentence[0])
    features = torch.cat([row for _, row, _ in read])
    targets = torch.cat([target for _, _, target in read])
    return WordFeatures(features.to(network.device), targets.to(network.device))


def moved(statistics: ClassStatistics, before: Tensor, now: Tensor) -> ClassStatistics:
    """The statistics after the encoder has moved. Shapes: features of the same words [N, H], before and now."""
    if not statistics.moments:
        return statistics
    words = F.pad(before, (0, 1), value=1.0).double()
    gram = words.T @ words  # [H + 1, H + 1]
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram)).to(gram)
    drift = torch.linalg.solve(gram + ridge, words.T @ (now - before).double())  # [H + 1, H]
    moments: dict[str, Tensor] = {}
    for tag, (mean, variance) in statistics.moments.items():
        mean, variance = mean.to(before), variance.to(before)
        moments[tag] = torch.stack([mean + (F.pad(mean, (0, 1), value=1.0).double() @ drift).to(mean), variance])
    return replace(statistics, moments=moments)


def lack(before: Network, features: Tensor, words: float) -> dict[str, float]:
    """a_k of each tag k of the network before, from the features [N, H] that it computes; c is `words`."""
    tags, rows = before.head.tags, before.head.row_weights
    if not words:
        return dict.fromkeys(tags, 1.0)
    counts = (F.pad(features, (0, 1), value=1.0) @ rows.T).softmax(-1).sum(0)
    return {tag: 1 / (1 + count / words) for tag, count in zip(tags, counts.tolist(), strict=True)}


def align_rows(network: Network, features: Tensor, shares: Mapping[str, float], weight: float) -> None:
    """Learn the rows alone, from features [N, H] of the step's words and those that are drawn for old tags.

    `weight` is that of the drawn features, of which each tag has a share, a_k. Without weight, rows stay.
    """
    head = network.head
    old = {head.tags.index(tag): moments for tag, moments in network.statistics.moments.items() if tag in head.tags}
    if not old or not weight:
        return
    means, variances = torch.stack([*old.values()]).to(features).unbind(1)  # [K, H] each
    tags = torch.tensor([*old], device=features.device).repeat(DRAWN)
    of_tags = features.new_zeros(len(head.tags))
    of_tags[[*old]] = torch.tensor([weight * shares[head.tags[row]] for row in old]).to(features)
    some = F.pad(features[:: -(-len(features) // WORDS)], (0, 1), value=1.0)
    trained = head.row_weights
    target = (some @ trained.T).softmax(-1)
    rows = trained.clone().requires_grad_()
    optimizer = torch.optim.Adam([rows], lr=RATE)
    draw = torch.Generator().manual_seed(0)
    for _ in range(UPDATES):
        noise = torch.randn(DRAWN, *means.shape, generator=draw).to(features)
        drawn = F.pad((means + variances.sqrt() * noise).flatten(0, 1), (0, 1), value=1.0)
        held = F.kl_div((some @ rows.T).log_softmax(-1), target, reduction="batchmean")
        replayed = F.cross_entropy(drawn @ rows.T, tags, weight=of_tags, reduction="sum") / len(tags)
        loss = held + replayed
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    head.row_weights = rows.detach()


def observed(network: Network, words: WordFeatures) -> ClassStatistics:
    """With the statistics of the newest types' tags, of those that at least two words have."""
    statistics, head = network.statistics, network.head
    for row, tag in enumerate(head.tags):
        is_new = tag != OUTSIDE and split_tag(tag)[1] in head.inventory.new
        if is_new and (words.targets == row).sum() > 1:
            statistics = statistics.observe(tag, words.features[words.targets == row])
    return statistics
