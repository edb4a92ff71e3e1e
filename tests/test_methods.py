"""The contract of every method, and what holds of their losses; each loss is recomputed in `test_parity.py`."""

import copy
import dataclasses
import json
import math
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.entities import Entity, TypeInventory
from raycner.data.scenarios.scenario import Scenario, Split
from raycner.hashing import plain
from raycner.methods.dld import DLD
from raycner.methods.duplet import Duplet
from raycner.methods.extend_ner import ExtendNER
from raycner.methods.finetuning import Finetuning
from raycner.methods.method import METHODS, Method, balance
from raycner.methods.self_training import SelfTraining
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.head import HEADS, HeadConfig, Prediction
from raycner.networks.heads.tag_head import TagHead, TagOutput
from raycner.networks.losses import IGNORE, LossSum
from raycner.networks.network import ModelConfig, Network
from raycner.settings import build
from raycner.training.loader import SplitLoader
from raycner.training.teacher import Teacher

ONE = TypeInventory().grow(("animal",))
TWO = ONE.grow(("city",))


def registered() -> Iterator[Method]:
    """Every method with its defaults; one that wraps another, around each that it may wrap."""
    for kind in METHODS.values():
        required = [field.name for field in dataclasses.fields(kind) if required_field(field)]
        if not required:
            yield kind()
        elif required == ["base"]:
            for base in METHODS.values():
                if not any(map(required_field, dataclasses.fields(base))) and issubclass(TagHead, base.heads):
                    yield kind(base=base())
        else:
            pytest.fail(f"{kind.__name__}: the contract does not know what to give for {required}")


def required_field(field: Any) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def trained(method: Method) -> Iterator[HeadConfig]:
    """Every kind of head that a method trains."""
    return (kind() for _, kind in sorted(HEADS.items()) if method.trains(kind.module))


DECOMPOSITIONS = {"product": 2, "weight": 2, "none": 1}
"""How many terms each has."""
SUPERVISED = {"ce", "bce", "nca", "margin", "dce", "odce", "soft", "entropy", "contrast"}
"""Terms that read labels, or make the teacher's best tag one; every other one compares student and teacher."""
MAY_BE_EMPTY = {"twin_ce", "twin_dce", "twin_nca", "consistency", "held_logits"}
"""Terms that may have no word: of twins without entities, of old types where a random teacher predicts nothing but O,
and of a memory."""
every_method = pytest.mark.parametrize("method", list(registered()), ids=lambda method: method.label)
every_pair = pytest.mark.parametrize(
    ("method", "head"),
    [pytest.param(m, h, id=f"{m.label}-{h.name}") for m in registered() for h in trained(m)],
)


@dataclasses.dataclass
class Step:
    """The second step over the tiny corpus: a teacher, the student that grew from it, and sentences."""

    teacher: Network
    student: Network
    split: Split
    method: Method

    def recalling(self, method: Method[Any]) -> Teacher:
        """The teacher with the outputs of a method."""
        return Teacher(self.teacher, Path(), method.teacher_outputs)

    def losses(self, method: Method[Any], batch: Batch, student: Network | None = None) -> dict[str, LossSum]:
        return method.losses(student or self.student, self.recalling(method), batch)

    def batch(self, positions: Sequence[int]) -> Batch:
        """The split for a method: with its annotations and its additional columns."""
        split = self.method.annotate(self.split, self.recalling(self.method))
        return self.method.collate(SplitLoader(split, self.student), positions)


@pytest.fixture
def method() -> Method:
    """What a test that is not about a method annotates with."""
    return Finetuning()


@pytest.fixture
def head() -> HeadConfig:
    """What a test that is not about a head trains."""
    return ModelConfig().head


@pytest.fixture
def step(tiny_config: RunConfig, tiny_corpus: Corpus, method: Method, head: HeadConfig) -> Step:
    first, second, *_ = Scenario(tiny_config.scenario, [tiny_corpus])
    torch.manual_seed(0)
    teacher = Network(dataclasses.replace(tiny_config.model, head=head))
    teacher.start_step(first.inventory, [s.words for s in first.train.sentences()])
    with torch.no_grad():
        for parameter in teacher.head.parameters():
            parameter.add_(torch.randn_like(parameter))
    student = copy.deepcopy(teacher)
    student.start_step(second.inventory, [s.words for s in second.train.sentences()])
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Step(teacher.eval().requires_grad_(False), student, second.train, method)


def total(terms: dict[str, LossSum]) -> Tensor:
    return torch.stack([term.total for term in terms.values()]).sum()


@every_pair
def test_losses_are_finite_and_reach_the_student_only(method: Method, step: Step) -> None:
    terms = step.losses(method, step.batch(range(8)))
    for name, term in terms.items():
        assert torch.isfinite(term.total)
        assert term.total.shape == term.count.shape == ()
        assert int(term.count) > 0 or name in MAY_BE_EMPTY
    total(terms).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in step.student.parameters())
    assert all(p.grad.any() for p in step.student.head.parameters() if p.grad is not None)
    assert all(p.grad is None for p in step.teacher.parameters())


@every_pair
def test_terms_have_the_same_names_whatever_the_batch(method: Method, step: Step) -> None:
    batches = [step.batch(range(8)), step.batch([3]), step.batch(range(8)).masked(), step.batch([0]).masked()]
    without = next(i for i in range(len(step.split)) if not step.split[i].entities)
    batches.append(step.batch([without]))
    named = [list(step.losses(method, batch)) for batch in batches]
    assert all(names == named[0] for names in named)


@every_pair
def test_a_masked_batch_has_zero_loss_in_the_graph(method: Method, step: Step) -> None:
    terms = step.losses(method, step.batch([0, 1]).masked())
    total(terms).backward()
    assert all((term.total.item(), term.count.item()) == (0.0, 0) for term in terms.values())
    assert all(p.grad is not None and not p.grad.any() for p in step.student.parameters())


@every_pair
def test_a_batch_is_the_sum_of_its_sentences(method: Method, step: Step) -> None:
    """What makes one process and many agree: totals and counts add up over any division of a batch.

    A method that is refused to many says so.
    """
    step.student.double()
    step.teacher.double()
    whole = step.losses(method, step.batch(range(6)))
    halves = [step.losses(method, step.batch(part)) for part in (range(2), range(2, 6))]
    parted = {
        name
        for name, term in whole.items()
        if term.total.item() != pytest.approx(sum(half[name].total.item() for half in halves), rel=1e-9)
        or term.count.item() != sum(half[name].count.item() for half in halves)
    }
    assert parted == ({"contrast"} if method.batch_dependent else set())


@every_pair
def test_only_needed_teacher_outputs_are_computed(method: Method, step: Step) -> None:
    batch, teacher = step.batch(range(4)), step.recalling(method)
    live = method.losses(step.student, teacher, batch)
    outputs = {
        read.positions: {name: teacher.recall(name, read) for name in method.teacher_outputs}
        for read in (batch, batch.companion)
        if read is not None
    }
    cached = method.losses(step.student, Columns(step.teacher.inventory, outputs), batch)
    assert {name: term.total.item() for name, term in cached.items()} == {
        name: term.total.item() for name, term in live.items()
    }


class Columns(SimpleNamespace):
    """A teacher that has nothing but its cached outputs, by the positions of a batch."""

    def __init__(self, inventory: TypeInventory, outputs: dict[Tensor, dict[str, Tensor]]) -> None:
        super().__init__(inventory=inventory, outputs=outputs)

    def __call__(self, batch: Batch) -> SimpleNamespace:
        return SimpleNamespace(**self.outputs[batch.positions])

    def recall(self, name: str, batch: Batch) -> Tensor:
        return self.outputs[batch.positions][name]


@every_method
def test_a_method_is_a_value(method: Method) -> None:
    assert pickle.loads(pickle.dumps(method)) == method
    assert build(Method, json.loads(json.dumps(plain(method)))) == method
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.heads = ()
    assert all(
        isinstance(getattr(method, f.name), str | int | float | bool | dict | Method)
        for f in dataclasses.fields(method)
    )
    assert method.name in method.label
    assert method.first == Finetuning()
    assert set(method.types) == set()


class Padded:
    """A student with the outputs of a network that did not grow, and logits of -1e4 for the new types."""

    def __init__(self, network: Network, grown: Network) -> None:
        self.network, self.head, self.inventory = network, grown.head, grown.inventory

    def __call__(self, batch: Batch) -> Any:
        output = self.network(batch)
        new = len(self.head.weight) - self.head.num_old
        padded = {"logits": torch.nn.functional.pad(output.logits, (0, new), value=-1e4)}
        if hasattr(output, "weight"):
            padded["weight"] = torch.nn.functional.pad(output.weight, (0, 0, 0, new))
        if hasattr(output, "blocks"):
            padded["blocks"] = self.head.blocks
        return dataclasses.replace(output, **padded)

    @torch.no_grad()
    def forward_eval(self, batch: Batch) -> Any:
        return self(batch)


@every_pair
def test_distilling_a_teacher_into_itself_has_zero_loss(method: Method, step: Step) -> None:
    """The student is the teacher and gives new types no mass: all terms that read no labels are zero, gradient too."""
    twin = copy.deepcopy(step.teacher).requires_grad_()
    student: Any = Padded(twin, step.student)
    step.split = dataclasses.replace(step.split, visible=frozenset())  # without the new type
    batch = step.batch(range(8))
    for name, term in step.losses(method, batch, student).items():
        if name in SUPERVISED:
            continue
        assert term.total.item() == pytest.approx(0, abs=1e-4)
        gradients = torch.autograd.grad(term.total, list(twin.parameters()), retain_graph=True, allow_unused=True)
        assert all(gradient is None or gradient.abs().max() < 1e-3 for gradient in gradients)


def test_after_growth_distillation_pushes_the_new_tags_down_and_squared_error_does_not(step: Step) -> None:
    student = copy.deepcopy(step.teacher).requires_grad_()
    student.start_step(step.student.inventory, [])
    batch = step.batch(range(8))
    kl = step.losses(ExtendNER(), batch, student)["kd"]
    assert kl.total.item() > 0, "new tags take mass that the teacher gave to old ones"
    held = step.losses(DLD(base=Finetuning()), batch, student)
    assert held["dld_positive"].total.item() == pytest.approx(0, abs=1e-4), "old logits are what they were"
    assert held["dld_negative"].total.item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("base", [Finetuning(), SelfTraining(), ExtendNER(kd_weight=3.0)], ids=lambda base: base.name)
@pytest.mark.parametrize("decomposition", list(DECOMPOSITIONS))
def test_a_wrapper_of_no_weight_is_its_base(base: Method, decomposition: Any, step: Step) -> None:
    batch = step.batch(range(4))
    wrapped = DLD(base=base, weight_positive=0.0, weight_negative=0.0, decomposition=decomposition)
    alone = step.losses(base, batch)
    wrapped_terms = step.losses(wrapped, batch)
    assert total(wrapped_terms).item() == total(alone).item()
    assert wrapped_terms.keys() - alone.keys() == wrapped.weights.keys()
    assert len(wrapped.weights) == DECOMPOSITIONS[decomposition]
    assert all(wrapped_terms[name].count.item() == term.count.item() for name, term in alone.items())
    one, two = (torch.autograd.grad(total(terms), list(step.student.parameters())) for terms in (wrapped_terms, alone))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_extend_ner_of_no_weight_only_learns(step: Step) -> None:
    terms = step.losses(ExtendNER(kd_weight=0.0), step.batch(range(4)))
    assert terms["kd"].total.item() == 0
    assert terms["ce"].total.item() > 0


class FixedNetwork:
    """A network that says one thing of every batch."""

    def __init__(self, inventory: TypeInventory, features: Tensor, weight: Tensor) -> None:
        self.inventory = inventory
        self.head = SimpleNamespace(num_old=1 + 2 * inventory.num_old)
        self.output = TagOutput(features @ weight.T, features, weight, States.of_words(features))

    def __call__(self, _: Batch) -> TagOutput:
        return self.output

    def recall(self, name: str, _: Batch) -> Tensor:
        return self.method.teacher_outputs[name](self.output)


def losses_of(method: Method[Any], student: Any, teacher: Any, batch: Batch) -> dict[str, LossSum]:
    """The loss terms, by a teacher that computes the method's outputs."""
    teacher.method = method
    return method.losses(student, teacher, batch)


TARGETS = torch.tensor([[0, 3, 0]])
BATCH = Batch(torch.tensor([0]), {}, TARGETS >= 0, TARGETS)
Z = [[1.0, -0.5, 0.2, 0.8, -1.0], [0.1, 0.2, -0.3, 1.5, 0.4], [0.6, 0.9, -0.2, -0.4, 0.3]]
"""The student's logits: three words; O, B-animal, I-animal, and the new B-city, I-city."""
Z_OLD = [[1.2, -0.1, 0.4], [0.3, 0.1, 0.2], [0.2, 1.4, -0.6]]
"""The teacher's."""


def toy() -> tuple[Any, Any]:
    three = torch.eye(3)
    return FixedNetwork(TWO, three[None], torch.tensor(Z).T), FixedNetwork(ONE, three[None], torch.tensor(Z_OLD).T)


def softmax(logits: Sequence[float], temperature: float = 1.0) -> list[float]:
    powers = [math.exp(z / temperature) for z in logits]
    return [power / sum(powers) for power in powers]


def test_weighing_words_alike_is_weighing_means_by_their_numbers() -> None:
    words = ExtendNER(weighting="word").losses(*toy(), BATCH)
    means = ExtendNER(weighting="mean", kd_weight=2 / 1).losses(*toy(), BATCH)
    shared = sum(term.total.item() / term.count.item() for term in words.values())
    apart = sum(term.total.item() / term.count.item() for term in means.values())
    assert shared * 3 / 1 == pytest.approx(apart, rel=1e-6)


@given(seed=st.integers(0, 1000))
def test_a_cold_teacher_gives_hard_labels(seed: int) -> None:
    torch.manual_seed(seed)
    student = FixedNetwork(TWO, torch.randn(1, 3, 4), torch.randn(5, 4))
    certain = torch.eye(3)[torch.randint(0, 3, (3,))]  # a margin of 1 is 100 at this temperature
    teacher = FixedNetwork(ONE, certain[None], torch.eye(3))
    cold = ExtendNER(weighting="mean", student_temperature=2.0, teacher_temperature=0.01)
    kd = cold.losses(student, teacher, BATCH)["kd"]
    labels = certain.argmax(-1)[None]
    hard = losses.cross_entropy(student.output.logits / 2.0, labels, where=TARGETS == 0)
    assert kd.total.item() == pytest.approx(hard.total.item(), abs=1e-4)


def test_ignored_and_new_words_are_not_distilled() -> None:
    targets = torch.tensor([[IGNORE, 3, 0]])
    batch = Batch(torch.tensor([0]), {}, targets >= 0, targets)
    terms = ExtendNER(weighting="mean").losses(*toy(), batch)
    assert (terms["ce"].count.item(), terms["kd"].count.item()) == (1, 1)
    q, s = softmax(Z_OLD[2]), softmax(Z[2])
    alone = sum(q[c] * (math.log(q[c]) - math.log(s[c])) for c in range(3))
    assert terms["kd"].total.item() == pytest.approx(alone, rel=1e-5)
    assert ExtendNER().losses(*toy(), batch)["kd"].count.item() == 2, "words that no loss may read have no share"


def test_annotated_entities_of_old_types_are_learned() -> None:
    """As they are in a memory, and in the protocol progressive."""
    targets = torch.tensor([[0, 3, 1]])
    batch = Batch(torch.tensor([0]), {}, targets >= 0, targets)
    for weighting, counts in (("mean", (2, 1)), ("word", (3, 3))):
        terms = ExtendNER(weighting=weighting).losses(*toy(), batch)
        assert terms["ce"].total.item() == pytest.approx(-sum(math.log(softmax(Z[i])[c]) for i, c in ((1, 3), (2, 1))))
        assert (terms["ce"].count.item(), terms["kd"].count.item()) == counts


def test_distillation_weighs_more_as_the_past_grows() -> None:
    three = TypeInventory(("a", "b", "c", "d", "e", "f"), (4, 2))
    assert balance(three) == pytest.approx(math.sqrt(2))
    assert balance(TWO) == 1.0
    student, teacher = toy()
    student.inventory = three
    student.head.loss = lambda out, batch: losses.cross_entropy(out.logits, batch.targets, batch.mask)
    for method, terms in (
        (ExtendNER(), {"kd"}),
        (DLD(base=Finetuning()), {"dld_positive", "dld_negative"}),
        (DLD(base=Finetuning(), decomposition="none", form="kl"), {"dld_positive"}),
    ):
        fixed = losses_of(method, student, teacher, BATCH)
        adaptive = losses_of(dataclasses.replace(method, adaptive=True), student, teacher, BATCH)
        for name, term in fixed.items():
            factor = math.sqrt(2) if name in terms else 1.0
            assert adaptive[name].total.item() == pytest.approx(factor * term.total.item())


DIVERGENCES: dict[str, Any] = {
    "mse": losses.squared_error,
    "kl": losses.distillation,
    "bce": losses.bernoulli_cross_entropy,
}


@pytest.mark.parametrize("words", ["all", "outside"])
@pytest.mark.parametrize("form", list(DIVERGENCES))
@pytest.mark.parametrize("decomposition", list(DECOMPOSITIONS))
def test_dld_weights_each_part_separately(decomposition: Any, form: Any, words: Any) -> None:
    torch.manual_seed(0)
    student, teacher = (FixedNetwork(i, torch.randn(1, 3, 4), torch.randn(1 + 2 * len(i), 4)) for i in (TWO, ONE))
    targets = torch.tensor([[0, 3, IGNORE]])
    batch = Batch(torch.tensor([0]), {}, targets >= 0, targets)
    method = DLD(
        base=ExtendNER(),
        weight_positive=2.0,
        weight_negative=3.0,
        decomposition=decomposition,
        form=form,
        words=words,
        temperature=1.0 if form == "mse" else 2.0,
    )
    terms = losses_of(method, student, teacher, batch)
    if decomposition == "none":
        parts = {"dld_positive": (2.0, student.output.logits, teacher.output.logits)}
    else:
        split = losses.decompose_by_product if decomposition == "product" else losses.decompose_by_weight
        (up, down), (up_old, down_old) = (split(n.output.features, n.output.weight) for n in (student, teacher))
        parts = {"dld_positive": (2.0, up, up_old), "dld_negative": (3.0, down, down_old)}
    options = {} if form == "mse" else {"student_temperature": 2.0, "teacher_temperature": 2.0}
    where = targets == 0 if words == "outside" else targets != IGNORE
    assert terms.keys() == {"ce", "kd", *parts}
    for name, (weight, z, z_old) in parts.items():
        alone = DIVERGENCES[form](z, z_old, where, **options)
        assert terms[name].total.item() == pytest.approx(weight * alone.total.item(), rel=1e-6)
        assert terms[name].count.item() == where.sum() == (1 if words == "outside" else 2)


def test_the_control_of_dld_is_distillation_at_a_greater_weight(step: Step) -> None:
    """decomposition=none with KL on O words is plain ExtendNER with a heavier kd_weight."""
    batch = step.batch(range(6))
    plainly = ExtendNER(weighting="mean")
    control = DLD(base=plainly, decomposition="none", form="kl", words="outside", weight_positive=2.0)
    terms = step.losses(control, batch)
    heavier = step.losses(dataclasses.replace(plainly, kd_weight=3.0), batch)
    assert terms["kd"].total.item() + terms["dld_positive"].total.item() == pytest.approx(heavier["kd"].total.item())
    assert terms["dld_positive"].count.item() == heavier["kd"].count.item()


class Confident:
    """A teacher with scripted predictions."""

    inventory = TWO

    def __init__(self, predictions: Sequence[Prediction]) -> None:
        self._predictions = predictions

    def predictions(self, _: Split) -> Sequence[Prediction]:
        return self._predictions


SURE, SO_SO, CITY = Entity(0, 1, "animal"), Entity(2, 3, "animal"), Entity(1, 2, "city")
FOUND: Prediction = {SURE: 0.9, SO_SO: 0.5, CITY: 0.4}


@pytest.mark.parametrize(
    ("method", "labels"),
    [
        (SelfTraining(), {SURE, SO_SO, CITY}),
        (SelfTraining(threshold=0.5), {SURE, SO_SO}),
        (SelfTraining(threshold=0.51), {SURE}),
        (SelfTraining(threshold=1.0), set()),
        (SelfTraining(threshold=0.6, thresholds={"city": 0.3}), {SURE, CITY}),
        (SelfTraining(thresholds={"animal": 0.95}), {CITY}),
        (DLD(base=SelfTraining(threshold=0.6)), {SURE}),
    ],
    ids=lambda value: str(sorted(value)) if isinstance(value, set) else str(value),
)
def test_only_confident_entities_become_labels(method: Method, labels: set[Entity], step: Step) -> None:
    empty: Prediction = {}
    teacher: Any = Confident([FOUND, *[empty] * (len(step.split) - 1)])
    annotated = method.annotate(step.split, teacher)
    assert annotated[0].pseudo == labels
    assert not annotated[1].pseudo
    assert annotated[0].entities == step.split[0].entities
    assert not step.split[0].pseudo


def test_pseudo_labels_are_learned_where_there_is_no_gold(step: Step) -> None:
    row = next(i for i in range(len(step.split)) if not step.split[i].entities)
    labels = [frozenset({Entity(0, 1, "animal")}) if i == row else frozenset() for i in range(len(step.split))]
    before = step.batch([row]).targets
    step.split = step.split.with_pseudo(labels)
    after = step.batch([row]).targets
    assert (before[0, 0].item(), after[0, 0].item()) == (0, 1)
    assert torch.equal(before[0, 1:], after[0, 1:])


def test_methods_that_annotate_nothing_leave_the_split_alone(step: Step) -> None:
    teacher: Any = Confident([FOUND] * len(step.split))
    for method in (Finetuning(), ExtendNER(), DLD(base=ExtendNER())):
        assert method.annotate(step.split, teacher) is step.split


@pytest.mark.parametrize("norm_axis", ["sequence", "hidden"])
def test_a_teacher_whose_output_depends_on_the_batch_reads_that_of_the_student(
    norm_axis: Any, tiny_config: RunConfig, tiny_corpus: Corpus, tmp_path: Path
) -> None:
    """Whether or not its outputs were to be cached, sentence by sentence in batches of its own."""
    experience = Scenario(tiny_config.scenario, [tiny_corpus])[0]
    network = Network(dataclasses.replace(tiny_config.model, head=HEADS["cosine"](norm_axis=norm_axis)))
    network.start_step(experience.inventory, [s.words for s in experience.train.sentences()])
    teacher = Teacher(network, tmp_path, ExtendNER().teacher_outputs)
    teacher.cache_outputs(experience.train)
    loader = SplitLoader(experience.train, network)
    for positions in ([0, 1, 2], [2, 7, 11, 5]):
        batch = loader.batch(positions)
        torch.testing.assert_close(teacher(batch).logits[batch.mask], network(batch).logits[batch.mask])
    assert bool(teacher._cache) == (norm_axis == "hidden")


def test_labels_show_how_methods_are_nested() -> None:
    assert DLD(base=DLD(base=ExtendNER())).label == "dld(dld(extend_ner))"
    assert list(DLD(base=ExtendNER()).teacher_outputs) == ["logits", "dld_positive", "dld_negative"]
    assert list(DLD(base=ExtendNER(), decomposition="none").teacher_outputs) == ["logits", "dld_positive"]
    assert list(Duplet(base=ExtendNER()).teacher_outputs) == ["logits", "best_tag"]
    assert DLD(base=SelfTraining(thresholds={"city": 0.5})).types == {"city"}
