"""The decoder says one tag per word in view of the tag before, and never looks outside its sentence."""

import copy
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from raycner.data.entities import Entity, Sentence, TypeInventory, breaches
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.head import GrowthConfig
from raycner.networks.heads.seq2seq import DecodedTags, Seq2Seq
from raycner.networks.heads.tag_set import O
from raycner.networks.losses import IGNORE

WIDTH = 8
ONE = TypeInventory().grow(("animal",))
TWO = TypeInventory().grow(("animal", "city"))
THREE = TWO.grow(("food",))


def decoder(inventory: TypeInventory = TWO, width: int = WIDTH, **settings: Any) -> DecodedTags:
    torch.manual_seed(0)
    head = Seq2Seq(**{"init_std": 1.0, "decoding": "argmax", **settings}).build(width)
    head.grow(inventory, GrowthConfig())
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    return head.double().eval()


def read(lengths: Sequence[int], longest: int | None = None, width: int = WIDTH) -> tuple[States, Batch]:
    """Random sentences of these lengths; their words and targets are the same however much padding follows."""
    longest = longest or max(lengths)
    words = torch.zeros(len(lengths), longest, width, dtype=torch.float64)
    targets = torch.full((len(lengths), longest), IGNORE)
    for row, length in enumerate(lengths):
        draw = torch.Generator().manual_seed(row)
        words[row, :length] = torch.randn(length, width, generator=draw, dtype=torch.float64)
        targets[row, :length] = torch.randint(0, 5, (length,), generator=draw)
    return States.of_words(words), Batch(torch.arange(len(lengths)), {}, targets != IGNORE, targets)


LENGTHS = (5, 2, 7, 1, 4)
WAYS = [{}, {"beam": 3}, {"decoding": "constrained"}, {"scheme": "BIOES", "decoding": "constrained", "beam": 2}]
every_way = pytest.mark.parametrize("way", WAYS, ids=str)
every_start = pytest.mark.parametrize("start", ["forward", "backward"])


def rows(states: States, batch: Batch, at: Sequence[int]) -> tuple[States, Batch]:
    chosen = torch.tensor(at)
    parts = {name: getattr(batch, name)[chosen] for name in ("positions", "mask", "targets")}
    return States.of_words(states.words[chosen]), replace(batch, **parts)


@every_start
@every_way
@given(order=st.permutations(range(len(LENGTHS))))
def test_permuting_the_batch_permutes_the_output(start: Any, way: dict[str, Any], order: list[int]) -> None:
    head = decoder(start=start, **way)
    states, batch = read(LENGTHS)
    permuted = rows(states, batch, order)
    torch.testing.assert_close(head(*permuted).logits, head(states, batch).logits[order], rtol=0, atol=1e-12)
    predictions, again = head.predict(states, batch), head.predict(*permuted)
    assert [entities.keys() for entities in again] == [predictions[row].keys() for row in order]


@every_start
@every_way
@pytest.mark.parametrize("more", [1, 6])
def test_padding_changes_nothing(start: Any, way: dict[str, Any], more: int) -> None:
    head = decoder(start=start, **way)
    one, two = read(LENGTHS), read(LENGTHS, max(LENGTHS) + more)
    alike = head(*two).logits[:, : max(LENGTHS)][one[1].mask]
    torch.testing.assert_close(alike, head(*one).logits[one[1].mask], rtol=0, atol=1e-12)
    assert [entities.keys() for entities in head.predict(*two)] == [entities.keys() for entities in head.predict(*one)]
    for row, length in enumerate(LENGTHS):
        states, batch = rows(*one, [row])
        alone = (
            States.of_words(states.words[:, :length]),
            replace(batch, mask=batch.mask[:, :length], targets=batch.targets[:, :length]),
        )
        torch.testing.assert_close(head(*alone).logits[0], head(*one).logits[row, :length], rtol=0, atol=1e-12)
        assert head.predict(*alone)[0].keys() == head.predict(*one)[row].keys()


def test_other_sentences_of_the_batch_get_no_gradient() -> None:
    head = decoder()
    states, batch = read(LENGTHS)
    words = states.words.clone().requires_grad_()
    head(States.of_words(words), batch).logits[0, : LENGTHS[0]].sum().backward()
    assert words.grad is not None
    assert words.grad[0].any(-1)[: LENGTHS[0]].all(), "attention reads all words of its sentence"
    assert not words.grad[1:].any()
    assert not words.grad[0, LENGTHS[0] :].any()


def scores_after(head: DecodedTags, words: Tensor, tags: Sequence[int]) -> Tensor:
    """[T, C] log-probabilities of a sentence's words where the decoder receives these tags."""
    targets = torch.tensor([tags])
    batch = Batch(torch.tensor([0]), {}, targets >= 0, targets)
    return head(States.of_words(words), batch).logits[0].log_softmax(-1)


def likelihood(head: DecodedTags, words: Tensor, tags: Sequence[int]) -> float:
    scores = scores_after(head, words, tags)
    return sum(scores[i, tag].item() for i, tag in enumerate(tags))


@given(seed=st.integers(0, 1000))
def test_greedy_decoding_feeds_back_its_own_tags(seed: int) -> None:
    head = decoder()
    words = torch.randn(1, 6, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    tags: list[int] = []
    for i in range(6):
        tags.append(int(scores_after(head, words, [*tags, *[O] * (6 - i)])[i].argmax()))
    batch = Batch(torch.tensor([0]), {}, torch.ones(1, 6, dtype=torch.bool), torch.zeros(1, 6, dtype=torch.long))
    best, confidence = head.path(States.of_words(words), batch)
    assert best[0].tolist() == tags
    chosen = scores_after(head, words, tags).exp()[range(6), tags]
    torch.testing.assert_close(confidence[0], chosen)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
@pytest.mark.parametrize("decoding", ["argmax", "constrained"])
@settings(max_examples=10)
@given(seed=st.integers(0, 1000), length=st.integers(1, 4))
def test_a_wide_beam_finds_the_likeliest_of_all_sequences(scheme: Any, decoding: Any, seed: int, length: int) -> None:
    head = decoder(ONE, scheme=scheme, decoding=decoding, beam=5**3)
    words = torch.randn(1, length, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    every = itertools.product(range(len(head.tags)), repeat=length)
    if decoding == "constrained":
        every = (tags for tags in every if not list(breaches([head.tags[tag] for tag in tags], scheme)))
    best = max(every, key=lambda tags: likelihood(head, words, tags))
    batch = Batch(torch.tensor([0]), {}, torch.ones(1, length, dtype=torch.bool), torch.zeros(1, length).long())
    assert head.path(States.of_words(words), batch)[0][0].tolist() == list(best)


def test_a_beam_of_several_is_no_less_likely_than_a_greedy_one() -> None:
    states, batch = read([9] * 20)
    better = 0
    greedy, wide = decoder(), decoder(beam=4)
    for row, (one, two) in enumerate(zip(greedy.path(states, batch)[0], wide.path(states, batch)[0], strict=True)):
        first, second = (likelihood(greedy, states.words[row : row + 1], tags.tolist()) for tags in (one, two))
        better += second > first + 1e-9
    assert better > 0


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_constrained_decoding_is_legal(scheme: Any, beam: int) -> None:
    states, batch = read([1, 2, 3, 9] * 8)
    free, bound = decoder(scheme=scheme, beam=beam), decoder(scheme=scheme, beam=beam, decoding="constrained")

    def illegal(head: DecodedTags) -> int:
        paths, _ = head.path(states, batch)
        spelt = [[head.tags[tag] for tag in p[m].tolist()] for p, m in zip(paths, batch.mask, strict=True)]
        return sum(bool(list(breaches(tags, scheme))) for tags in spelt)

    assert illegal(free) > 0
    assert illegal(bound) == 0


def straight(head: DecodedTags, targets: Tensor) -> States:
    """States on which a decoder says exactly `targets`, once it passes on what it reads: one direction per tag."""
    tags, width, half = len(head.tags), head.key.in_features, head.width
    with torch.no_grad():
        for parameter in (*head.cell.parameters(), head.mix.weight, head.mix.bias, head.rows):
            parameter.zero_()
        gates = head.cell.bias_ih.view(4, half)  # in, forget, cell, out
        gates[0], gates[1], gates[3] = 20.0, -20.0, 20.0
        head.cell.weight_ih[2 * half : 3 * half, -width : half - width] = torch.eye(half)
        head.mix.weight[:, :half] = torch.eye(half)
        head.rows[:, :tags] = 20 * torch.eye(tags)
    return States.of_words(20 * torch.nn.functional.one_hot(targets.clamp(min=0), width).double())


@st.composite
def annotated(draw: st.DrawFn) -> Sentence:
    entities, at = [], 0
    for before, length, kind in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(THREE.types)), max_size=4)
    ):
        entities.append(Entity(at + before, at + before + length, kind))
        at += before + length
    return Sentence(0, ("w",) * (at + draw(st.integers(1, 3))), frozenset(entities))


@every_way
@settings(max_examples=30)
@given(sentences=st.lists(annotated(), min_size=1, max_size=3))
def test_predicting_inverts_targets(way: dict[str, Any], sentences: list[Sentence]) -> None:
    head = decoder(THREE, width=2 * (1 + 4 * 3), **way)
    targets = head.targets(sentences)
    batch = Batch(torch.arange(len(sentences)), {}, targets != IGNORE, targets)
    predictions = head.predict(straight(head, targets), batch)
    assert [set(entities) for entities in predictions] == [set(sentence.entities) for sentence in sentences]


@pytest.mark.parametrize("init", ["normal", "moments", "standard", "zeros"])
def test_the_embeddings_of_tags_grow_with_the_rows(init: Any) -> None:
    head = decoder(width=2000)
    with torch.no_grad():
        head.labels.normal_(mean=3.0, std=0.5)
    before = head.labels.detach().clone()
    head.grow(THREE, GrowthConfig(init=init))
    assert len(head.labels) == 1 + len(head.tags)
    assert torch.equal(head.labels[: len(before)], before)
    fresh = head.labels[len(before) :]
    mean, std = {"moments": (3.0, 0.5), "zeros": (0.0, 0.0)}.get(init, (0.0, 1.0))
    assert (fresh.mean().item(), fresh.std().item()) == (pytest.approx(mean, abs=0.06), pytest.approx(std, abs=0.06))


def test_a_reset_draws_new_embeddings() -> None:
    head = decoder()
    before = copy.deepcopy(head.state_dict())
    head.grow(THREE, GrowthConfig(init="reset"))
    assert not (head.labels[: len(before["labels"])] == before["labels"]).any()
    assert torch.equal(head.cell.weight_ih, before["cell.weight_ih"]), "only parameters that grow are drawn again"


def test_a_later_tag_is_embedded_as_outside() -> None:
    """A teacher reads the student's batch: what it cannot know, and what nobody may learn, it takes for O."""
    head = decoder(ONE)
    states, batch = read([4])
    targets = torch.tensor([[1, 3, 0, IGNORE]])
    outside = head(states, replace(batch, targets=torch.tensor([[1, 0, 0, 0]]))).logits
    assert torch.equal(head(states, replace(batch, targets=targets)).logits, outside)


def test_the_decoder_receives_the_previous_tag_and_no_later_one() -> None:
    head = decoder()
    states, batch = read([5])
    changed = batch.targets.clone()
    changed[0, 2] = (changed[0, 2] + 1) % 5
    one, two = head(states, batch).logits, head(states, replace(batch, targets=changed)).logits
    assert torch.equal(one[:, :3], two[:, :3])
    assert not torch.isclose(one[:, 3:], two[:, 3:]).any()


def test_without_teacher_forcing_the_decoder_learns_from_its_own_tags() -> None:
    head = decoder(teacher_forcing=0.0)
    states, batch = read(LENGTHS)
    own = head.path(states, batch)[0].where(batch.mask, IGNORE)
    freely, forced = head.train()(states, batch).logits, head.eval()(states, replace(batch, targets=own)).logits
    assert torch.equal(freely[batch.mask], forced[batch.mask])
    halfway = decoder(teacher_forcing=0.5).train()
    assert len({halfway(states, batch).logits.sum().item() for _ in range(8)}) > 1
    always = decoder(teacher_forcing=1.0).train()
    assert torch.equal(always(states, batch).logits, always.eval()(states, batch).logits)


def test_the_initial_state_is_the_encoding_of_the_sentence() -> None:
    for start, word, half in (("forward", -1, slice(4)), ("backward", 0, slice(4, 8))):
        states, batch = read([3])
        _, (spoken, cell) = decoder(start=start)._initial(states, batch)
        assert torch.equal(spoken[0], states.words[0, word, half])
        assert not cell.any()


def test_new_rows_are_imprinted_with_the_decoder_s_features() -> None:
    head = decoder()
    head.grow(THREE, GrowthConfig())
    states, batch = read([4, 3])
    begin = head.num_old
    batch = replace(batch, targets=torch.tensor([[0, begin, 0, 1], [begin, 0, 0, IGNORE]]))
    features = head(states, batch).features[..., : head.width]
    head.imprint(*head.class_means(states, batch))
    mean = torch.nn.functional.normalize(features[0, 1], dim=-1) + torch.nn.functional.normalize(features[1, 0], dim=-1)
    cosine = torch.nn.functional.cosine_similarity(head.weight[begin, : head.width], mean, dim=0)
    assert cosine.item() == pytest.approx(1.0)


def test_calibration_shifts_scores_during_decoding() -> None:
    head = decoder()
    head.grow(THREE, GrowthConfig())
    states, batch = read([6] * 10)
    assert (head.path(states, batch, new_type_bias=1e6)[0] < head.num_old).all()
