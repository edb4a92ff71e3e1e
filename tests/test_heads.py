"""The contract of every tag head, whatever its fields: predictions invert targets, and growing keeps old rows."""

import copy
import itertools
import typing
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Literal, get_origin

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from raycner.data.entities import Entity, Sentence, TypeInventory, breaches
from raycner.errors import InputError
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.cosine import CosineTags
from raycner.networks.heads.decoding import viterbi, without_strays
from raycner.networks.heads.head import HEADS, GrowthConfig, HeadConfig
from raycner.networks.heads.linear import LinearTags
from raycner.networks.heads.tag_head import TagHead
from raycner.networks.losses import IGNORE
from raycner.settings import build

WIDTH = 6
TWO = TypeInventory().grow(("animal", "city"))
THREE = TWO.grow(("food",))


def variants(kind: type[Any]) -> list[Any]:
    """A head with every combination of its choices: the fields of type `Literal`."""
    hints = typing.get_type_hints(kind)
    choices = {f.name: typing.get_args(hints[f.name]) for f in fields(kind) if get_origin(hints[f.name]) is Literal}
    return [kind(**dict(zip(choices, values, strict=True))) for values in itertools.product(*choices.values())]


def configs(*kinds: type[Any]) -> list[Any]:
    """Every registered head whose module is of these kinds, whatever its fields."""
    every = [config for _, kind in sorted(HEADS.items()) if issubclass(kind.module, kinds) for config in variants(kind)]
    return [pytest.param(config, id=f"{config.name}-{'-'.join(chosen(config))}") for config in every]


def chosen(config: Any) -> list[str]:
    return [value for value in vars(config).values() if isinstance(value, str)]


every_head = pytest.mark.parametrize("config", configs(TagHead))
every_plain_head = pytest.mark.parametrize("config", configs(LinearTags, CosineTags))
"""Those whose features are the words' states."""


def grown(config: Any, *inventories: TypeInventory, growth: GrowthConfig | None = None, width: int = WIDTH) -> TagHead:
    torch.manual_seed(0)
    head: TagHead = config.build(width)
    for inventory in inventories:
        head.grow(inventory, growth or GrowthConfig())
    with torch.no_grad():
        head.rows.normal_(generator=torch.Generator().manual_seed(1))
    return head


def read(words: Tensor, targets: Tensor | None = None) -> tuple[States, Batch]:
    """States, and the batch they are of."""
    mask = torch.ones(words.shape[:2], dtype=torch.bool) if targets is None else targets != IGNORE
    asked = torch.zeros(words.shape[:2], dtype=torch.long) if targets is None else targets
    return States.of_words(words), Batch(torch.arange(len(words)), {}, mask, asked)


def random_states(seed: int = 0, length: int = 5, width: int = WIDTH) -> tuple[States, Batch]:
    return read(torch.randn(2, length, width, generator=torch.Generator().manual_seed(seed)))


@st.composite
def annotated(draw: st.DrawFn, types: Sequence[str]) -> Sentence:
    entities, at = [], 0
    spans = st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(types))
    for before, length, kind in draw(st.lists(spans, max_size=4)):
        entities.append(Entity(at + before, at + before + length, kind))
        at += before + length
    return Sentence(0, ("w",) * (at + draw(st.integers(1, 3))), frozenset(entities))


def perfect(head: TagHead, targets: Tensor) -> States:
    """States on which a head says exactly `targets`: one direction per tag."""
    tags = len(head.tags)
    with torch.no_grad():
        head.rows.zero_()
        head.rows[:, :tags] = torch.eye(tags)
    words = 20 * torch.nn.functional.one_hot(targets.clamp(min=0), head.width).float()
    return States.of_words(words)


@every_plain_head
@settings(max_examples=30)
@given(sentences=st.lists(annotated(THREE.types), min_size=1, max_size=3))
def test_predicting_inverts_targets(config: Any, sentences: list[Sentence]) -> None:
    head = grown(config, TWO, THREE, width=1 + 4 * 3)
    targets = head.targets(sentences)
    assert targets.shape == (len(sentences), max(len(s.words) for s in sentences))
    _, batch = read(targets[..., None].float(), targets)
    predictions = head.predict(perfect(head, targets), batch)
    assert [set(entities) for entities in predictions] == [set(s.entities) for s in sentences]
    assert all(0 < sure <= 1 for entities in predictions for sure in entities.values())


@every_head
def test_targets_follow_the_scheme(config: Any) -> None:
    head = grown(config, TWO, THREE)
    gold = frozenset({Entity(0, 1, "city"), Entity(1, 4, "animal")})
    targets = head.targets([Sentence(0, tuple("abcdef"), gold), Sentence(1, ("a",), frozenset())]).tolist()
    spelt = [[head.tags[tag] if tag != IGNORE else "" for tag in row] for row in targets]
    if head.tag_set.scheme == "BIO":
        assert spelt[0] == ["B-city", "B-animal", "I-animal", "I-animal", "O", "O"]
        assert head.tags == ("O", "B-animal", "I-animal", "B-city", "I-city", "B-food", "I-food")
    else:
        assert spelt[0] == ["S-city", "B-animal", "I-animal", "E-animal", "O", "O"]
        assert head.tags[:5] == ("O", "B-animal", "I-animal", "E-animal", "S-animal")
    assert spelt[1] == ["O", *[""] * 5]


@every_head
def test_a_teacher_ignores_types_learned_after_it(config: Any) -> None:
    old, new = grown(config, TWO), grown(config, TWO, THREE)
    sentence = Sentence(0, tuple("abc"), frozenset({Entity(0, 1, "city")}), frozenset({Entity(1, 3, "food")}))
    assert old.targets([sentence])[0, 1:].tolist() == [IGNORE] * 2
    assert (new.targets([sentence])[0, 1:] > 0).all()
    assert old.targets([sentence])[0, 0] == new.targets([sentence])[0, 0]


@every_head
def test_logits_are_the_product_of_features_and_weights(config: Any) -> None:
    head = grown(config, TWO, THREE)
    states, batch = random_states()
    output = head(states, batch)
    torch.testing.assert_close(output.logits, output.features @ output.weight.T)
    assert output.logits.shape == (2, 5, len(head.tags))


@every_head
def test_the_rows_of_no_type_are_drawn_first(config: Any) -> None:
    """A network draws O before its first step is seeded: the weights of a seed depend on this order."""
    torch.manual_seed(0)
    head: TagHead = config.build(WIDTH)
    head.grow(TypeInventory(), GrowthConfig())
    outside = head.weight.detach().clone()
    assert head.tags == ("O",) and len(outside) == 1
    torch.manual_seed(1)
    head.grow(TWO, GrowthConfig())
    torch.manual_seed(1)
    if type(head).grow is TagHead.grow:
        torch.testing.assert_close(head.weight[1:].detach(), head.draw(len(head.tags) - 1), rtol=0, atol=0)
    assert torch.equal(head.weight[:1], outside)


@every_head
@pytest.mark.parametrize("freeze", [True, False])
@pytest.mark.parametrize("init", ["normal", "moments", "standard", "zeros"])
def test_growing_keeps_the_past(config: Any, freeze: bool, init: Any) -> None:
    head = grown(config, TWO)
    states, batch = random_states()
    before, weight = head(states, batch).logits.detach(), head.weight.detach().clone()
    head.grow(THREE, GrowthConfig(freeze_old=freeze, init=init))
    assert head.inventory == THREE
    after = head(states, batch)
    assert torch.equal(head.weight[: len(weight)], weight)
    rounding = 1e-6 * max(1.0, float(before.abs().max()))
    torch.testing.assert_close(after.logits[..., : before.size(-1)].detach(), before, rtol=1e-6, atol=rounding)
    assert after.logits.size(-1) == len(head.tags) == before.size(-1) + len(head.tag_set.prefixes)
    assert len(head.frozen) == (len(weight) if freeze else 0)
    if init == "zeros":
        assert not head.weight[len(weight) :].any()


@every_head
@pytest.mark.parametrize(("init", "mean", "std"), [("moments", 3.0, 0.5), ("standard", 0.0, 1.0)])
def test_new_rows_have_the_moments_that_are_asked_for(config: Any, init: Any, mean: float, std: float) -> None:
    head = grown(config, TWO)
    head.grow(TWO.grow(tuple(f"old{i}" for i in range(1000))), GrowthConfig())
    with torch.no_grad():
        head.rows.normal_(mean=3.0, std=0.5)
    head.grow(head.inventory.grow(tuple(f"new{i}" for i in range(1000))), GrowthConfig(init=init))
    fresh = head.weight[head.num_old :]
    assert fresh.mean().item() == pytest.approx(mean, abs=0.05)
    assert fresh.std().item() == pytest.approx(std, abs=0.05)


@every_head
def test_a_reset_keeps_no_row(config: Any) -> None:
    head = grown(config, TWO, width=50)
    with torch.no_grad():
        head.rows.fill_(7.0)
    head.grow(THREE, GrowthConfig(init="reset"))
    assert len(head.weight) == len(head.tags)
    assert head.weight.max() < 1.0
    assert head.weight.detach()[:, 0].unique().numel() == len(head.tags)
    with pytest.raises(ValueError, match="init=reset leaves no trained row"):
        GrowthConfig(init="reset", freeze_old=True)


@every_head
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_frozen_rows_stay_bit_for_bit(config: Any, kind: str) -> None:
    head = grown(config, TWO)
    head.grow(THREE, GrowthConfig(freeze_old=True))
    before = head.weight.detach().clone()
    states, _ = random_states()
    batch = read(states.words, torch.full((2, 5), before.size(0) - 1))[1]
    if kind == "sgd":
        optimizer: Any = torch.optim.SGD(head.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    else:
        optimizer = torch.optim.AdamW(head.parameters(), lr=0.5, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        head.loss(head(states, batch), batch).total.backward()
        optimizer.step()
    old = head.count(TWO)
    assert torch.equal(head.weight[:old], before[:old])
    assert not torch.equal(head.weight[old:], before[old:])
    head.finalize()
    assert torch.equal(head.weight[:old], before[:old])
    head.grow(THREE.grow(("person",)), GrowthConfig())
    assert not len(head.frozen), "freezing is for one step"


@every_head
def test_every_parameter_gets_a_gradient(config: Any) -> None:
    head = grown(config, TWO, THREE)
    states, batch = random_states()
    head.loss(head(states, batch), batch).total.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.parameters())


@every_head
def test_nothing_to_learn_is_zero_in_the_graph(config: Any) -> None:
    head = grown(config, TWO)
    states, batch = random_states()
    loss = head.loss(head(states, batch.masked()), batch.masked())
    loss.total.backward()
    assert (loss.total.item(), loss.count.item()) == (0.0, 0)
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in head.parameters())


@every_head
@pytest.mark.parametrize("freeze", [True, False])
def test_a_checkpoint_restores_the_head(config: Any, freeze: bool) -> None:
    head = grown(config, TWO)
    head.grow(THREE, GrowthConfig(freeze_old=freeze))
    states, batch = random_states()
    before = head(states, batch).logits
    head.finalize()
    again: TagHead = config.build(WIDTH)
    again.load_shape(THREE)
    again.load_state_dict(copy.deepcopy(head.state_dict()))
    assert again.inventory == THREE
    assert again.tags == head.tags
    assert torch.equal(again(states, batch).logits, before)
    assert again.predict(states, batch) == head.predict(states, batch)


@every_head
def test_finalized_shapes_depend_on_the_inventory_alone(config: Any) -> None:
    shapes = []
    for freeze in (True, False):
        head = grown(config, TWO)
        head.grow(THREE, GrowthConfig(freeze_old=freeze))
        head.finalize()
        shapes.append({name: weight.shape for name, weight in head.state_dict().items()})
    assert shapes[0] == shapes[1]


@every_plain_head
@pytest.mark.parametrize("freeze", [True, False])
def test_imprinting_points_new_rows_at_their_words(config: Any, freeze: bool) -> None:
    head = grown(config, TWO)
    head.grow(THREE, GrowthConfig(freeze_old=freeze))
    before = head.weight.detach().clone()
    old = begin = head.num_old
    words = torch.randn(3, 4, WIDTH, generator=torch.Generator().manual_seed(2))
    targets = torch.zeros(3, 4, dtype=torch.long)
    targets[0, 1], targets[1, 0], targets[2, 3], targets[2, 2] = begin, begin, 1, IGNORE
    states, batch = read(words, targets)
    sums, counts = (
        sum(parts) for parts in zip(*(head.class_means(*cut(states, batch, i)) for i in range(3)), strict=True)
    )
    assert counts.tolist() == [8.0, 1.0, *[0.0] * (begin - 2), 2.0, *[0.0] * (len(head.tag_set.prefixes) - 1)]
    head.imprint(sums, counts)
    mean = (words[0, 1] / words[0, 1].norm() + words[1, 0] / words[1, 0].norm()) / 2
    norm = before[1:old, :WIDTH].norm(dim=-1).mean()
    for tag in range(old, len(head.tags)):
        row = head.weight[tag, :WIDTH].detach()
        torch.testing.assert_close(row, norm * mean / mean.norm())
        torch.testing.assert_close(row.norm(), norm)
    assert torch.equal(head.weight[:old], before[:old])
    assert torch.equal(head.weight[:, WIDTH:], before[:, WIDTH:]), "a bias is no direction"


def cut(states: States, batch: Batch, row: int) -> tuple[States, Batch]:
    one = slice(row, row + 1)
    parts = {"positions": batch.positions[one], "mask": batch.mask[one], "targets": batch.targets[one]}
    return states._replace(words=states.words[one], slots=states.slots[one]), replace(batch, **parts)


@every_plain_head
def test_each_new_tag_that_occurs_has_its_own_direction(config: Any) -> None:
    head = grown(config, TWO, THREE)
    sums, counts = torch.zeros(len(head.tags), WIDTH), torch.zeros(len(head.tags))
    begin = head.num_old
    occurring = range(begin + 1, len(head.tags)) if head.tag_set.scheme == "BIOES" else range(begin, len(head.tags))
    for tag in occurring:
        sums[tag, tag % WIDTH], counts[tag] = 2.0, 3.0
    head.imprint(sums, counts)
    for tag in occurring:
        assert head.weight[tag, :WIDTH].argmax() == tag % WIDTH
    if head.tag_set.scheme == "BIOES":
        assert head.weight[begin, :WIDTH].count_nonzero() == 1, "no B- of a type that is always one word"


@every_head
@pytest.mark.parametrize("freeze", [True, False])
def test_new_rows_take_the_direction_of_their_mean_features(config: Any, freeze: bool) -> None:
    head = grown(config, TWO)
    head.grow(THREE, GrowthConfig(freeze_old=freeze))
    before, old = head.weight.detach().clone(), head.num_old
    states, batch = random_states()
    batch = replace(batch, targets=torch.full((2, 5), old))
    sums, counts = head.class_means(states, batch)
    assert sums.shape == (len(head.tags), head.width) and counts.tolist() == [0.0] * old + [10.0] + [0.0] * (
        len(head.tags) - old - 1
    )
    head.imprint(sums, counts)
    directions = torch.nn.functional.normalize(head.weight[old:, : head.width].detach(), dim=-1)
    torch.testing.assert_close(
        directions, torch.nn.functional.normalize(sums[old].detach(), dim=-1).expand_as(directions)
    )
    assert torch.equal(head.weight[:old], before[:old])


@every_head
def test_a_type_that_never_occurs_cannot_be_imprinted(config: Any) -> None:
    head = grown(config, TWO, THREE)
    with pytest.raises(InputError, match=r"type 'food' never occurs.*model\.growth\.imprint=none"):
        head.imprint(torch.zeros(len(head.tags), head.width), torch.zeros(len(head.tags)))


@pytest.mark.parametrize(
    ("scheme", "tags", "expected"),
    [
        ("BIOES", "B B O I I O E E", {(0, 1), (1, 2), (3, 5), (6, 7), (7, 8)}),
        ("BIOES", "S S E I O O B E", {(0, 3), (3, 4), (6, 8)}),
        ("BIO", "B B O I I O O B", {(0, 2), (3, 5), (7, 8)}),
    ],
)
def test_chunks_of_bioes_are_read_from_the_tags_and_those_of_bio_from_the_entities(
    scheme: Any, tags: str, expected: set[tuple[int, int]]
) -> None:
    one = TypeInventory().grow(("animal",))
    head = grown(HEADS["linear"](scheme=scheme, decoding="argmax"), one, width=9)
    with torch.no_grad():
        head.rows.copy_(10 * torch.eye(len(head.tags), 10))
    rows = [head.tags.index(tag if tag == "O" else f"{tag}-animal") for tag in tags.split()]
    states = States.of_words(torch.eye(9)[rows][None])
    mask = torch.ones(1, len(rows), dtype=torch.bool)
    batch = Batch(torch.zeros(1, dtype=torch.long), {}, mask, torch.zeros(1, len(rows), dtype=torch.long))
    assert head.chunks(states, batch) == [{Entity(start, end, "animal") for start, end in expected}]


def padded(states: States, slots: int) -> States:
    more = torch.ones(states.slots.size(0), slots, states.slots.size(2))
    return states._replace(slots=torch.cat([states.slots, more], dim=1))


@every_head
def test_only_the_sequence_norm_reads_padding(config: Any) -> None:
    head = grown(config, TWO)
    states, batch = random_states()
    one, two = head(states, batch).logits, head(padded(states, 3), batch).logits
    if config.batch_dependent:
        assert (one - two).abs().max() > 1e-3
    else:
        assert torch.equal(one, two)


def test_cosine_logits_are_cosines() -> None:
    config = HEADS["cosine"](scale=3.0)
    head = grown(config, TWO)
    states, batch = random_states()
    cosine = torch.nn.functional.cosine_similarity(states.words[:, :, None], head.weight, dim=-1)
    torch.testing.assert_close(head(states, batch).logits, 3.0 * cosine)
    sequence = grown(replace(config, norm_axis="sequence"), TWO)
    features = states.words / states.words.pow(2).sum(1, keepdim=True).sqrt()
    rows = sequence.weight / sequence.weight.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(sequence(states, batch).logits, 3.0 * features @ rows.T)


def test_a_hidden_layer_lies_between_state_and_rows() -> None:
    head = grown(HEADS["linear"](hidden=3), TWO)
    states, batch = random_states()
    output = head(states, batch)
    assert output.features.shape == (2, 5, 3 + 1) and (output.features >= 0).all()
    torch.testing.assert_close(output.logits, output.features @ head.weight.T)
    assert head.imprint_features(states, batch).shape == (2, 5, 3)
    assert head.as_linear() is None, "it is more than a linear layer"
    assert HEADS["linear"]().build(WIDTH).state_dict().keys() == {"rows", "frozen"}
    with pytest.raises(InputError, match="hidden -1: not negative"):
        build(HeadConfig, {"name": "linear", "hidden": -1})


def test_linear_logits_have_a_bias() -> None:
    head = grown(HEADS["linear"](), TWO)
    states, batch = random_states()
    expected = states.words @ head.weight[:, :-1].T + head.weight[:, -1]
    torch.testing.assert_close(head(states, batch).logits, expected)
    fresh = HEADS["linear"](init_std=0.3).build(5000).draw(1)
    assert not fresh[:, -1].any()
    assert fresh[:, :-1].std().item() == pytest.approx(0.3, rel=0.1)


def decoded_tags(head: TagHead, words: Tensor, mask: Tensor) -> list[list[str]]:
    scores = head(States.of_words(words), Batch(torch.arange(len(words)), {}, mask, mask.long())).logits.log_softmax(-1)
    path = viterbi(scores, mask, head.tag_set)
    return [[head.tags[tag] for tag, here in zip(p, m, strict=True) if here] for p, m in zip(path, mask, strict=True)]


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
@given(seed=st.integers(0, 10_000), lengths=st.lists(st.integers(1, 9), min_size=2, max_size=2))
def test_constrained_decoding_is_legal_and_is_argmax_where_that_is(scheme: Any, seed: int, lengths: list[int]) -> None:
    head = grown(HEADS["linear"](scheme=scheme, decoding="constrained"), TWO)
    states, _ = random_states(seed, max(lengths))
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    predicted_tags = decoded_tags(head, states.words, mask)
    for tags, row, length in zip(predicted_tags, states.words, lengths, strict=True):
        assert not list(breaches(tags, scheme))
        best = [head.tags[i] for i in (row @ head.weight[:, :-1].T + head.weight[:, -1]).argmax(-1).tolist()[:length]]
        if not list(breaches(best, scheme)):
            assert tags == best
        alone = decoded_tags(head, row[None, :length], torch.ones(1, length, dtype=torch.bool))
        assert alone == [tags], "padding never matters"


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
@pytest.mark.parametrize("length", [1, 2, 3, 4])
@settings(max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_viterbi_is_the_best_of_all_legal_paths(scheme: Any, length: int, seed: int) -> None:
    head = grown(HEADS["linear"](scheme=scheme), TypeInventory().grow(("animal",) if scheme == "BIOES" else TWO.types))
    scores = torch.randn(1, length, len(head.tags), generator=torch.Generator().manual_seed(seed)).log_softmax(-1)
    legal = [
        path
        for path in itertools.product(range(len(head.tags)), repeat=length)
        if not list(breaches([head.tags[tag] for tag in path], scheme))
    ]
    best = max(legal, key=lambda path: float(sum(scores[0, t, tag] for t, tag in enumerate(path))))
    decoded = viterbi(scores, torch.ones(1, length, dtype=torch.bool), head.tag_set)[0]
    assert decoded.tolist() == list(best)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["I-animal", "I-animal", "B-city"], ["O", "O", "B-city"]),
        (["B-animal", "I-animal", "I-city", "I-animal"], ["B-animal", "I-animal", "O", "O"]),
        (["B-city", "I-city", "O", "I-city"], ["B-city", "I-city", "O", "O"]),
    ],
)
def test_a_stray_inside_tag_is_outside_in_strict_decoding(tags: list[str], expected: list[str]) -> None:
    tag_set = grown(HEADS["linear"](decoding="strict"), TWO).tag_set
    numbers = torch.tensor([[tag_set.tags.index(tag) for tag in tags]])
    assert [tag_set.tags[tag] for tag in without_strays(numbers, tag_set)[0]] == expected


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
@given(seed=st.integers(0, 10_000))
def test_strict_decoding_only_removes_entities(scheme: Any, seed: int) -> None:
    states, batch = random_states(seed)
    predictions = {
        decoding: grown(HEADS["linear"](scheme=scheme, decoding=decoding), TWO).predict(states, batch)
        for decoding in ("argmax", "strict")
    }
    for strict, argmax in zip(predictions["strict"], predictions["argmax"], strict=True):
        starts = {(entity.start, entity.type) for entity in argmax}
        assert all((entity.start, entity.type) in starts for entity in strict)


def test_confidence_is_that_of_the_least_confident_word() -> None:
    head = grown(HEADS["linear"](), TypeInventory().grow(("animal",)), width=3)
    with torch.no_grad():
        head.rows.zero_()
        head.rows[:, :3] = torch.eye(3)
    words = torch.tensor([[[0.0, 3.0, 0.0], [0.0, 0.0, 1.0], [2.0, 0.0, 0.0]]])
    states, batch = read(words)
    (entities,) = head.predict(states, batch)
    assert entities.keys() == {Entity(0, 2, "animal")}
    assert entities[Entity(0, 2, "animal")] == pytest.approx(float(words[0, 1].softmax(-1)[2]))
    out_of_reach = replace(batch, mask=torch.tensor([[True, False, False]]))
    assert head.predict(states, out_of_reach)[0].keys() == {Entity(0, 1, "animal")}


def test_a_merged_type_has_the_probability_of_all_its_rows() -> None:
    head = grown(HEADS["linear"](extra_rows=("animal",)), TypeInventory().grow(("animal", "city")), width=3)
    states, batch = read(torch.randn(1, 4, 3))
    tags = head.forward(states, batch).logits.softmax(-1)
    rows = [[n for n, tag in enumerate(head.tags) if tag.endswith(kind)] for kind in ("-animal", "-city")]
    assert [len(numbers) for numbers in rows] == [4, 2]
    expected = torch.stack([tags[..., numbers].sum(-1) for numbers in rows], dim=-1)
    assert torch.allclose(head.type_probabilities(states, batch), expected, atol=1e-6)


@every_head
def test_types_have_the_probability_of_their_tags(config: Any) -> None:
    head = grown(config, TWO, THREE)
    states, batch = random_states()
    probabilities = head.type_probabilities(states, batch)
    tags = head.forward(states, batch).logits.softmax(-1)
    assert probabilities.shape == (2, 5, 3)
    assert torch.allclose(probabilities.sum(-1), 1 - tags[..., 0], atol=1e-6)
    of_city = [row for row, tag in enumerate(head.tags) if tag.endswith("-city")]
    assert torch.allclose(probabilities[..., 1], tags[..., of_city].sum(-1), atol=1e-6)
    lowered = head.type_probabilities(states, batch, new_type_bias=1e6)  # logits of random ridges are large
    assert lowered[..., 2].max() < 1e-6
    confidences = super(TagHead, head).type_probabilities(states, batch)
    for row, prediction in enumerate(head.predict(states, batch)):
        covered = {(word, e.type): p for e, p in prediction.items() for word in range(e.start, e.end)}
        assert all(confidences[row, w, THREE.types.index(t)] == pytest.approx(p) for (w, t), p in covered.items())
        assert int((confidences[row] > 0).sum()) == sum(p > 0 for p in covered.values())
