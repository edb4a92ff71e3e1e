"""Feature replay: what is stored of a tag, how it moves with the encoder, and what rows learn from it."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

import raycner
import runs
from raycner.config import RunConfig
from raycner.data.metrics import recall
from raycner.data.retyping import Retyping
from raycner.errors import InputError
from raycner.networks.class_statistics import LEAST_VARIANCE, ClassStatistics
from raycner.networks.network import Network
from raycner.networks.retyping import retyped
from raycner.orchestration.runner import run
from raycner.training.feature_replay import RIDGE, align_by_dev, align_rows, lack, moved
from raycner.training.selection import WEIGHTS

SETTINGS = (*runs.SMALL, "method={name: extend_ner}", "scenario.corpus.sentences=240", "optim.epochs=4")
REPLAYED = (*SETTINGS, "optim.feature_replay=0.5")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run of three steps."""
    folder = tmp_path_factory.mktemp("replayed")
    run(RunConfig.load([*REPLAYED, f"store={folder}"]), runs.silent)
    return folder


def weights(store: Path) -> list[dict[str, Tensor]]:
    """Those of each step."""
    fingerprints = [step.fingerprint for step in runs.ledger(store).planned]
    return [load_file(store / "steps" / fingerprint / "weights.safetensors") for fingerprint in fingerprints]


def test_a_step_stores_mean_and_variance_of_each_tag(store: Path) -> None:
    types = [step.new for step in runs.ledger(store).planned]
    so_far: set[str] = set()
    for new, tensors in zip(types, weights(store), strict=True):
        so_far |= {f"{prefix}-{kind}" for kind in new for prefix in "BI"}
        statistics, others = ClassStatistics.split(tensors)
        assert {f"B-{kind}" for kind in new} <= statistics.moments.keys() <= so_far
        assert not any(name.startswith("statistics") for name in others)
        for moments in statistics.moments.values():
            assert moments.shape == (2, others["head.rows"].shape[1] - 1) and (moments[1] >= LEAST_VARIANCE).all()
    features = torch.randn(7, 5)
    mean, variance = ClassStatistics({}).observe("B-x", features).moments["B-x"]
    np.testing.assert_allclose(mean, features.numpy().mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, features.numpy().var(0, ddof=1) + LEAST_VARIANCE, rtol=1e-5)


def test_means_move_as_the_features_of_words_do() -> None:
    draw = np.random.RandomState(0)
    before, now = draw.randn(20, 3), draw.randn(20, 3)
    mean, variance = draw.randn(3), 0.5 + draw.rand(3)
    statistics = ClassStatistics({"B-x": torch.tensor(np.stack([mean, variance]))})
    after = moved(statistics, torch.tensor(before), torch.tensor(now)).moments["B-x"]
    words = np.c_[before, np.ones(20)]
    gram = words.T @ words
    drift = np.linalg.inv(gram + RIDGE * np.diag(gram).mean() * np.eye(4)) @ words.T @ (now - before)
    np.testing.assert_allclose(after[0], mean + np.r_[mean, 1.0] @ drift)
    np.testing.assert_allclose(after[1], variance)
    still = moved(statistics, torch.tensor(before), torch.tensor(before)).moments["B-x"]
    torch.testing.assert_close(still, statistics.moments["B-x"])


@pytest.fixture
def network() -> Network:
    """A network that has forgotten B-old: its mean feature is read as B-new."""
    torch.manual_seed(0)
    network = Network(RunConfig.load(SETTINGS).model)
    for kind in ("old", "new"):
        network.start_step(network.inventory.grow((kind,)), [["one", "two"]])
    network.finalize()
    with torch.no_grad():
        network.head.rows.zero_()
        network.head.rows[network.head.tags.index("B-new"), 0] = 3.0
    mean = torch.zeros(network.head.width)
    mean[:2] = 1.0
    network.statistics = ClassStatistics({"B-old": torch.stack([mean, torch.full_like(mean, 0.01)])})
    return network


def test_rows_learn_to_tell_old_tags_and_hold_the_words_of_the_step(network: Network) -> None:
    words = torch.zeros(50, network.head.width)
    words[:25, 0] = 1.0  # of the new type: without the second feature, which words of the old one have
    head = network.head

    def logits(features: Tensor) -> Tensor:
        return F.pad(features, (0, 1), value=1.0) @ head.rows.detach().T

    before = logits(words).softmax(-1)
    mean = network.statistics.moments["B-old"][0]
    assert head.tags[int(logits(mean).argmax())] == "B-new"
    align_rows(network, words, {"B-old": 1.0}, 0.5)
    assert head.tags[int(logits(mean).argmax())] == "B-old"
    assert torch.equal(logits(words).argmax(-1)[:25], before.argmax(-1)[:25])
    assert F.kl_div(logits(words).log_softmax(-1), before, reduction="batchmean") < 0.3


def test_a_tag_that_the_sentences_hold_counts_less(network: Network) -> None:
    features, tags = torch.randn(40, network.head.width), network.head.tags
    logits = np.c_[features.numpy(), np.ones(40)] @ network.head.row_weights.numpy().T
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    shares = lack(network, features, words=10.0)
    np.testing.assert_allclose([shares[tag] for tag in tags], 1 / (1 + probabilities.sum(0) / 10), rtol=1e-5)
    assert set(lack(network, features, words=0.0).values()) == {1.0}
    rows = network.head.row_weights.clone()
    align_rows(network, features, {"B-old": 1e-9}, 1.0)
    barely = (network.head.row_weights - rows).norm()
    network.head.row_weights = rows
    align_rows(network, features, {"B-old": 1.0}, 1.0)
    assert (network.head.row_weights - rows).norm() > 2 * barely


def test_the_weight_that_scores_best_on_dev_is_taken(network: Network) -> None:
    """Of equal scores that of the earlier one, and its rows with it."""
    features, trained = torch.randn(40, network.head.width), network.head.row_weights.clone()
    aligned = {}
    for weight in WEIGHTS:
        network.head.row_weights = trained
        align_rows(network, features, {"B-old": 1.0}, weight)
        aligned[weight] = network.head.row_weights.clone()
    assert (
        torch.equal(aligned[0.0], trained) and len({tuple(rows.flatten().tolist()) for rows in aligned.values()}) == 5
    )
    for scores, expected in (([0, 0, 0, 0, 0], 0.5), ([0, 1, 0, 1, 0], 1.0), ([0, 1, 0, 1, 2], 0.0)):
        network.head.row_weights = trained
        chosen = align_by_dev(
            network, partial(align_rows, network, features, {"B-old": 1.0}), partial(next, iter(scores))
        )
        assert chosen == expected and torch.equal(network.head.row_weights, aligned[expected])


def test_a_run_whose_dev_chooses_is_the_run_with_what_it_chose(store: Path, tmp_path: Path) -> None:
    by_dev, given = tmp_path / "dev", tmp_path / "given"
    run(RunConfig.load([*SETTINGS, "optim.feature_replay=dev", f"store={by_dev}"]), runs.silent)
    first, *later = (record.replay_weight for record in runs.ledger(by_dev).records())
    assert first is None and set(later) <= set(WEIGHTS)
    assert runs.ledger(by_dev).planned[0] == runs.ledger(store).planned[0], "the first step is shared"
    weights_of_steps = [f"at.{number}.optim.feature_replay={weight}" for number, weight in enumerate(later, start=2)]
    run(RunConfig.load([*REPLAYED, *weights_of_steps, f"store={given}"]), runs.silent)
    assert [*runs.weights(given).values()] != [*runs.weights(store).values()] or set(later) == {0.5}
    for chosen, same in zip(weights(by_dev), weights(given), strict=True):
        torch.testing.assert_close(chosen, same, rtol=0, atol=0)
    assert all(record.replay_weight is None for record in runs.ledger(given).records())


def test_without_statistics_rows_stay(network: Network) -> None:
    network.statistics, rows = ClassStatistics({}), network.head.rows.detach().clone()
    align_rows(network, torch.randn(9, network.head.width), {}, 1.0)
    assert torch.equal(network.head.rows, rows)


def test_statistics_follow_their_types(network: Network) -> None:
    renamed = retyped(network, Retyping(rename={"old": "older"}))
    assert renamed.statistics.moments.keys() == {"B-older"}
    assert not retyped(network, Retyping(drop=("old",))).statistics.moments
    assert not retyped(network, Retyping(merge={"one": ("old", "new")})).statistics.moments
    assert network.copy().statistics.moments.keys() == {"B-old"}


def test_less_is_forgotten(store: Path, tmp_path: Path) -> None:
    """Of the first type, whose words later steps lack, at each later step."""
    run(RunConfig.load([*SETTINGS, f"store={tmp_path}"]), runs.silent)
    first, *_ = runs.ledger(store).planned

    def recalled(of: Path) -> list[float]:
        return [recall(record.test[first.new[0]]) for record in runs.ledger(of).records()[1:]]

    assert sum(recalled(store)) > sum(recalled(tmp_path))


def test_exports_hold_no_statistics(store: Path, tmp_path: Path) -> None:
    trained = raycner.load_run(runs.ledger(store).run, store=str(store))
    trained.export(tmp_path / "exported")
    tensors = load_file(tmp_path / "exported" / "weights.safetensors")
    assert not any(name.startswith("statistics") for name in tensors)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["optim.feature_replay=-1"], "feature_replay and feature_replay_words are not negative"),
        (["optim={feature_replay: 1, feature_replay_words: -1}"], "feature_replay and feature_replay_words are not"),
        (["optim.feature_replay=1", "model.head.name=cosine"], "'cosine' has no rows"),
        (["optim.feature_replay=1", "model.growth.freeze_old=true"], "moves the rows of O and of old types"),
        (["optim={feature_replay: 1, calibration: carried}"], "whose bias calibration=carried chooses"),
    ],
)
def test_what_cannot_be_replayed(settings: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunConfig.load(settings)


def test_an_inventory_without_the_tag_is_left_alone() -> None:
    moments = torch.ones(2, 3)
    assert ClassStatistics({"B-a": moments}).renamed({"b": "c"}).moments == {}
