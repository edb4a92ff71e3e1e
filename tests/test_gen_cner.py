"""GenCNER: which triplets are kept, what the teacher says of them, and what the student learns from both."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import runs
from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.entities import Entity
from raycner.data.scenarios.scenario import Scenario, Split
from raycner.errors import InputError
from raycner.methods.gen_cner import GenCNER, PseudoSymbols, threshold
from raycner.networks.batch import Batch
from raycner.networks.heads.head import Prediction
from raycner.networks.heads.triplets import END, NEVER, Triplets
from raycner.networks.losses import IGNORE
from raycner.networks.network import Network
from raycner.orchestration.runner import run
from raycner.storage.ledger import PseudoRecord
from raycner.training.loader import SplitLoader
from raycner.training.teacher import Teacher


@given(confidences=st.lists(st.floats(0.001, 1), min_size=1, max_size=40), share=st.sampled_from([0.1, 0.5, 0.7, 1.0]))
def test_a_threshold_keeps_its_share(confidences: list[float], share: float) -> None:
    tau = threshold(confidences, share)
    assert tau in confidences
    count, wanted = sum(sure >= tau for sure in confidences), math.ceil(round(share * len(confidences), 6))
    assert count >= wanted, "ties stay together"
    assert sum(sure > tau for sure in confidences) < wanted
    assert count == wanted or len(set(confidences)) < len(confidences)


def test_no_predictions_give_threshold_zero() -> None:
    assert threshold([], 0.5) == 0.0
    assert [threshold([i / 10 for i in range(1, 11)], share) for share in (0.1, 0.3, 0.7)] == [1.0, 0.8, 0.4]


class Step:
    """The second step over the tiny corpus: a teacher with scripted predictions, and the student grown from it."""

    def __init__(self, config: RunConfig, corpus: Corpus) -> None:
        first, second, *_ = Scenario(config.scenario, [corpus])
        torch.manual_seed(0)
        model = replace(config.model, head=Triplets())
        self.network = Network(model)
        self.network.start_step(first.inventory, [s.words for s in second.train.sentences()])
        self.network.eval()
        self.student = Network(model)
        self.student.start_step(first.inventory, [s.words for s in second.train.sentences()])
        self.student.start_step(second.inventory, [])
        self.split = second.train
        self.teacher = Teacher(self.network, Path())

    def say(self, monkeypatch: pytest.MonkeyPatch, predictions: Sequence[Prediction]) -> None:
        monkeypatch.setattr(self.teacher, "predictions", lambda _: predictions)

    def first_words(self, monkeypatch: pytest.MonkeyPatch) -> list[Prediction]:
        """In every other sentence, an animal in the first word and another in the last two, the later the surer."""
        predictions: list[Prediction] = []
        for i, sentence in enumerate(self.split.sentences()):
            end, sure = len(sentence.words), (1 + i) / (1 + len(self.split))
            entities = {Entity(0, 1, "animal"): sure, Entity(end - 2, end, "animal"): sure}
            predictions.append(entities if i % 2 == 0 else {})
        self.say(monkeypatch, predictions)
        return predictions


@pytest.fixture
def step(tiny_config: RunConfig, tiny_corpus: Corpus) -> Step:
    return Step(tiny_config, tiny_corpus)


def gold_of(split: Split, position: int) -> set[Entity]:
    return set(split[position].entities)


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_the_surest_triplets_are_kept_and_accounted_for(
    step: Step, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions = step.first_words(monkeypatch)
    split = GenCNER(keep_ratio=share).annotate(step.split, step.teacher)
    proposals = [
        [sure for e, sure in entities.items() if (e.start, e.end) not in {(g.start, g.end) for g in gold_of(split, i)}]
        for i, entities in enumerate(predictions)
    ]
    proposed = [sure for sentence in proposals for sure in sentence]
    assert split.pseudo_stats is not None
    record = split.pseudo_stats["animal"]
    assert record.proposed == len(proposed)
    assert record.kept == sum(len(split[i].pseudo) for i in range(len(split))) >= math.ceil(share * len(proposed))
    assert record.threshold == threshold(proposed, share)
    corpus = split.corpus["train"]
    right = sum(len(split[i].pseudo & set(corpus.entities(int(row)))) for i, row in enumerate(split.rows))
    assert record.right == right
    assert all(
        sure >= record.threshold
        for i, entities in enumerate(predictions)
        for e, sure in entities.items()
        if e in split[i].pseudo
    )


def test_a_type_may_have_a_confidence_of_its_own(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = step.first_words(monkeypatch)
    split = GenCNER(thresholds={"animal": 0.8}).annotate(step.split, step.teacher)
    assert split.pseudo_stats is not None
    assert split.pseudo_stats["animal"].threshold == 0.8
    for i, entities in enumerate(predictions):
        assert split[i].pseudo <= {e for e, sure in entities.items() if sure >= 0.8}


@pytest.mark.parametrize("collisions", ["identical", "overlapping"])
def test_what_gives_way_to_gold(step: Step, collisions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    row, gold = next((i, e) for i, s in enumerate(step.split.sentences()) for e in s.entities)
    predictions: list[Prediction] = [{} for _ in range(len(step.split))]
    longer = Entity(gold.start, min(gold.end + 1, len(step.split[row].words)), "animal")
    predictions[row] = {Entity(gold.start, gold.end, "animal"): 0.9, longer: 0.8}
    step.say(monkeypatch, predictions)
    split = GenCNER(keep_ratio=1.0, collisions=collisions).annotate(step.split, step.teacher)
    assert split[row].pseudo == ({longer} if collisions == "identical" else frozenset())


def collated(step: Step, method: GenCNER, positions: Sequence[int]) -> Batch:
    return method.collate(SplitLoader(method.annotate(step.split, step.teacher), step.student), positions)


def test_cached_scores_of_triplets_equal_live_ones(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    step.first_words(monkeypatch)
    batch = collated(step, GenCNER(keep_ratio=0.7), range(12))
    pseudo, distilled, taught = batch.column(PseudoSymbols)
    assert pseudo.any() and not pseudo.all() and torch.equal(pseudo, distilled)
    live = step.teacher(batch).logits
    assert taught.shape == live.shape
    torch.testing.assert_close(taught[pseudo], live[pseudo], rtol=1e-4, atol=1e-5)
    types = 1 + batch.mask.size(1)
    assert (batch.targets[pseudo] > END).all()
    assert not (pseudo & (batch.targets > types)).any(), "a new type is none of the teacher's"
    assert (taught[~pseudo] == NEVER).all()


def test_the_teacher_holds_every_symbol_that_begins_a_triplet(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what it predicts after its own triplets; the labels stay."""
    step.first_words(monkeypatch)
    plain, held = (collated(step, GenCNER(keep_ratio=0.7, hold=hold), range(12)) for hold in ("pseudo", "begins"))
    pseudo, distilled, taught = held.column(PseudoSymbols)
    torch.testing.assert_close(plain.column(PseudoSymbols).logits[pseudo], taught[pseudo])
    lengths = (held.targets != IGNORE).sum(1).tolist()
    annotated = GenCNER(keep_ratio=0.7).annotate(step.split, step.teacher)
    alone = SplitLoader(annotated, step.network).batch(range(12))
    live = step.teacher(alone).logits
    for row, (length, own) in enumerate(zip(lengths, pseudo.sum(1).tolist(), strict=True)):
        assert distilled[row].nonzero()[:, 0].tolist() == [*range(own), *range(own, length, 3)]
        for begin in range(own, length, 3):
            torch.testing.assert_close(taught[row, begin], live[row, own], rtol=1e-4, atol=1e-5)
    terms = {hold: GenCNER(hold=hold).losses(step.student, step.teacher, held) for hold in ("pseudo", "begins")}
    assert terms["begins"]["ce"].total.item() == terms["pseudo"]["ce"].total.item()
    assert any(length > own + 3 for length, own in zip(lengths, pseudo.sum(1).tolist(), strict=True)), "gold follows"


def test_a_teachers_distribution_with_no_mass_on_new_types_sums_to_one(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    step.first_words(monkeypatch)
    batch = collated(step, GenCNER(), range(12))
    pseudo, _, taught = batch.column(PseudoSymbols)
    z = step.student(batch).logits
    q = torch.zeros_like(z)
    q[..., : taught.size(-1)] = taught.softmax(-1)
    torch.testing.assert_close(q[pseudo].sum(-1), torch.ones(int(pseudo.sum())))
    there = torch.cat([batch.mask.new_ones(12, 1), batch.mask, batch.mask.new_ones(12, 2)], dim=1)
    assert not q[pseudo][~there[:, None].expand_as(q)[pseudo]].any()
    assert not q[pseudo][:, -1].any(), "the new type comes last"
    kd = GenCNER().losses(step.student, step.teacher, batch)["kd"]
    p, adapted = z.softmax(-1)[pseudo], q[pseudo]
    by_hand = torch.where(adapted > 0, adapted * (adapted / p).log(), 0.0).sum()
    torch.testing.assert_close(kd.total, by_hand)
    assert kd.count == (batch.targets != IGNORE).sum()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("method.keep_ratio=0", "keep_ratio 0.0: a share"),
        ("method.thresholds={person: 2}", r"thresholds\.person 2\.0 is no confidence"),
        ("method.temperature=0", "temperature is above 0"),
        ("model.head.name=linear", "method 'gen_cner' trains TripletHead, not head 'linear'"),
    ],
)
def test_invalid_settings_are_rejected(settings: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunConfig.load(["method.name=gen_cner", "model.head.name=triplets", settings])


def test_a_type_that_is_not_learned_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no type called 'persom' is learned"):
        run(
            runs.small(tmp_path, "model.head.name=triplets", "method={name: gen_cner, thresholds: {persom: 0.5}}"),
            runs.silent,
        )


@pytest.mark.parametrize("method", ["self_training", "gen_cner", "finetuning"])
def test_the_record_counts_pseudo_entities(method: str, tmp_path: Path) -> None:
    settings = ["model.head.name=triplets", f"method.name={method}", "scenario.corpus.sentences=60", "optim.epochs=1"]
    run(runs.small(tmp_path, *settings, "optim.first.epochs=1"), runs.silent)
    first, *later = (record.pseudo for record in runs.ledger(tmp_path).records())
    assert first is None
    for number, pseudo in enumerate(later, start=1):
        if method == "finetuning":
            assert pseudo is None
            continue
        assert pseudo is not None
        assert list(pseudo) == ["location", "person", "product"][:number]
        assert all(isinstance(record, PseudoRecord) for record in pseudo.values())
        assert all(0 <= (record.right or 0) <= record.kept <= record.proposed for record in pseudo.values())
