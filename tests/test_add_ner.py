"""AddNER: what its blocks must never do to each other. Its loss is recomputed in `test_parity.py`."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from raycner.errors import InputError
from raycner.methods.add_ner import AddNER
from raycner.methods.method import Method
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.head import HEADS, GrowthConfig
from raycner.networks.heads.stepwise import StepwiseHead
from raycner.settings import build
from test_methods import ONE, TWO

THREE = TWO.grow(("food",))
TARGETS = torch.tensor([[0, 7, -100, 8]])
BATCH = Batch(torch.tensor([0]), {}, TARGETS >= 0, TARGETS)
WIDTH = 4


def networks(seed: int = 0) -> tuple[Any, Any]:
    """A student of three blocks that grew from a teacher of two and moved on; both read the same states."""
    torch.manual_seed(seed)
    old: StepwiseHead = HEADS["stepwise"](init_std=1.0).build(WIDTH)
    for inventory in (ONE, TWO):
        old.grow(inventory, GrowthConfig())
    new = copy.deepcopy(old)
    new.grow(THREE, GrowthConfig())
    with torch.no_grad():
        new.rows += 0.3 * torch.randn_like(new.rows)
    states = States.of_words(torch.randn(1, 4, WIDTH))
    return network_of(new, states), network_of(old, states)


def network_of(head: StepwiseHead, states: States) -> Any:
    class Reading(SimpleNamespace):
        def __call__(self, batch: Batch) -> Any:
            return head(states, batch)

    return Reading(head=head, inventory=head.inventory)


def test_each_block_is_taught_by_one_loss_only() -> None:
    student, teacher = networks()
    terms = AddNER().losses(student, teacher, BATCH)
    ce, kd = (torch.autograd.grad(terms[name].total, student.head.rows, retain_graph=True)[0] for name in ("ce", "kd"))
    assert not ce[:6].any() and ce[6:].any(-1).all()
    assert kd[:6].any(-1).all() and not kd[6:].any(), "a new block takes no mass from an old one"


def test_growing_changes_no_old_output() -> None:
    _, teacher = networks()
    grown = copy.deepcopy(teacher.head)
    grown.grow(THREE, GrowthConfig())
    states = States.of_words(torch.randn(1, 4, WIDTH))
    terms = AddNER().losses(network_of(grown, states), network_of(teacher.head, states), BATCH)
    assert terms["kd"].total.item() == pytest.approx(0, abs=1e-6)
    assert terms["ce"].total.item() > 0


def test_padding_weighs_nothing() -> None:
    """The defect of the SpanKL code: its means count padding."""
    student, teacher = networks()
    counts = {name: term.count.item() for name, term in AddNER().losses(student, teacher, BATCH).items()}
    assert counts == {"ce": 3, "kd": 3}


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"kd_weight": -1.0}])
def test_invalid_values_are_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="kd_weight is not negative"):
        build(Method, {"name": "add_ner", **wrong})
