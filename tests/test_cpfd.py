"""CPFD: its thresholds and its losses against plain numpy."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.scenario import Scenario
from raycner.methods.cpfd import CPFD, Thresholds, uncertainty
from raycner.networks.batch import Batch
from raycner.networks.losses import IGNORE
from raycner.networks.network import Network
from raycner.training.loader import SplitLoader
from raycner.training.teacher import Teacher


def softmax(x: Any) -> Any:
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def test_losses_equal_the_calculation_in_numpy() -> None:
    z, z_old = np.random.RandomState(0).randn(5, 5), np.asarray([[3, 0, 0], [0, 0, 0], [0, 5, 0], [0, 2, 0], [1, 0, 0]])
    targets = torch.tensor([[0, 3, 0, 0, IGNORE]])  # O, new, old and certain, old and uncertain, no word
    student: Any = lambda _: SimpleNamespace(logits=torch.tensor(z[None]))  # noqa: E731
    student.head = SimpleNamespace(num_old=3)
    student.inventory = TypeInventory(("a", "b", "c", "d", "e"), (4, 1))
    teacher: Any = lambda _: SimpleNamespace(logits=torch.tensor(z_old[None]).double())  # noqa: E731
    limits = torch.tensor([torch.inf, 0.5])
    batch = Batch(torch.tensor([0]), {}, targets >= 0, targets).with_column(Thresholds(limits))
    terms = CPFD(kd_weight=2.0).losses(student, teacher, batch)
    p, p_old = softmax(z), softmax(z_old)
    entropies = -(p_old * np.log(p_old)).sum(-1) / np.log(3)
    assert entropies[2] < 0.5 < entropies[3]
    share, boost = 2 / 3, 0.5 + 1 / (1 + np.exp(-1.0))  # one old word, one new
    ce = -share * (np.log(p[0, 0]) + np.log(p[1, 3]) + boost * np.log(p[2, 1]))
    kd = sum((p_old[i] * (np.log(p_old[i]) - np.log(p[i, :3]))).sum() for i in (0, 2, 3))
    assert terms["ce"].total.item() == pytest.approx(ce)
    assert terms["kd"].total.item() == pytest.approx(2.0 * 2.0 * kd), "sqrt(4 / 1) of the adaptive weight"
    assert (terms["ce"].count.item(), terms["kd"].count.item()) == (3, 3)


@pytest.mark.parametrize(("quantile", "spare_outside"), [(0.5, True), (0.5, False), (1.0, False)])
def test_a_tag_keeps_the_certain_share_of_its_words(
    quantile: float, spare_outside: bool, tiny_config: RunConfig, tiny_corpus: Corpus
) -> None:
    first, second, *_ = Scenario(tiny_config.scenario, [tiny_corpus])
    network = Network(tiny_config.model).double()
    network.start_step(first.inventory, [s.words for s in first.train.sentences()])
    with torch.no_grad():
        network.head.rows.add_(torch.randn_like(network.head.rows))
    method = CPFD(quantile=quantile, spare_outside=spare_outside)
    limits = method.annotate(second.train, Teacher(network.eval(), Path())).column(Thresholds).entropies
    batch = SplitLoader(second.train, network).batch(range(len(second.train)))
    logits = network.forward_eval(batch).logits[batch.targets == 0]
    best, entropies = logits.argmax(-1), uncertainty(logits)
    for tag, limit in enumerate(limits.tolist()):
        own = entropies[best == tag]
        if tag == 0 and spare_outside:
            assert limit == torch.inf
        elif len(own):
            assert (own <= limit + 1e-9).double().mean() >= quantile
            assert limit <= own.max() + 1e-9
