"""The contract of the stepwise head: blocks with an O of their own, that grow, hold and merge."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from raycner.config import RunConfig
from raycner.data.entities import Entity, Sentence, TypeInventory, breaches
from raycner.errors import InputError
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.head import HEADS, GrowthConfig
from raycner.networks.heads.stepwise import StepwiseHead, merge
from raycner.networks.losses import IGNORE
from test_heads import THREE, TWO, WIDTH, annotated, random_states, read
from test_heads import grown as grown_head

COLUMNS = ("O", "B-animal", "I-animal", "B-city", "I-city", "O", "B-food", "I-food")
FIVE = THREE.grow(("person", "plant"))


def grown(*inventories: TypeInventory, growth: GrowthConfig | None = None, width: int = WIDTH) -> StepwiseHead:
    torch.manual_seed(0)
    head: StepwiseHead = HEADS["stepwise"]().build(width)
    for inventory in inventories:
        head.grow(inventory, growth or GrowthConfig())
    with torch.no_grad():
        head.rows.normal_(generator=torch.Generator().manual_seed(1))
    return head


def perfect(head: StepwiseHead, targets: Tensor) -> States:
    """States on which every block says exactly what `targets` are to it: one direction per column."""
    columns = len(head.tags)
    with torch.no_grad():
        head.rows.zero_()
        head.rows[:, :columns] = torch.eye(columns)
    words = torch.zeros(*targets.shape, head.width)
    for block in head.blocks:
        inside = (targets >= block.start) & (targets < block.stop)
        words += 20 * torch.nn.functional.one_hot(targets.where(inside, block.start), head.width)
    return States.of_words(words)


@settings(max_examples=40)
@given(sentences=st.lists(annotated(FIVE.types), min_size=1, max_size=3))
def test_predicting_inverts_targets(sentences: list[Sentence]) -> None:
    head = grown(TWO, THREE, FIVE, width=20)
    targets = head.targets(sentences)
    _, batch = read(targets[..., None].float(), targets)
    predictions = head.predict(perfect(head, targets), batch)
    assert [set(entities) for entities in predictions] == [set(s.entities) for s in sentences]
    assert all(0 < sure <= 1 for entities in predictions for sure in entities.values())


def test_every_step_has_a_block_with_an_outside_of_its_own() -> None:
    head = grown(TWO, THREE)
    assert head.tags == COLUMNS
    assert head.blocks == (slice(0, 5), slice(5, 8))
    targets = head.targets([Sentence(0, tuple("abcd"), frozenset({Entity(0, 2, "city"), Entity(3, 4, "food")}))])
    assert targets.tolist() == [[3, 4, 0, 6]]
    unknown = Sentence(0, tuple("abc"), frozenset({Entity(0, 1, "city")}), frozenset({Entity(1, 3, "food")}))
    assert grown(TWO).targets([unknown]).tolist() == [[3, IGNORE, IGNORE]]


def test_blocks_are_views_of_one_output() -> None:
    head = grown(TWO, THREE, FIVE)
    states, batch = random_states()
    output = head(states, batch)
    parts = [output.logits[..., block] for block in output.blocks]
    starts = [(part.data_ptr() - output.logits.data_ptr()) // output.logits.element_size() for part in parts]
    assert starts == [block.start for block in output.blocks]
    assert torch.equal(torch.cat(parts, dim=-1), output.logits)
    torch.testing.assert_close(output.logits, states.words @ head.weight[:, :-1].T + head.weight[:, -1])


@pytest.mark.parametrize("freeze", [True, False])
@pytest.mark.parametrize("init", ["normal", "moments", "zeros"])
def test_growing_keeps_the_past(freeze: bool, init: Any) -> None:
    head = grown(TWO)
    states, batch = random_states()
    before, weight = head(states, batch).logits.detach(), head.weight.detach().clone()
    head.grow(THREE, GrowthConfig(freeze_old=freeze, init=init))
    assert torch.equal(head.weight[: len(weight)], weight), "bit for bit"
    after = head(states, batch).logits
    assert after.size(-1) == before.size(-1) + 1 + 2
    torch.testing.assert_close(after[..., : before.size(-1)].detach(), before, rtol=1e-6, atol=1e-6)
    assert len(head.frozen) == (len(weight) if freeze else 0)
    head.finalize()
    again = HEADS["stepwise"]().build(WIDTH)
    again.load_shape(THREE)
    again.load_state_dict(copy.deepcopy(head.state_dict()))
    assert (again.inventory, again.tags, again.blocks) == (THREE, head.tags, head.blocks)
    assert torch.equal(again(states, batch).logits, after)
    assert again.predict(states, batch) == head.predict(states, batch)


def test_only_the_newest_block_is_supervised() -> None:
    head = grown(TWO, THREE)
    targets = torch.tensor([[0, 6, 3, 7], [IGNORE, 0, 0, 0]])
    states, batch = read(torch.randn(2, 4, WIDTH, generator=torch.Generator().manual_seed(3)), targets)
    loss = head.loss(head(states, batch), batch)
    scores = head(states, batch).logits[..., 5:].log_softmax(-1)
    expected = -(scores[0, [0, 1, 2, 3], [0, 1, 0, 2]].sum() + scores[1, 1:, 0].sum())
    assert (loss.total.item(), loss.count.item()) == (pytest.approx(expected.item(), rel=1e-5), 7)
    loss.total.backward()
    assert head.rows.grad is not None
    assert not head.rows.grad[:5].any() and head.rows.grad[5:].any(-1).all()


def test_nothing_to_learn_is_zero_in_the_graph() -> None:
    head = grown(TWO, THREE)
    states, batch = random_states()
    loss = head.loss(head(states, batch.masked()), batch.masked())
    loss.total.backward()
    assert (loss.total.item(), loss.count.item()) == (0.0, 0)
    assert head.rows.grad is not None and not head.rows.grad.any()


@pytest.mark.parametrize("freeze", [True, False])
def test_imprinting_points_the_newest_block_at_its_words(freeze: bool) -> None:
    head = grown(TWO)
    head.grow(THREE, GrowthConfig(freeze_old=freeze))
    before = head.weight.detach().clone()
    words = torch.randn(1, 4, WIDTH, generator=torch.Generator().manual_seed(2))
    states, batch = read(words, torch.tensor([[0, 6, 3, IGNORE]]))
    sums, counts = head.class_means(states, batch)
    assert counts.tolist() == [0, 0, 0, 0, 0, 2, 1, 0], "an old type is outside to the newest block"
    head.imprint(sums, counts)
    unit = words[0] / words[0].norm(dim=-1, keepdim=True)
    norm = before[[1, 2, 3, 4], :WIDTH].norm(dim=-1).mean()
    for row, mean in ((5, (unit[0] + unit[2]) / 2), (6, unit[1]), (7, unit[1])):
        torch.testing.assert_close(head.weight[row, :WIDTH].detach(), norm * mean / mean.norm())
    assert torch.equal(head.weight[:5], before[:5])
    with pytest.raises(InputError, match="type 'food' never occurs"):
        head.imprint(sums, torch.tensor([0.0, 0, 0, 0, 0, 2, 0, 0]))


def blocks_that_say(*words: str) -> list[Tensor]:
    """Probabilities of the two blocks of COLUMNS, from a line like "B-city:0.9 O:0.6" per word."""
    halves = COLUMNS[:5], COLUMNS[5:]
    blocks = []
    for half, part in enumerate(halves):
        rows = torch.zeros(1, len(words), len(part))
        for t, word in enumerate(words):
            tag, sure = word.split()[half].split(":")
            rows[0, t] = (1 - float(sure)) / (len(part) - 1)
            rows[0, t, part.index(tag)] = float(sure)
        blocks.append(rows)
    return blocks


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["O:0.9 O:0.9"], ["O"]),
        (["B-city:0.6 B-food:0.8"], ["B-food"]),
        (["B-city:0.8 B-food:0.6"], ["B-city"]),
        (["O:0.9 I-food:0.9"], ["O"]),
        (["B-city:0.9 O:0.9", "I-city:0.5 B-food:0.9"], ["B-city", "I-city"]),
        (["B-city:0.9 O:0.9", "I-animal:0.9 B-food:0.5"], ["B-city", "B-food"]),
        (["B-city:0.9 O:0.9", "I-animal:0.9 I-food:0.9"], ["B-city", "O"]),
        (["B-city:0.5 B-food:0.9", "I-city:0.9 I-food:0.5"], ["B-food", "I-food"]),
        (["O:0.9 B-food:0.9", "O:0.9 I-food:0.9", "B-city:0.9 I-food:0.5"], ["B-food", "I-food", "I-food"]),
        (["O:0.9 B-food:0.9", "O:0.9 O:0.9", "O:0.9 I-food:0.9"], ["B-food", "O", "O"]),
    ],
)
def test_blocks_merge_from_left_to_right(words: list[str], expected: list[str]) -> None:
    columns, confidence = merge(likeliest(blocks_that_say(*words)), grown(TWO, THREE).blocks)
    assert [COLUMNS[column] for column in columns[0]] == expected
    for t, tag in enumerate(expected):
        if tag != "O":
            of = int(tag.endswith("food"))
            assert confidence[0, t].item() == pytest.approx(float(words[t].split()[of].split(":")[1]))


def likeliest(blocks: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The most probable tag of each word in each block, and its probability."""
    return [(block.argmax(-1), block.amax(-1)) for block in blocks]


def merged_slowly(sentence: list[list[tuple[str, float]]]) -> list[str]:
    """The rule as it is published, word by word."""
    merged = ["O"]
    for word in sentence:
        valid = [tag for tag, _ in word if tag[0] == "I" and merged[-1] in (f"B-{tag[2:]}", tag)]
        begins = [(sure, tag) for tag, sure in word if tag[0] == "B"]
        merged.append(valid[0] if valid else max(begins)[1] if begins else "O")
    return merged[1:]


@given(seed=st.integers(0, 10_000))
def test_merging_is_the_rule_and_always_legal(seed: int) -> None:
    head = grown(TWO, THREE, FIVE)
    logits = 2 * torch.randn(2, 8, len(head.tags), generator=torch.Generator().manual_seed(seed))
    blocks = [logits[..., block].softmax(-1) for block in head.blocks]
    columns, confidence = merge(likeliest(blocks), head.blocks)
    for row in range(2):
        drawn_blocks = []
        for t in range(8):
            surest = [(block[row, t].max(-1), at) for block, at in zip(blocks, head.blocks, strict=True)]
            drawn_blocks.append([(head.tags[at.start + int(best.indices)], float(best.values)) for best, at in surest])
        tags = [head.tags[column] for column in columns[row]]
        assert tags == merged_slowly(drawn_blocks)
        assert not list(breaches(tags, "BIO"))
    assert ((confidence > 0) & (confidence <= 1)).all()


@given(seed=st.integers(0, 10_000))
def test_a_constrained_block_is_the_best_legal_path_of_its_own(seed: int) -> None:
    words = torch.randn(1, 6, WIDTH, generator=torch.Generator().manual_seed(seed))
    alone, linear = grown(TWO), grown_head(HEADS["linear"](), TWO)
    with torch.no_grad():
        linear.rows.copy_(alone.weight)
    states, batch = read(words)
    assert [p.keys() for p in alone.predict(states, batch)] == [p.keys() for p in linear.predict(states, batch)]


def test_words_out_of_reach_are_outside() -> None:
    head = grown(TWO, THREE, width=20)
    targets = torch.tensor([[6, 7, 7]])
    states = perfect(head, targets)
    near = Batch(torch.arange(1), {}, torch.tensor([[True, True, False]]), targets)
    assert head.predict(states, near)[0].keys() == {Entity(0, 2, "food")}


def test_tag_methods_and_stepwise_blocks_do_not_mix() -> None:
    assert RunConfig.load(["method.name=add_ner", "model.head.name=stepwise"]).model.head == HEADS["stepwise"]()
    assert RunConfig.load(["model.head.name=stepwise"]).method.name == "finetuning"
    with pytest.raises(InputError, match="'add_ner' trains StepwiseHead, not head 'linear'"):
        RunConfig.load(["method.name=add_ner"])
    for name in ("extend_ner", "lucir", "podnet"):
        with pytest.raises(InputError, match=f"'{name}' trains TagHead, not head 'stepwise'"):
            RunConfig.load([f"method.name={name}", "model.head.name=stepwise"])
