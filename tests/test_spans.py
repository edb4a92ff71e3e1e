"""The contract of the span head: spans in their order, columns that grow, entities that overlap where they may."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.data.scenarios.scenario import Scenario, Split
from raycner.errors import InputError
from raycner.methods.self_training import SelfTraining
from raycner.methods.span_kl import SpanKL
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.head import GrowthConfig, Prediction
from raycner.networks.heads.spans import BLOCK, SpanHead, SpanOutput, Spans, num_spans, pairs, without_overlaps
from raycner.networks.losses import IGNORE
from raycner.networks.network import Network
from raycner.training.loader import SplitLoader
from raycner.training.teacher import Teacher
from test_heads import THREE, TWO, annotated, random_states, read

WIDTH = 6
LONG = 2 * BLOCK + 5
FIVE = THREE.grow(("person", "plant"))


def grown(
    *inventories: TypeInventory, growth: GrowthConfig | None = None, width: int = WIDTH, **settings: Any
) -> SpanHead:
    torch.manual_seed(0)
    head = Spans(vector=4, **settings).build(width)
    for inventory in inventories:
        head.grow(inventory, growth or GrowthConfig())
    with torch.no_grad():
        head.rows.normal_(generator=torch.Generator().manual_seed(1))
    return head


def plainly(head: SpanHead, words: Tensor) -> Tensor:
    """The scores of the square [B, T, T, E], as the equation has them."""
    rows = head.weight.view(len(head.inventory), 2, 4, WIDTH + 1)
    starts, ends = (torch.einsum("bth,ekh->btek", words, rows[:, k, :, :-1]) + rows[:, k, :, -1] for k in range(2))
    return torch.einsum("biek,bjek->bije", starts, ends) / 4**0.5


def all_spans(length: int, widest: int) -> list[tuple[int, int]]:
    return [(i, j) for j in range(length) for i in range(j + 1) if not 0 < widest < j - i + 1]


@given(length=st.integers(1, LONG), widest=st.integers(0, 12))
def test_a_sentence_has_half_a_square_of_spans(length: int, widest: int) -> None:
    first, last = pairs(length, widest)
    spelt = all_spans(length, widest)
    assert list(zip(first.tolist(), last.tolist(), strict=True)) == spelt
    assert num_spans(length, widest) == len(spelt)
    if not widest:
        assert len(spelt) == length * (length + 1) // 2
    shorter = all_spans(max(1, length - 3), widest)
    assert spelt[: len(shorter)] == shorter, "a shorter sentence's spans come first"


@pytest.mark.parametrize("widest", [0, 1, 3, BLOCK, 100])
@pytest.mark.parametrize("length", [1, 4, BLOCK, BLOCK + 1, LONG])
def test_scores_are_what_the_equation_says(length: int, widest: int) -> None:
    head = grown(TWO, THREE, max_width=widest)
    states, batch = random_states(length=length)
    logits = head(states, batch).logits
    assert logits.shape == (2, num_spans(length, widest), 3)
    first, last = pairs(length, widest)
    torch.testing.assert_close(logits, plainly(head, states.words)[:, first, last], rtol=1e-4, atol=1e-4)


def test_padding_changes_no_score() -> None:
    head = grown(TWO)
    words = torch.randn(1, LONG, WIDTH, generator=torch.Generator().manual_seed(5))
    short = head(*read(words[:, :7])).logits
    torch.testing.assert_close(head(*read(words)).logits[:, : short.size(1)], short, rtol=1e-4, atol=1e-5)


def test_memory_is_that_of_the_types_seen_and_of_the_upper_triangle() -> None:
    head = grown(FIVE)
    sizes: list[int] = []

    def weigh(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    states, batch = random_states(length=LONG)
    with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        head(states, batch)
    assert max(sizes) < 2 * LONG * LONG * len(FIVE), "no square of scores is kept"
    assert sum(p.numel() for p in head.parameters()) == 5 * 2 * 4 * (WIDTH + 1)


def saying(head: SpanHead, logits: Tensor) -> SpanHead:
    """The head, but with these scores."""
    head.forward = lambda *_: SpanOutput(logits)  # type: ignore[method-assign]
    return head


def perfect(head: SpanHead, targets: Tensor, length: int) -> list[Prediction]:
    """What is read from scores that say exactly `targets`."""
    types = torch.arange(1, 1 + len(head.inventory))
    logits = torch.where((targets[..., None] == types).any(-2), 20.0, -20.0)
    return saying(head, logits).predict(*read(torch.zeros(len(targets), length, WIDTH)))


@settings(max_examples=40)
@given(sentences=st.lists(annotated(FIVE.types), min_size=1, max_size=3), widest=st.integers(0, 5))
def test_predicting_inverts_targets(sentences: list[Sentence], widest: int) -> None:
    head = grown(TWO, THREE, FIVE, max_width=widest)
    targets = head.targets(sentences)
    length = max(len(s.words) for s in sentences)
    assert targets.shape[:2] == (len(sentences), num_spans(length, widest))
    predictions = perfect(head, targets, length)
    assert [set(entities) for entities in predictions] == [
        {e for e in s.entities if not 0 < widest < e.end - e.start} for s in sentences
    ]
    assert all(0 < sure <= 1 for entities in predictions for sure in entities.values())


@st.composite
def nested(draw: st.DrawFn) -> Sentence:
    spans = draw(st.sets(st.tuples(st.integers(0, 7), st.integers(1, 4), st.sampled_from(FIVE.types)), max_size=8))
    gold = frozenset(Entity(start, min(start + length, 8), kind) for start, length, kind in spans)
    visible = frozenset(e for e in gold if draw(st.booleans()))
    return Sentence(0, ("w",) * 8, visible, gold - visible)


@settings(max_examples=40)
@given(sentences=st.lists(nested(), min_size=1, max_size=3))
def test_nested_entities_are_all_learned_and_all_found(sentences: list[Sentence]) -> None:
    head = grown(FIVE, decoding="nested")
    predictions = perfect(head, head.targets(sentences), 8)
    assert [set(entities) for entities in predictions] == [s.entities | s.pseudo for s in sentences]
    flat = perfect(grown(FIVE), head.targets(sentences), 8)
    for entities in flat:
        assert not any(a.overlaps(b) for a in entities for b in entities if a != b)


def test_targets_name_the_types_of_each_span() -> None:
    head = grown(TWO, THREE)
    gold = frozenset({Entity(0, 2, "city"), Entity(2, 3, "animal")})
    targets = head.targets([Sentence(0, tuple("abc"), gold), Sentence(1, ("a",), frozenset())])
    assert targets.tolist() == [[[0], [2], [0], [0], [0], [1]], [[0], *[[IGNORE]] * 5]]
    twice = frozenset({Entity(0, 1, "city"), Entity(0, 1, "animal")})
    assert head.targets([Sentence(0, ("a", "b"), twice)]).tolist() == [[[1, 2], [0, 0], [0, 0]]]


def test_a_teacher_ignores_types_learned_after_it() -> None:
    sentence = Sentence(0, tuple("abc"), frozenset({Entity(0, 1, "city")}), frozenset({Entity(1, 3, "food")}))
    assert grown(TWO).targets([sentence])[0, :, 0].tolist() == [2, 0, 0, 0, IGNORE, 0]
    assert grown(TWO, THREE).targets([sentence])[0, :, 0].tolist() == [2, 0, 0, 0, 3, 0]


def test_spans_that_touch_an_unreachable_word_are_neither_learned_nor_found() -> None:
    head = grown(TWO)
    mask = torch.tensor([[True, True, False]])
    targets = head.targets([Sentence(0, tuple("abc"), frozenset({Entity(1, 3, "city")}))])
    assert head.mask_targets(targets, mask)[0, :, 0].tolist() == [0, 0, 0, *[IGNORE] * 3]
    states, batch = read(torch.zeros(1, 3, WIDTH))
    with torch.no_grad():
        head.rows.zero_()  # every span is as likely as not, which is enough
    predictions = head.predict(states, replace(batch, mask=mask))
    assert max(entity.end for entity in predictions[0]) == 2


@pytest.mark.parametrize("freeze", [True, False])
@pytest.mark.parametrize("init", ["normal", "moments", "standard"])
def test_growing_keeps_the_past(freeze: bool, init: Any) -> None:
    head = grown(TWO)
    states, batch = random_states(length=LONG)
    before, weight = head(states, batch).logits.detach(), head.weight.detach().clone()
    head.grow(THREE, GrowthConfig(freeze_old=freeze, init=init))
    assert torch.equal(head.weight[:2], weight), "bit for bit"
    assert len(head.frozen) == (2 if freeze else 0)
    after = head(states, batch).logits
    torch.testing.assert_close(after[..., :2].detach(), before, rtol=1e-5, atol=1e-5)
    head.finalize()
    again = Spans(vector=4).build(WIDTH)
    again.load_shape(THREE)
    again.load_state_dict(copy.deepcopy(head.state_dict()))
    assert again.inventory == THREE
    assert torch.equal(again(states, batch).logits, after)
    assert again.predict(states, batch) == head.predict(states, batch)


def test_fresh_rows_are_drawn_as_published() -> None:
    fresh = Spans().build(384).draw(3).view(3, 100, 385)
    assert not fresh[..., -1].any()
    assert fresh[..., :-1].std().item() == pytest.approx((2 / 384) ** 0.5, rel=0.02)


def labelled(head: SpanHead, *gold: set[Entity]) -> tuple[States, Batch]:
    """Random states of four words, and what they are to say."""
    targets = head.targets([Sentence(i, tuple("abcd"), frozenset(entities)) for i, entities in enumerate(gold)])
    states, batch = random_states(length=4)
    return states, replace(batch, targets=targets)


GOLD = ({Entity(0, 2, "food")}, {Entity(3, 4, "city"), Entity(0, 1, "food")})


@pytest.mark.parametrize("weight", [1.0, 3.0])
@pytest.mark.parametrize("first", [0, 2])
def test_the_loss_equals_the_calculation_by_hand(weight: float, first: int) -> None:
    head = grown(TWO, THREE, positive_weight=weight).double()
    states, batch = labelled(head, *GOLD)
    states = States.of_words(states.words.double())
    probabilities, expected = plainly(head, states.words).sigmoid().detach(), 0.0
    for row, gold in enumerate(GOLD):
        for i, j in all_spans(4, 0):
            for number, kind in enumerate(THREE.types):
                p, y = probabilities[row, i, j, number], Entity(i, j + 1, kind) in gold
                expected -= float((weight * p.log() if y else (1 - p).log()) * (number >= first)) / (3 - first)
    loss = head.loss(head(states, batch), batch, first=first)
    assert (loss.total.item(), loss.count.item()) == (pytest.approx(expected, rel=1e-4), 2)
    by_span = grown(TWO, positive_weight=weight, reduction="span").loss(head(states, batch), batch, first=first)
    assert (by_span.total.item(), by_span.count.item()) == (loss.total.item(), 2 * 10)


def test_new_columns_learn_and_old_ones_are_distilled_independently() -> None:
    head, teacher = grown(TWO, THREE), grown(TWO)
    states, batch = labelled(head, *GOLD)
    output, old = head(states, batch), 2

    class Student:
        inventory = THREE

        def __init__(self) -> None:
            self.head = head

        def __call__(self, _: Batch) -> SpanOutput:
            return output

        forward_eval = __call__

    student: Any = Student()
    asked: Any = lambda _: teacher(states, batch)  # noqa: E731
    terms = SpanKL(kd_weight=2.5).losses(student, asked, batch)
    gradients = {n: torch.autograd.grad(t.total, output.logits, retain_graph=True)[0] for n, t in terms.items()}
    assert not gradients["bce"][..., :old].any() and gradients["bce"][..., old:].all()
    assert not gradients["kd"][..., old:].any() and gradients["kd"][..., :old].any()
    plain = SpanKL().losses(student, asked, batch)
    assert terms["kd"].total.item() == pytest.approx(2.5 * plain["kd"].total.item())
    assert {term.count.item() for term in terms.values()} == {2}


def test_nothing_to_learn_is_zero_in_the_graph() -> None:
    head = grown(TWO, THREE)
    states, batch = labelled(head, *GOLD)
    loss = head.loss(head(states, batch), batch.masked())
    loss.total.backward()
    assert (loss.total.item(), loss.count.item()) == (0.0, 0)
    assert head.rows.grad is not None and not head.rows.grad.any()


def test_every_parameter_gets_a_gradient_and_frozen_ones_have_none() -> None:
    head = grown(TWO)
    head.grow(THREE, GrowthConfig(freeze_old=True))
    states, batch = labelled(head, *GOLD)
    head.loss(head(states, batch), batch).total.backward()
    assert head.rows.shape[0] == 1
    assert head.rows.grad is not None and head.rows.grad.view(2, 4, -1)[..., :-1].all()


A, B_, C = Entity(0, 3, "animal"), Entity(2, 5, "city"), Entity(4, 6, "food")


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({A: 0.9, B_: 0.8, C: 0.7}, {A, C}),
        ({A: 0.8, B_: 0.9, C: 0.7}, {B_}),
        ({A: 0.8, C: 0.7}, {A, C}),
        ({A: 0.8, Entity(0, 3, "city"): 0.8}, {A}),
        ({}, set()),
    ],
)
def test_the_surest_span_keeps_its_words(scores: Prediction, expected: set[Entity]) -> None:
    assert without_overlaps(scores, scores) == {entity: scores[entity] for entity in expected}


@pytest.mark.parametrize(("threshold", "expected"), [(0.3, {"animal", "city"}), (0.5, {"city"}), (0.9, set())])
def test_the_threshold_decides(threshold: float, expected: set[str]) -> None:
    head = saying(grown(TWO, threshold=threshold, decoding="nested"), torch.tensor([[[-0.5, 0.0]]]))
    (entities,) = head.predict(*read(torch.zeros(1, 1, WIDTH)))
    assert {entity.type for entity in entities} == expected
    assert all(sure == pytest.approx(0.5, abs=0.13) for sure in entities.values())


@pytest.fixture
def taught(tiny_config: RunConfig, tiny_corpus: Corpus) -> tuple[Network, Split]:
    """A network with a span head that knows the first type, and the second step's sentences."""
    first, second, *_ = Scenario(tiny_config.scenario, [tiny_corpus])
    torch.manual_seed(0)
    network = Network(replace(tiny_config.model, head=Spans()))
    network.start_step(first.inventory, [s.words for s in first.train.sentences()])
    return network.eval(), second.train


def test_a_teachers_columns_are_its_scores(taught: tuple[Network, Split], tmp_path: Path) -> None:
    network, split = taught
    outputs = {**SpanKL().teacher_outputs, "doubled": lambda output: 2 * output.logits}
    live, cached = (Teacher(network, tmp_path, outputs) for _ in range(2))
    cached.cache_outputs(split)
    batch = SplitLoader(split, network).batch([3, 0, 7])
    inside = network.head.output_mask(batch.mask)
    for name in outputs:
        expected, column = live.recall(name, batch), cached.recall(name, batch)
        assert torch.equal(getattr(live(batch), name), expected) and torch.equal(getattr(cached(batch), name), column)
        assert column.dtype == expected.dtype
        torch.testing.assert_close(column[inside], expected[inside], rtol=1e-3, atol=1e-4)
        assert not column[~inside].any()
    assert cached(batch).logits.dtype == torch.float16


def test_what_is_not_cached_costs_one_forward_pass(taught: tuple[Network, Split], tmp_path: Path) -> None:
    network, split = taught
    passes: list[object] = []
    teacher = Teacher(network, tmp_path, {"halved": lambda output: output.logits / 2})
    teacher.cache_outputs(split)
    network.register_forward_hook(lambda *_: passes.append(None))
    batch = SplitLoader(split, network).batch([3, 0, 7])
    assert teacher(batch).halved.shape == teacher.recall("halved", batch).shape
    assert not passes
    assert torch.equal(teacher(batch).logits, teacher(batch).logits)
    assert len(passes) == 1
    with pytest.raises(KeyError, match="nothing"):
        teacher.recall("nothing", batch)


def test_confident_spans_become_labels(taught: tuple[Network, Split], tmp_path: Path) -> None:
    network, split = taught
    teacher = Teacher(network, tmp_path)
    annotated = SelfTraining(threshold=0.5).annotate(split, teacher)
    assert any(sentence.pseudo for sentence in annotated.sentences())
    for sentence in annotated.sentences():
        assert not any(a.overlaps(b) for a in sentence.pseudo for b in sentence.pseudo if a != b)
    assert not any(s.pseudo for s in SelfTraining(threshold=1.0).annotate(split, teacher).sentences())
    row = next(i for i, sentence in enumerate(annotated.sentences()) if sentence.pseudo)
    assert (SplitLoader(annotated, network).batch([row]).targets == 1).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["method.name=extend_ner"], "'extend_ner' trains TagHead, not head 'spans'"),
        (["model.growth.imprint=train"], "head 'spans' has no rows to imprint"),
        (["model.growth.init=zeros"], "growth.init=zeros gives a span head vectors"),
        (["eval.calibration=read_out"], "'read_out' shifts a bias that head 'spans' does not have"),
        (["model.head.threshold=1"], "threshold 1.0: a probability"),
        (["model.head.positive_weight=0"], "positive_weight 0.0: above 0"),
        (["model.head.vector=0"], "vector is at least 1"),
        (["method={name: span_kl, temperature: 0}"], "temperature is above 0"),
    ],
)
def test_settings_that_spans_do_not_support_are_rejected(settings: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunConfig.load(["model.head.name=spans", *settings])


def test_nested_gold_needs_a_head_with_several_labels_per_word() -> None:
    nested = "scenario.corpus={name: jsonl, nested: true}"
    assert RunConfig.load([nested, "model.head={name: spans, decoding: nested}"]).scenario.corpus.allows_overlap
    for name in ("linear", "cosine", "stepwise"):
        with pytest.raises(InputError, match=rf"scenario\.corpus\.nested: head '{name}' predicts one tag per word"):
            RunConfig.load([nested, f"model.head.name={name}"])


def test_span_kl_needs_spans() -> None:
    assert RunConfig.load(["method.name=span_kl", "model.head.name=spans"]).model.head == Spans()
    with pytest.raises(InputError, match="'span_kl' trains SpanHead, not head 'linear'"):
        RunConfig.load(["method.name=span_kl"])
