"""LUCIR: what its terms must never ask for. Its loss is recomputed in `test_parity.py`."""

import dataclasses
import math
from typing import Any

import pytest
import torch

from raycner.errors import InputError
from raycner.methods.lucir import LUCIR
from raycner.methods.method import METHODS, Method, tag_balance
from raycner.networks.batch import Batch
from raycner.settings import build
from test_methods import ONE, TWO, FixedNetwork

TARGETS = torch.tensor([[0, 3, 0, -100]])
BATCH = Batch(torch.tensor([0]), {}, TARGETS >= 0, TARGETS)
Z = [[1.0, -0.5, 0.2, 0.8, -1.0], [0.1, 0.2, -0.3, 1.5, 0.4], [0.6, 0.9, -0.2, -0.4, 0.3], [9.0, 9.0, 9.0, 9.0, 9.0]]
"""The student's logits: O, B-animal, I-animal, and the new B-city, I-city."""
STATES = torch.tensor([[[3.0, 0.0], [5.0, 1.0], [1.0, 1.0], [0.0, 1.0]]])
STATES_OLD = torch.tensor([[[1.0, 0.0], [-5.0, 1.0], [0.0, 2.0], [1.0, 0.0]]])


def toy() -> tuple[Any, Any]:
    """A student and a teacher whose states are those above; the student's logits are Z."""
    student = FixedNetwork(TWO, STATES, torch.zeros(5, 2))
    student.output = dataclasses.replace(student.output, logits=torch.tensor([Z]))
    return student, FixedNetwork(ONE, STATES_OLD, torch.zeros(3, 2))


def test_published_values_are_the_defaults() -> None:
    assert LUCIR() == LUCIR(feature_weight=50.0, margin_weight=1.0, margin=0.5, top=1)


def test_the_factor_counts_tags_and_outside_is_an_old_one() -> None:
    assert tag_balance(7, 9) == pytest.approx(math.sqrt(7 / 2))


def test_the_margin_holds_outside_above_new_tags_and_asks_nothing_of_old_ones() -> None:
    student, teacher = toy()
    z = student.output.logits.requires_grad_()
    (gradient,) = torch.autograd.grad(LUCIR(margin=3.0).losses(student, teacher, BATCH)["margin"].total, z)
    assert gradient[0, 0].tolist() == [-1, 0, 0, 1, 0]
    assert gradient[0, 2].tolist() == [-1, 0, 0, 0, 1]
    assert not gradient[0, 1].any() and not gradient[0, 3].any()


@pytest.mark.parametrize("wrong", [{"top": 0}, {"margin": -1.0}, {"feature_weight": -1.0}])
def test_invalid_values_are_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not negative"):
        build(Method, {"name": "lucir", **wrong})
    assert METHODS["lucir"] is LUCIR
