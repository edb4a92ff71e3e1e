"""Batches: one global order whatever the number of ranks, every sentence once, little padding, a kept budget."""

from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.scenarios.scenario import Scenario
from raycner.networks.heads.head import HEADS
from raycner.networks.losses import IGNORE
from raycner.networks.network import Network
from raycner.training import ranks
from raycner.training.loader import EVAL_BATCH_LIMITS, SplitLoader, cut, cut_unsorted, epoch_order

Array = NDArray[np.int64]
lengths_of = st.lists(st.integers(1, 60), min_size=1, max_size=120).map(
    lambda lengths: np.asarray(lengths, dtype=np.int64)
)


def slots(batch: Array, lengths: Array) -> int:
    """How many slots a batch has, padding included."""
    return len(batch) * int(lengths[batch].max())


@given(
    lengths=lengths_of,
    seed=st.integers(0, 9),
    epoch=st.integers(0, 9),
    size=st.integers(1, 9),
    tokens=st.integers(1, 99),
    order=st.sampled_from(["pools", "shuffle", "corpus"]),
)
def test_an_epoch_sees_every_sentence_once_within_its_budget(
    lengths: Array, seed: int, epoch: int, size: int, tokens: int, order: Any
) -> None:
    batches = epoch_order(lengths, seed=seed, epoch=epoch, size=size, tokens=tokens, order=order)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= size
        assert len(batch) == 1 or slots(batch, lengths) <= tokens
    again = epoch_order(lengths, seed=seed, epoch=epoch, size=size, tokens=tokens, order=order)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


@given(lengths=lengths_of, size=st.integers(1, 9), tokens=st.integers(1, 99))
def test_a_batch_is_closed_only_when_it_is_full(lengths: Array, size: int, tokens: int) -> None:
    order = np.argsort(-lengths, kind="stable")
    batches = cut(order, lengths, size, tokens)
    assert np.concatenate(batches).tolist() == order.tolist()
    for batch in batches[:-1]:
        longest = int(lengths[batch].max())
        assert len(batch) == size or (len(batch) + 1) * longest > tokens


@given(lengths=lengths_of, size=st.integers(1, 9), tokens=st.integers(1, 99))
def test_batches_of_an_unsorted_order_are_closed_only_when_they_are_full(
    lengths: Array, size: int, tokens: int
) -> None:
    order = np.arange(len(lengths))
    batches = cut_unsorted(order, lengths, size, tokens)
    assert np.concatenate(batches).tolist() == order.tolist()
    for batch, following in pairwise(batches):
        assert len(batch) == size or (len(batch) + 1) * lengths[[*batch, following[0]]].max() > tokens
    falling = np.argsort(-lengths, kind="stable")
    assert [b.tolist() for b in cut_unsorted(falling, lengths, size, tokens)] == [
        b.tolist() for b in cut(falling, lengths, size, tokens)
    ]


def test_published_orders_are_those_of_the_corpus_and_of_a_shuffle() -> None:
    lengths = np.random.RandomState(0).randint(1, 60, 64)
    ways: list[Any] = ["corpus", "shuffle", "pools"]
    corpus, shuffle, pools = (
        [np.concatenate(epoch_order(lengths, seed=0, epoch=e, size=8, tokens=9999, order=way)).tolist() for e in (0, 1)]
        for way in ways
    )
    assert corpus == [list(range(64))] * 2
    assert shuffle[0] != shuffle[1] and corpus[0] not in shuffle and shuffle != pools


def test_pools_let_the_same_sentences_meet_again_and_a_shuffle_does_not() -> None:
    """One pool of a small step: sorted by length, neighbours stay neighbours."""
    lengths = np.random.RandomState(0).gamma(2.0, 8.0, 204).astype(np.int64) + 2

    def mates(order: Any, epoch: int) -> set[tuple[int, int]]:
        batches = epoch_order(lengths, seed=0, epoch=epoch, size=4, tokens=9999, order=order)
        return {pair for batch in batches for pair in combinations(sorted(batch.tolist()), 2)}

    again = {order: len(mates(order, 0) & mates(order, 1)) / len(mates(order, 0)) for order in ("pools", "shuffle")}
    assert again["pools"] > 0.1 > 0.05 > again["shuffle"]


def test_a_sentence_without_a_slot_is_a_batch_like_any_other() -> None:
    assert [batch.tolist() for batch in cut(np.arange(3), np.zeros(3, dtype=np.int64), 2, 10)] == [[0, 1], [2]]


def test_epochs_and_seeds_give_different_orders() -> None:
    lengths = np.full(64, 7)
    drawn = {
        (seed, epoch): [batch.tolist() for batch in epoch_order(lengths, seed=seed, epoch=epoch, size=8, tokens=999)]
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len({str(order) for order in drawn.values()}) == 4
    mates = [{frozenset(batch) for batch in order} for order in drawn.values()]
    assert mates[0] != mates[1], "other sentences meet in each epoch"


def test_batches_come_in_any_order_of_length() -> None:
    lengths = np.random.RandomState(0).randint(1, 60, 400)
    longest = [int(lengths[b].max()) for b in epoch_order(lengths, seed=0, epoch=0, size=8, tokens=9999)]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.5, "not from long to short"


def test_the_order_is_the_one_that_was_published_here() -> None:
    """It decides what a step learns: no version of numpy may draw another."""
    batches = epoch_order(np.asarray([3, 1, 2, 5, 4, 1, 2]), seed=0, epoch=0, size=3, tokens=99)
    assert [batch.tolist() for batch in batches] == [[6, 2, 5], [3, 4, 0], [1]]


@pytest.mark.parametrize("size", [8, 32])
def test_little_is_padding(size: int) -> None:
    draw = np.random.RandomState(0)
    lines, prose = draw.randint(2, 10, 14041), draw.normal(23, 9, 14041).clip(5, 113)
    lengths = np.where(draw.rand(14041) < 0.45, lines, prose).astype(np.int64)  # headlines and tables, and sentences
    assert (round(lengths.mean()), round(lengths.std())) == (15, 11), "like CoNLL2003's"
    batches = epoch_order(lengths, seed=0, epoch=0, size=size, tokens=8192)
    padding = 1 - lengths.sum() / sum(slots(batch, lengths) for batch in batches)
    blind = draw.permutation(len(lengths))
    blindly = [blind[i : i + size] for i in range(0, len(blind), size)]
    assert padding < 0.06
    assert 1 - lengths.sum() / sum(slots(batch, lengths) for batch in blindly) > 0.3, "so it is the order that does it"


@pytest.fixture
def feed(tiny_config: RunConfig, tiny_corpus: Corpus) -> SplitLoader:
    torch.manual_seed(0)
    first = Scenario(tiny_config.scenario, [tiny_corpus])[0]
    network = Network(tiny_config.model)
    network.start_step(first.inventory, [s.words for s in first.train.sentences()])
    return SplitLoader(first.train, network)


def as_rank(monkeypatch: pytest.MonkeyPatch, rank: int, world_size: int) -> None:
    monkeypatch.setattr(ranks, "rank", lambda: rank)
    monkeypatch.setattr(ranks, "world_size", lambda: world_size)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_strides_share_each_batch_out(feed: SplitLoader, monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
    for positions in epoch_order(feed.lengths, seed=0, epoch=0, size=7, tokens=60):
        seen: list[int] = []
        counted = 0
        for rank in range(world_size):
            as_rank(monkeypatch, rank, world_size)
            share = feed.shard(positions)
            labelled = (share.targets != IGNORE).any(-1)
            seen += share.positions[labelled].tolist()
            counted += int((share.targets != IGNORE).sum())
            assert len(share.positions) >= 1, "no rank is left without a sentence"
        assert sorted(seen) == sorted(positions.tolist())
        as_rank(monkeypatch, 0, 1)
        assert counted == int((feed.shard(positions).targets != IGNORE).sum())


@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_what_needs_no_gradient_is_read_once_too(
    feed: SplitLoader, monkeypatch: pytest.MonkeyPatch, world_size: int
) -> None:
    monkeypatch.setitem(EVAL_BATCH_LIMITS, "cpu", (4, 50))
    whole, shared = [], []
    rounds = set()
    for rank in range(world_size):
        as_rank(monkeypatch, rank, world_size)
        for positions, batch in feed.batches():
            assert batch.positions.tolist() == positions.tolist()
            assert len(positions) == 1 or batch.inputs["ids"].numel() <= 50
            whole += positions.tolist()
        batches = list(feed.shards())
        rounds.add(len(batches))
        shared += [p for b in batches for p in b.positions[(b.targets != IGNORE).any(-1)].tolist()]
    assert sorted(whole) == sorted(shared) == list(range(len(feed)))
    assert len(rounds) == 1, "every rank comes to every collective"


@pytest.mark.parametrize("limits", [(4, 50), (256, 16384)])
def test_a_head_that_reads_its_batch_is_evaluated_in_the_same_batches_everywhere(
    feed: SplitLoader, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int]
) -> None:
    """Eight sentences in the order of the corpus, as published, whatever fits on a device."""
    monkeypatch.setitem(EVAL_BATCH_LIMITS, "cpu", limits)
    dependent = replace(feed.network.config, head=HEADS["cosine"](norm_axis="sequence"))
    monkeypatch.setattr(feed.network, "config", dependent)
    expected = [list(range(i, min(i + 8, len(feed)))) for i in range(0, len(feed), 8)]
    assert [positions.tolist() for positions, _ in feed.batches()] == expected
    assert [positions.tolist() for positions, _ in feed.batches_of(np.asarray([9, 2, 5]))] == [[2, 5, 9]]


def test_a_batch_is_its_sentences(feed: SplitLoader) -> None:
    batch = feed.batch([3, 0])
    assert batch.positions.tolist() == [3, 0]
    for row, position in enumerate((3, 0)):
        sentence = feed.split[position]
        assert feed.words[position] == feed.lengths[position] == len(sentence.words)
        assert batch.mask[row].sum() == len(sentence.words)
        gold = feed.network.head.targets([sentence])[0]
        assert torch.equal(batch.targets[row, : len(gold)], gold)
        assert (batch.targets[row, len(gold) :] == IGNORE).all()


def test_a_masked_batch_keeps_its_sentences_and_has_no_targets(feed: SplitLoader) -> None:
    batch = feed.batch([0, 1])
    silent = batch.masked()
    assert (silent.targets == IGNORE).all()
    assert silent.targets.shape == batch.targets.shape
    assert silent.inputs is batch.inputs
    assert torch.equal(silent.mask, batch.mask)
    assert not (batch.targets == IGNORE).all()


def test_alone_a_process_is_rank_0_of_1() -> None:
    assert (ranks.rank(), ranks.world_size()) == (0, 1)
    assert ranks.gather([1, 2], torch.device("cpu")) == [1, 2]
    assert ranks.all_reduce_sum(torch.tensor(3)).item() == 3
