"""PODNet: what is missing from its published form. Its loss is recomputed in `test_parity.py`."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from raycner.errors import InputError
from raycner.methods.method import Method
from raycner.methods.podnet import PODNet, pooled
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.tag_head import TagOutput
from raycner.settings import build
from test_methods import ONE, TWO, FixedNetwork, losses_of

TARGETS = torch.tensor([[0, 3, 0]])
BATCH = Batch(torch.tensor([0]), {}, TARGETS >= 0, TARGETS)
Z = [[1.0, -0.5, 0.2, 0.8, -1.0], [0.1, 0.2, -0.3, 1.5, 1.6], [0.6, 0.9, -0.2, -0.4, 0.3]]
"""The student's logits: O, B-animal, I-animal, and the new B-city, I-city."""
LAYERS = torch.tensor(
    [[[[9.0, 9.0], [3.0, 4.0], [2.0, 0.0], [0.0, 5.0]]], [[[9.0, 9.0], [1.0, 0.0], [2.0, 1.0], [1.0, 1.0]]]]
)
"""[layers, B, L, H]: three words behind one slot that stands for none."""
LAYERS_OLD = torch.tensor(
    [[[[0.0, 1.0], [0.0, 2.0], [7.0, 0.0], [-5.0, 0.0]]], [[[1.0, 1.0], [2.0, 0.0], [3.0, 3.0], [0.0, 2.0]]]]
)


def output_of(layers: Tensor, logits: Tensor) -> TagOutput:
    words = layers[-1][:, 1:]
    states = States(words, layers[-1], tuple(layers), torch.tensor([[1, 2, 3]]))
    return TagOutput(logits, words, torch.zeros(logits.size(-1), 2), states)


def toy() -> tuple[Any, Any]:
    student, teacher = (FixedNetwork(i, torch.zeros(1, 3, 2), torch.zeros(1, 2)) for i in (TWO, ONE))
    student.output, teacher.output = output_of(LAYERS, torch.tensor([Z])), output_of(LAYERS_OLD, torch.zeros(1, 3, 3))
    return student, teacher


def test_published_values_are_the_defaults() -> None:
    assert PODNet() == PODNet(scale=1.0, margin=0.6, flat_weight=1.0, spatial_weight=1.0)
    assert PODNet() == PODNet(nca="margin", spatial_gradient=True), "published: cancelled, False"


def test_the_published_margin_changes_nothing() -> None:
    near, far = (losses_of(PODNet(nca="cancelled", margin=m), *toy(), BATCH)["nca"].total.item() for m in (0.0, 2.0))
    assert near == far == pytest.approx(math.log(sum(math.exp(z) for z in (0.1, 0.2, -0.3, 1.6, 1.6))) - 1.5)
    near, far = (losses_of(PODNet(margin=m), *toy(), BATCH)["nca"].total.item() for m in (0.0, 2.0))
    assert far == pytest.approx(near + 2.0)


def test_the_published_spatial_term_trains_nothing() -> None:
    layers = LAYERS.clone().requires_grad_()
    student, teacher = toy()
    student.output = output_of(layers, torch.tensor([Z]))
    trained, constant = (
        losses_of(PODNet(spatial_gradient=gradient), student, teacher, BATCH)["spatial"].total
        for gradient in (True, False)
    )
    assert trained.item() == constant.item()
    assert not constant.requires_grad
    (gradient,) = torch.autograd.grad(trained, layers)
    assert gradient[0, 0, 1].any() and gradient[0, 0, 3].any()
    assert not gradient[:, :, [0, 2]].any(), "words of new types, and slots that stand for no word"


def test_layers_are_pooled_in_the_precision_of_the_weights() -> None:
    student, _ = toy()
    states = student.output.source
    fine = states._replace(words=states.words.double())
    assert (pooled(states).dtype, pooled(fine).dtype) == (torch.float32, torch.float64)


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"margin": -1.0}, {"spatial_weight": -1.0}])
def test_invalid_values_are_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not negative"):
        build(Method, {"name": "podnet", **wrong})
