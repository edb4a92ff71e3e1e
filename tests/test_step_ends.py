"""How a step ends: the weights of the step before mixed in, new rows scaled to the norm of the old ones."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import runs
from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.scenario import Scenario
from raycner.errors import InputError
from raycner.networks.network import Network
from raycner.orchestration.runner import run
from raycner.training.fusion import fisher_information, fuse, largest
from raycner.training.loader import SplitLoader
from raycner.training.teacher import Teacher

SETTINGS = ("scenario.order=[location, person]", "scenario.corpus.sentences=60", "method.name=extend_ner")


def steps(store: Path) -> list[dict[str, Tensor]]:
    fingerprints = [step.fingerprint for step in runs.ledger(store).planned]
    return [load_file(store / "steps" / fingerprint / "weights.safetensors") for fingerprint in fingerprints]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("ends")
    for name, setting in {
        "plain": "seed=0",
        "fused": "optim.fusion=0.25",
        "partly": "optim={fusion: 0.25, fusion_share: 0.3}",
        "aligned": "model.growth.align=true",
    }.items():
        run(runs.small(folder / name, *SETTINGS, setting), runs.silent)
    return {path.name: path for path in folder.iterdir()}


def test_a_step_ends_with_a_mixture(stores: dict[str, Path]) -> None:
    (before, alone), (shared, fused) = steps(stores["plain"]), steps(stores["fused"])
    torch.testing.assert_close(shared, before, rtol=0, atol=0)
    for name, tensor in alone.items():
        old = len(before[name])
        mixed = 0.25 * before[name] + 0.75 * tensor[:old]
        torch.testing.assert_close(fused[name], torch.cat([mixed, tensor[old:]]))
    assert len(fused["head.rows"]) > len(before["head.rows"])


def test_a_share_of_each_tensor_is_mixed(stores: dict[str, Path]) -> None:
    (before, alone), (_, partly) = steps(stores["plain"]), steps(stores["partly"])
    for name, tensor in alone.items():
        old = len(before[name])
        if not tensor.is_floating_point() or not old:
            continue
        moved = (0.25 * before[name] + 0.75 * tensor[:old] - tensor[:old]).abs() > 1e-7
        is_mixed = (partly[name][:old] - (0.25 * before[name] + 0.75 * tensor[:old])).abs() < 1e-7
        is_kept = torch.isclose(partly[name][:old], tensor[:old])
        assert (is_mixed | is_kept).all(), name
        assert (is_mixed & moved).sum() <= max(1, round(0.3 * moved.numel())), name
        assert torch.equal(partly[name][old:], tensor[old:])
    assert any(not torch.equal(partly[name], tensor) for name, tensor in alone.items())


def test_the_largest_share_of_a_tensor() -> None:
    assert largest(torch.tensor([[0.1, 5.0], [2.0, 3.0]]), 0.5).tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert largest(torch.zeros(7), 0.01).sum() == 1
    assert largest(torch.rand(9), 1.0).sum() == 9


def test_fisher_information_is_the_square_of_gradients(tiny_config: RunConfig, tiny_corpus: Corpus) -> None:
    first, *_ = Scenario(tiny_config.scenario, [tiny_corpus])
    torch.manual_seed(0)
    network = Network(tiny_config.model)
    network.start_step(first.inventory, [s.words for s in first.train.sentences()])
    with torch.no_grad():
        network.head.rows.normal_()
    one = replace(first.train, rows=first.train.rows[:1])
    fisher = fisher_information(network, Teacher(network, Path()), one)
    batch = SplitLoader(one.with_pseudo([frozenset(network.predict(SplitLoader(one, network).batch([0]))[0])]), network)
    batch = SplitLoader(replace(batch.split, visible=frozenset()), network).batch([0])
    loss = network.head.loss(network(batch), batch)
    (loss.total / loss.count).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(fisher[name], parameter.grad.square(), msg=name)


def test_new_rows_end_with_the_norm_of_old_ones(stores: dict[str, Path]) -> None:
    (before, alone), (_, aligned) = steps(stores["plain"]), steps(stores["aligned"])
    old = len(before["head.rows"])
    assert torch.equal(aligned["head.rows"][:old], alone["head.rows"][:old])
    new, rows = aligned["head.rows"][old:], alone["head.rows"]
    norms = [part[:, :-1].norm(dim=-1).mean() for part in (rows[:old], new)]
    assert norms[1].item() == pytest.approx(norms[0].item(), rel=1e-5)
    torch.testing.assert_close(new / new.norm(), rows[old:] / rows[old:].norm())


def test_what_the_step_before_did_not_have_is_not_mixed(tiny_config: RunConfig) -> None:
    before = Network(tiny_config.model)
    before.start_step(TypeInventory().grow(("a",)), [["one"]])
    network = copy.deepcopy(before)
    network.start_step(before.inventory.grow(("b",)), [["two", "three"]])
    network.finalize()
    old, new = network.head.weight[:3].clone(), network.head.weight[3:].clone()
    fuse(network, before, 0.5)
    torch.testing.assert_close(network.head.weight, torch.cat([0.5 * (old + before.head.weight), new]))


def test_bad_values_are_refused() -> None:
    for settings, message in (
        (["optim.fusion=1"], "fusion 1.0: a share from 0"),
        (["optim.fusion_share=0"], "fusion_share 0.0: a share above 0"),
        (["method.name=span_kl", "model.head.name=spans", "model.growth.align=true"], "no rows to align"),
    ):
        with pytest.raises(InputError, match=message):
            RunConfig.load(settings)
