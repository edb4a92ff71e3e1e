"""RDP: its prototypes and its losses against plain numpy."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.scenarios.scenario import Scenario
from raycner.methods.rdp import RDP, Prototypes
from raycner.networks.batch import Batch
from raycner.networks.losses import IGNORE
from raycner.networks.network import Network
from raycner.training.loader import SplitLoader
from raycner.training.teacher import Teacher


def softmax(x: Any) -> Any:
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


@pytest.mark.parametrize("prototypes", ["mean", "none"])
def test_losses_equal_the_calculation_in_numpy(prototypes: Any) -> None:
    draw = np.random.RandomState(0)
    z, z_old, states, means = draw.randn(4, 5), draw.randn(4, 3), draw.randn(4, 2), draw.randn(3, 2)
    means[2] = np.inf  # the teacher gives this tag to no word
    targets = torch.tensor([[0, 3, 0, IGNORE]])
    student: Any = lambda _: SimpleNamespace(logits=torch.tensor(z[None]))  # noqa: E731
    teacher: Any = lambda _: SimpleNamespace(logits=torch.tensor(z_old[None]), states=torch.tensor(states[None]))  # noqa: E731
    batch = Batch(torch.tensor([0]), {}, targets >= 0, targets).with_column(Prototypes(torch.tensor(means)))
    method = RDP(kd_weight=2.0, soft_weight=0.3, entropy_weight=0.1, prototypes=prototypes)
    terms = method.losses(student, teacher, batch)
    p, p_old, weights = softmax(z), softmax(z_old), softmax(-np.linalg.norm(states[:, None] - means, axis=-1))
    best = (p_old * weights if prototypes == "mean" else p_old).argmax(-1)
    pseudo = [best[0], 3, best[2]]
    one_hot = np.eye(5)[[0, 3, 0, 0]][:, 3:]
    soft = softmax(np.concatenate([1 / (1 + np.exp(-z_old)), one_hot], axis=1))
    expected = {
        "ce": -np.log(p[[0, 1, 2], pseudo]).sum(),
        "kd": 2.0 * sum((p_old[i] * (np.log(p_old[i]) - np.log(p[i, :3]))).sum() for i in (0, 2)),
        "soft": -0.3 * (soft * np.log(p))[:3].mean(-1).sum(),
        "entropy": -0.1 * (p * np.log(p))[:3].mean(-1).sum(),
    }
    assert {name: term.total.item() for name, term in terms.items()} == pytest.approx(expected)
    assert [term.count.item() for term in terms.values()] == [3, 2, 3, 3]


def test_prototypes_are_the_mean_states_of_the_teachers_tags(tiny_config: RunConfig, tiny_corpus: Corpus) -> None:
    first, second, *_ = Scenario(tiny_config.scenario, [tiny_corpus])
    network = Network(tiny_config.model).double()
    network.start_step(first.inventory, [s.words for s in first.train.sentences()])
    with torch.no_grad():
        network.head.rows.add_(torch.randn_like(network.head.rows))
    means = RDP().annotate(second.train, Teacher(network.eval(), Path())).column(Prototypes).means
    batch = SplitLoader(second.train, network).batch(range(len(second.train)))
    output = network.forward_eval(batch)
    states, best = output.states[batch.mask].numpy(), output.logits[batch.mask].argmax(-1).numpy()
    for tag, mean in enumerate(means.numpy()):
        own = states[best == tag]
        assert np.allclose(mean, own.mean(0)) if len(own) else np.isinf(mean).all()
