"""Duplet learning: the twins of sentences, their words, and its losses against plain numpy."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import runs
from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.data.scenarios.scenario import Scenario, Split
from raycner.errors import InputError
from raycner.methods.duplet import Duplet, SharedWords, Twins
from raycner.methods.extend_ner import ExtendNER
from raycner.methods.finetuning import Finetuning
from raycner.methods.self_training import SelfTraining
from raycner.networks.batch import Batch
from raycner.networks.losses import IGNORE, LossSum
from raycner.networks.network import Network
from raycner.orchestration.runner import run
from raycner.training.loader import SplitLoader
from raycner.training.teacher import Teacher


@pytest.fixture
def step(tiny_config: RunConfig, tiny_corpus: Corpus) -> tuple[Split, Network, Teacher]:
    """The training sentences of the second step, a student for it, and a teacher of the first."""
    first, second, *_ = Scenario(tiny_config.scenario, [tiny_corpus])
    teacher = Network(tiny_config.model)
    teacher.start_step(first.inventory, [s.words for s in first.train.sentences()])
    student = Network(tiny_config.model)
    student.start_step(first.inventory, [s.words for s in second.train.sentences()])
    student.start_step(second.inventory, [])
    return second.train, student, Teacher(teacher, Path())


def test_a_sentence_without_some_entities() -> None:
    person, city, inside = Entity(0, 2, "person"), Entity(3, 4, "city"), Entity(1, 2, "animal")
    sentence = Sentence(7, ("Bo", "Finch", "in", "Oslo", "."), frozenset({person, city}))
    assert sentence.without({"person"}) == Sentence(7, ("in", "Oslo", "."), frozenset({Entity(1, 2, "city")}))
    assert sentence.without({"city"}) == Sentence(7, ("Bo", "Finch", "in", "."), frozenset({person}))
    assert sentence.without(()) == sentence
    nested = dataclasses.replace(sentence, entities=frozenset({person, inside}))
    assert nested.without({"animal"}).entities == frozenset(), "what lost a word is no entity"


def test_twins_lack_the_new_entities_and_nothing_else(step: tuple[Split, Network, Teacher]) -> None:
    split, _, teacher = step
    annotated = Duplet(base=Finetuning()).annotate(split, teacher)
    twins = annotated.column(Twins)
    assert annotated.drawn == len(split) < len(annotated) == len(twins.positions)
    for position, twin in enumerate(twins.positions[: len(split)]):
        sentence = annotated[position]
        assert sentence == split[position]
        assert (twin >= 0) == (0 < len(sentence.outside(split.visible)) < len(sentence.words))
        if twin >= 0:
            assert annotated[twin].words == sentence.without(split.visible).words
            assert not annotated[twin].entities
            assert annotated.words(twin) == annotated[twin].words
    assert annotated.lengths.tolist() == [len(sentence.words) for sentence in annotated.sentences()]


def test_a_batch_names_the_words_that_twins_share(step: tuple[Split, Network, Teacher]) -> None:
    split, student, teacher = step
    for method in (Duplet(base=Finetuning()), Duplet(base=Finetuning(), twin="same")):
        loader = SplitLoader(method.annotate(split, teacher), student)
        batch = method.collate(loader, range(8))
        assert batch.companion is not None
        shared = batch.column(SharedWords)
        words = [[loader.split.words(int(i)) for i in read.positions] for read in (batch, batch.companion)]
        pairs = [
            [read[row][word] for row, word in zip(*at, strict=True)] for read, at in zip(words, shared, strict=True)
        ]
        assert pairs[0] == pairs[1]
        assert len(pairs[0]) == sum(map(len, words[1])), "every word of a twin has its place in the sentence"
        assert sum(map(len, words[1])) < sum(map(len, words[0]))


def test_the_teacher_labels_twins_as_sentences_of_their_own(step: tuple[Split, Network, Teacher]) -> None:
    split, _, teacher = step
    annotated = Duplet(base=SelfTraining()).annotate(split, teacher)
    assert annotated.pseudo is not None
    assert len(annotated.pseudo) == len(annotated)
    alone = SelfTraining().annotate(split, teacher)
    assert annotated.pseudo[: len(split)] == alone.pseudo
    assert annotated.pseudo_stats == alone.pseudo_stats, "statistics are of the step's own sentences"


def test_losses_equal_the_calculation_in_numpy() -> None:
    draw = np.random.RandomState(0)
    z, z_twin = draw.randn(1, 3, 5), draw.randn(1, 2, 5)  # O, B and I of an old type, B and I of a new one
    targets, twin_targets = torch.tensor([[0, 3, 0]]), torch.tensor([[0, 0]])
    twin = Batch(torch.tensor([1]), {}, twin_targets >= 0, twin_targets)
    shared = SharedWords((torch.tensor([0, 0]), torch.tensor([0, 2])), (torch.tensor([0, 0]), torch.tensor([0, 1])))
    batch = Batch(torch.tensor([0]), {}, targets >= 0, targets, companion=twin).with_column(shared)
    inventory = TypeInventory().grow(("a",)).grow(("b",))

    class Student:
        head = SimpleNamespace(num_old=3, loss=lambda output, read: _cross_entropy(output.logits, read.targets))

        def __init__(self) -> None:
            self.inventory = inventory

        def __call__(self, read: Batch) -> Any:
            return SimpleNamespace(logits=torch.tensor(z if read.targets.size(1) == 3 else z_twin))

    teacher: Any = SimpleNamespace(recall=lambda *_: torch.tensor([[0, 1]]))  # the second word is of an old type
    method = Duplet(base=Finetuning(), twin_weight=0.5, consistency_weight=0.25)
    student: Any = Student()
    terms = method.losses(student, teacher, batch)
    p, p_twin = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (z, z_twin))
    assert terms["ce"].total.item() == pytest.approx(-np.log(p[0, [0, 1, 2], [0, 3, 0]]).sum())
    assert terms["twin_ce"].total.item() == pytest.approx(-0.5 * np.log(p_twin[0, :, 0]).sum())
    assert terms["twin_ce"].count.item() == 2
    assert terms["consistency"].total.item() == pytest.approx(0.25 * ((p[0, 2] - p_twin[0, 1]) ** 2).sum())
    assert terms["consistency"].count.item() == 1


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> LossSum:
    where = targets != IGNORE
    rows = logits.log_softmax(-1)[where]
    return LossSum(-rows.gather(-1, targets[where][:, None]).sum(), where.sum())


def test_without_weights_it_is_its_base_bit_for_bit(tmp_path: Path) -> None:
    base = ["scenario.order=[location, person]", "method.name=extend_ner"]
    neutral = ["method={name: duplet, twin_weight: 0, consistency_weight: 0, base: {name: extend_ner}}"]
    twice = ["method={name: duplet, base: {name: extend_ner}}"]
    for name, settings in {"base": base, "neutral": [*base, *neutral], "twins": [*base, *twice]}.items():
        run(runs.small(tmp_path / name, *settings), runs.silent)
    alone, neutral_weights, twins = (
        list(runs.weights(tmp_path / name).values()) for name in ("base", "neutral", "twins")
    )
    assert sorted(alone) == sorted(neutral_weights) != sorted(twins)
    records = [runs.ledger(tmp_path / name).records()[1] for name in ("base", "twins")]
    assert records[0].sentences == records[1].sentences
    assert set(records[1].epochs[0].losses) == {"ce", "kd", "twin_ce", "twin_kd", "consistency"}


def test_what_cannot_be_wrapped_is_refused() -> None:
    with pytest.raises(ValueError, match="one twin"):
        Duplet(base=Duplet(base=ExtendNER()))
    with pytest.raises(ValueError, match="not negative"):
        Duplet(base=ExtendNER(), twin_weight=-1)
    with pytest.raises(InputError, match="span_kl does not train tag heads"):
        RunConfig.load(["method={name: duplet, base: {name: span_kl}}", "model.head.name=spans"])
