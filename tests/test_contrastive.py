"""The contrast of OCILNER: which words it compares, and what it leaves alone."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

import runs
from raycner.config import RunConfig
from raycner.errors import InputError
from raycner.methods.contrastive import Contrastive, usual_distance
from raycner.methods.der import DER
from raycner.methods.duplet import Duplet
from raycner.methods.extend_ner import ExtendNER
from raycner.methods.finetuning import Finetuning
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.tag_head import TagOutput
from raycner.networks.losses import IGNORE, LossSum
from raycner.orchestration.runner import run

CONTRAST = "method={name: contrastive, base: {name: extend_ner}}"
SETTINGS = ("scenario.order=[location, person]", "scenario.corpus.sentences=60")


def at_angles(*degrees: float) -> Tensor:
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


WORDS = at_angles(0, 20, 90, 130, 200, 212, 250)
"""Two words of one class, two of another, three of O."""
CLASSES = torch.tensor([1, 1, 3, 3, 0, 0, 0])


def test_words_are_compared_with_their_own_and_with_those_of_classes() -> None:
    tau = usual_distance(WORDS, CLASSES, 5)
    own = torch.deg2rad(torch.tensor([10.0, 20.0])).cos()  # half the angle between the words of each class
    torch.testing.assert_close(tau, own.mean())
    alike, compared = Contrastive(base=Finetuning()).pairs(WORDS, CLASSES, 5)
    assert {(i, j) for i, j in alike.nonzero().tolist() if i < j} == {(0, 1), (2, 3), (4, 5)}
    assert torch.equal(alike, alike.T) and torch.equal(compared, compared.T)
    apart = {(i, j) for i, j in (~compared).nonzero().tolist() if i < j}
    assert apart == {(4, 6), (5, 6)}, "O words that are not near are not pushed apart"
    entities, _ = Contrastive(base=Finetuning(), outside=False).pairs(WORDS, CLASSES, 5)
    assert {(i, j) for i, j in entities.nonzero().tolist() if i < j} == {(0, 1), (2, 3)}


@pytest.mark.parametrize("classes", [[], [0], [2], [0, 0], [1, 2], [1, 0, 0]])
def test_without_two_words_of_a_class_it_is_zero_in_the_graph(classes: list[int]) -> None:
    """One word of a class would be as near as can be to its mean."""
    units = WORDS[: len(classes)].requires_grad_()
    alike, compared = Contrastive(base=Finetuning()).pairs(units.detach(), torch.tensor(classes, dtype=torch.long), 5)
    term = losses.contrast(units, alike, compared, 0.07)
    assert term.total.item() == 0 and term.count.item() == 0
    (gradient,) = torch.autograd.grad(term.total, units)
    assert not gradient.any()


def tag_output(z: Tensor) -> TagOutput:
    """The output of a head for the words above, in one sentence."""
    return TagOutput(z, WORDS[None], torch.zeros(z.size(-1), 2), States.of_words(WORDS[None]))


def contrast_of(method: Contrastive, batch: Batch) -> LossSum:
    """The contrast of a batch of the words above. The teacher finds the old tag 1 in the third and the last word."""
    z = torch.zeros(*batch.targets.shape, 5)
    z_old = torch.zeros(*batch.targets.shape, 3)
    z_old[0, 2, 1], z_old[0, 6, 1] = 9.0, 2.0
    student: Any = Mock(return_value=tag_output(z))
    student.head.loss.return_value = LossSum(z.sum(), z.sum())
    teacher: Any = SimpleNamespace(recall=lambda name, _: method.teacher_outputs[name](tag_output(z_old)))
    return method.losses(student, teacher, batch)["contrast"]


def test_sure_old_entities_are_classes_and_what_may_be_new_is_left_out() -> None:
    targets = torch.tensor([[3, 3, 0, 0, 0, IGNORE, 0]])
    batch = Batch(torch.tensor([0]), {}, torch.ones(1, 7, dtype=torch.bool), targets)
    for confidence, classes in ((0.98, [3, 3, 1, 0, 0, 0]), (0.7, [3, 3, 1, 0, 0, 1]), (1.0, [3, 3, 0, 0, 0, 0])):
        method = Contrastive(base=Finetuning(), confidence=confidence, weight=1)
        words = WORDS[[0, 1, 2, 3, 4, 6]]
        expected = losses.contrast(words, *method.pairs(words, torch.tensor(classes), 5), 0.07)
        term = contrast_of(method, batch)
        torch.testing.assert_close((term.total, term.count), (expected.total, expected.count))
    partly = replace(batch, unknown=torch.tensor([[False, False, False, True, True]]))
    method, words = Contrastive(base=ExtendNER(), confidence=0.7), WORDS[[0, 1, 2, 6]]
    assert method.learns_partly
    method = replace(method, base=Finetuning(), weight=1)
    expected = losses.contrast(words, *method.pairs(words, torch.tensor([3, 3, 1, 1]), 5), 0.07)
    torch.testing.assert_close(contrast_of(method, partly).total, expected.total)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The stores of ExtendNER, of a contrast without weight around it, and of the contrast."""
    folder = tmp_path_factory.mktemp("stores")
    neutral = "method={name: contrastive, weight: 0, base: {name: extend_ner}}"
    ways = {"base": "method.name=extend_ner", "neutral": neutral, "contrast": CONTRAST}
    for name, method in ways.items():
        run(runs.small(folder / name, *SETTINGS, method), runs.silent)
    return {name: folder / name for name in ways}


def test_without_weight_it_is_its_base_bit_for_bit(stores: dict[str, Path]) -> None:
    base, neutral, contrast = (list(runs.weights(store).values()) for store in stores.values())
    assert sorted(base) == sorted(neutral) != sorted(contrast)
    terms = runs.ledger(stores["contrast"]).records()[1].epochs[0].losses
    assert set(terms) == {"ce", "kd", "contrast"} and terms["contrast"] > 0
    assert set(runs.ledger(stores["neutral"]).records()[1].epochs[0].losses) == {"ce", "kd"}
    first = {runs.ledger(store).planned[0].fingerprint for store in stores.values()}
    assert len(first) == 1, "the first step has no teacher, and is shared"


def test_a_lost_step_is_made_again_bit_for_bit(stores: dict[str, Path], tmp_path: Path) -> None:
    store = shutil.copytree(stores["contrast"], tmp_path / "store")
    shutil.rmtree(store / "steps" / runs.ledger(store).planned[1].fingerprint)
    run(runs.small(store, *SETTINGS, CONTRAST), runs.silent)
    assert runs.weights(store) == runs.weights(stores["contrast"])


def test_a_batch_is_not_computed_in_parts() -> None:
    wrapped = f"method={{name: duplet, base: {CONTRAST[7:]}}}"
    for method in (CONTRAST, wrapped):
        for parts in ("compute.workers=2", "optim.accumulate=2"):
            with pytest.raises(InputError, match="compares the words of a whole batch"):
                RunConfig.load([method, parts])
    RunConfig.load(["method={name: contrastive, weight: 0, base: {name: extend_ner}}", "optim.accumulate=2"])


@pytest.mark.parametrize("frozen", ["after_first", "always"])
def test_a_frozen_encoder_has_no_states_to_move(frozen: str) -> None:
    model = f"model.encoder={{name: pretrained, frozen: {frozen}}}"
    with pytest.raises(InputError, match="moves the states of an encoder"):
        RunConfig.load([f"method={{name: duplet, base: {CONTRAST[7:]}}}", model])
    RunConfig.load(["method={name: contrastive, weight: 0, base: {name: extend_ner}}", model])


def test_what_cannot_be_wrapped_is_refused() -> None:
    with pytest.raises(ValueError, match="contrasted once"):
        Contrastive(base=Duplet(base=Contrastive(base=ExtendNER())))
    assert DER(base=Contrastive(base=ExtendNER())).label == "der(contrastive(extend_ner))"
    for settings, message in (
        ("weight: -1", "weight is not negative"),
        ("temperature: 0", "temperature is above 0"),
        ("confidence: 2", "from 0 to 1"),
    ):
        with pytest.raises(InputError, match=message):
            RunConfig.load([f"method={{name: contrastive, {settings}, base: {{name: extend_ner}}}}"])
    with pytest.raises(InputError, match="span_kl does not train tag heads"):
        RunConfig.load(["method={name: contrastive, base: {name: span_kl}}", "model.head.name=spans"])
