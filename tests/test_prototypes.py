"""Prototypes of tags: what a step stores of its own, and what later steps learn from those of old ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

import runs
from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.retyping import Retyping
from raycner.data.scenarios.scenario import Scenario
from raycner.errors import InputError
from raycner.networks.class_statistics import ClassStatistics
from raycner.networks.losses import prototype_cross_entropy
from raycner.networks.network import Network
from raycner.networks.retyping import retyped
from raycner.orchestration.runner import run
from raycner.training.class_means import with_prototypes
from raycner.training.loader import SplitLoader

SETTINGS = ("method={name: extend_ner}",)
REHEARSED = (*SETTINGS, "method.prototype_weight=0.1")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run of three steps."""
    folder = tmp_path_factory.mktemp("prototypes")
    run(runs.small(folder, *REHEARSED), runs.silent)
    return folder


def steps(store: Path) -> list[tuple[ClassStatistics, dict[str, Tensor]]]:
    """What each step stores of its tags, and its other weights."""
    fingerprints = [step.fingerprint for step in runs.ledger(store).planned]
    weights = [load_file(store / "steps" / fingerprint / "weights.safetensors") for fingerprint in fingerprints]
    return [ClassStatistics.split(of_step) for of_step in weights]


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_they_are_means_of_unit_features(head: str, tiny_corpus: Corpus, tiny_config: RunConfig) -> None:
    network = Network(RunConfig.load([*runs.SMALL, f"model.head.name={head}"]).model)
    for experience in Scenario(tiny_config.scenario, [tiny_corpus])[:2]:
        network.start_step(experience.inventory, [s.words for s in experience.train.sentences()])
    network.statistics = ClassStatistics(prototypes={"B-old": torch.ones(3)})
    statistics = with_prototypes(network, experience.train)
    batch = SplitLoader(experience.train, network).batch(range(len(experience.train)))
    with network.eval_mode():
        features = network.head.imprint_features(network.states(batch), batch)[batch.mask].double().numpy()
    units = features / np.linalg.norm(features, axis=-1, keepdims=True)
    of_new_types = [tag for tag in network.head.tags if tag[2:] in experience.inventory.new]
    targets = batch.targets[batch.mask].numpy()
    expected = {tag: units[targets == network.head.tags.index(tag)] for tag in of_new_types}
    occurring = {tag: words.mean(0) for tag, words in expected.items() if len(words)}
    assert occurring and statistics.prototypes.keys() == {"B-old", *occurring}
    for tag, mean in occurring.items():
        np.testing.assert_allclose(statistics.prototypes[tag], mean, rtol=1e-4, atol=1e-6)


def test_each_step_adds_its_own_and_leaves_the_others_alone(store: Path) -> None:
    so_far: dict[str, Tensor] = {}
    for planned, (statistics, others) in zip(runs.ledger(store).planned, steps(store), strict=True):
        own = {tag for tag in statistics.prototypes if tag[2:] in planned.new}
        assert {f"B-{kind}" for kind in planned.new} <= own
        assert statistics.prototypes.keys() == so_far.keys() | own and not statistics.moments
        assert all(torch.equal(statistics.prototypes[tag], before) for tag, before in so_far.items())
        for prototype in statistics.prototypes.values():
            assert prototype.shape == (others["head.rows"].shape[1] - 1,) and 0 < prototype.norm() <= 1 + 1e-6
        so_far = dict(statistics.prototypes)


def test_later_steps_learn_from_them(store: Path, tmp_path: Path) -> None:
    run(runs.small(tmp_path, *SETTINGS), runs.silent)
    (_, first), *later = steps(store)
    (none, plain_first), *plain_later = steps(tmp_path)
    assert not none.prototypes
    torch.testing.assert_close(first, plain_first, rtol=0, atol=0)
    records, plain_records = runs.ledger(store).records(), runs.ledger(tmp_path).records()
    assert "prototypes" not in records[0].epochs[0].losses
    for record, plain_record in zip(records[1:], plain_records[1:], strict=True):
        assert record.epochs[-1].losses["prototypes"] > 0
        assert record.epochs[0].losses.keys() - plain_record.epochs[0].losses.keys() == {"prototypes"}

    def rehearsed(statistics: ClassStatistics, weights: dict[str, Tensor]) -> float:
        tags = ["O", *(f"{prefix}-{kind}" for record in records for kind in record.new for prefix in "BI")]
        m, places = statistics.prototypes_of(tags, like=weights["head.rows"])
        loss = prototype_cross_entropy(weights["head.rows"], m, places)
        return float(loss.total / loss.count)

    before = steps(store)[1][0]
    assert rehearsed(before, later[-1][1]) < rehearsed(before, plain_later[-1][1])


def test_weights_above_0_share_the_first_step_and_0_names_no_other_step(store: Path, tmp_path: Path) -> None:
    events: list[object] = []
    run(runs.small(store, *REHEARSED), events.append)
    assert len([*store.glob("steps/*")]) == 3, "a finished run trains nothing"
    other = shutil.copytree(store, tmp_path / "other")
    run(runs.small(other, *SETTINGS, "method.prototype_weight=0.5"), runs.silent)
    assert len([*other.glob("steps/*")]) == 5
    run(runs.small(tmp_path / "none", *SETTINGS), runs.silent)
    run(runs.small(tmp_path / "none", *SETTINGS, "method.prototype_weight=0"), runs.silent)
    assert len([*(tmp_path / "none").glob("steps/*")]) == 3


def test_a_lost_step_is_trained_again_bit_for_bit(store: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(store, tmp_path / "damaged")
    shutil.rmtree(damaged / "steps" / runs.ledger(damaged).planned[1].fingerprint)
    run(runs.small(damaged, *REHEARSED), runs.silent)
    assert runs.weights(damaged) == runs.weights(store)


def test_feature_replay_moves_its_means_alone(tmp_path: Path) -> None:
    run(runs.small(tmp_path, *REHEARSED, "optim.feature_replay=0.5"), runs.silent)
    (first, _), *_, (last, _) = steps(tmp_path)
    assert first.prototypes and first.moments.keys() <= last.moments.keys()
    assert all(torch.equal(last.prototypes[tag], prototype) for tag, prototype in first.prototypes.items())
    assert not any(torch.equal(last.moments[tag], moments) for tag, moments in first.moments.items())


def test_they_follow_their_types() -> None:
    network = Network(RunConfig.load(runs.SMALL).model)
    network.start_step(network.inventory.grow(("old", "new")), [["one", "two"]])
    network.finalize()
    network.statistics = ClassStatistics(prototypes={"B-old": torch.ones(network.head.width)})
    assert retyped(network, Retyping(rename={"old": "older"})).statistics.prototypes.keys() == {"B-older"}
    assert not retyped(network, Retyping(drop=("old",))).statistics.prototypes
    assert not retyped(network, Retyping(merge={"one": ("old", "new")})).statistics.prototypes


def test_without_any_the_loss_is_zero_in_the_graph() -> None:
    weight = torch.randn(5, 4, requires_grad=True)
    loss = prototype_cross_entropy(weight, *ClassStatistics().prototypes_of(["O", "B-x"], like=weight))
    torch.autograd.backward(loss.total)
    assert (loss.total.item(), loss.count.item()) == (0.0, 0)
    assert weight.grad is not None and not weight.grad.any()


def test_rows_without_a_bias_read_the_prototype_alone() -> None:
    weight, m = torch.randn(5, 4), torch.randn(2, 4)
    tags = torch.tensor([1, 3])
    torch.testing.assert_close(
        prototype_cross_entropy(weight, m, tags).total, F.cross_entropy(m @ weight.T, tags, reduction="sum")
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["method={name: extend_ner, prototype_weight: -1}"], "prototype_weight -1.*: not negative"),
        (["method={name: duplet, base: {name: extend_ner, prototype_weight: 0.1}}"], "would rehearse them twice"),
        (["method={name: extend_ner}", "at.2.method.prototype_weight=0.1"], "which the steps before do not store"),
    ],
)
def test_what_cannot_be_rehearsed(settings: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunConfig.load(settings)


def test_a_step_may_leave_them_alone() -> None:
    config = RunConfig.load(["method={name: extend_ner, prototype_weight: 0.1}", "at.3.method.prototype_weight=0"])
    assert config.for_step(2).method.needs_prototypes is False
