"""Heads without gradient descent: rows from sums over words, against numpy, in any order of steps, and in a run."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import runs
from raycner.config import RunConfig
from raycner.data.entities import TypeInventory
from raycner.errors import InputError
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.analytic import Analytic
from raycner.networks.heads.head import GrowthConfig, HeadConfig
from raycner.networks.heads.nearest_mean import NearestMean
from raycner.networks.heads.solved_rows import SolvedTags
from raycner.networks.losses import IGNORE
from raycner.orchestration.runner import run

WIDTH = 6
ONE = TypeInventory().grow(("animal",))
TWO = ONE.grow(("city",))
KINDS = (NearestMean(scale=3.0), Analytic(features=20, ridge=2.0, scale=3.0))
every_kind = pytest.mark.parametrize("config", KINDS, ids=lambda config: config.name)


def words(seed: int, tags: int) -> tuple[States, Batch]:
    """Four sentences of five words, every tag but the last in each, some words without a label."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, tags - 1, (4, 5), generator=generator)
    targets[0, 0], targets[1, : tags - 1] = IGNORE, torch.arange(tags - 1)
    states = States.of_words(torch.randn(4, 5, WIDTH, generator=generator, dtype=torch.float64))
    return states, Batch(torch.arange(4), {}, torch.ones(4, 5, dtype=torch.bool), targets)


def grown(config: HeadConfig, *inventories: TypeInventory) -> SolvedTags:
    torch.manual_seed(0)
    head = config.build(WIDTH)
    assert isinstance(head, SolvedTags)
    for inventory in inventories:
        head.grow(inventory, GrowthConfig())
    return head.double()


def solved(config: HeadConfig, *steps: tuple[TypeInventory, tuple[States, Batch]]) -> SolvedTags:
    head = grown(config)
    for inventory, (states, batch) in steps:
        head.grow(inventory, GrowthConfig())
        head.solve(head.sums(states, batch))
    return head


def features_and_tags(head: SolvedTags, *each: tuple[States, Batch]) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(head.effective(states, batch)[0][batch.targets >= 0], batch.targets) for states, batch in each]
    return (
        np.concatenate([features.detach().numpy() for features, _ in pairs]),
        np.concatenate([targets[targets >= 0].numpy() for _, targets in pairs]),
    )


def test_rows_are_those_of_ridge_regression() -> None:
    one, two = words(1, 3), words(2, 5)
    head = solved(KINDS[1], (ONE, one), (TWO, two))
    features, tags = features_and_tags(head, one, two)
    gram = features.T @ features + 2.0 * np.eye(20)
    expected = np.linalg.solve(gram, features.T @ np.eye(5)[tags]).T
    np.testing.assert_allclose(head.weight.detach().numpy(), expected, rtol=1e-9, atol=1e-12)
    output = head(*two)
    np.testing.assert_allclose(output.logits[0, 1].detach().numpy(), 3.0 * expected @ output.features[0, 1].numpy())


def test_the_nearest_mean_has_the_highest_logit() -> None:
    one, two = words(1, 3), words(2, 5)
    head = solved(KINDS[0], (ONE, one), (TWO, two))
    features, tags = features_and_tags(head, one, two)
    means = np.stack([features[tags == tag, :WIDTH].mean(0) for tag in range(4)])
    unit = features[:, None, :WIDTH]
    np.testing.assert_allclose(np.linalg.norm(unit, axis=-1), 1.0)
    expected = 3.0 * (1 - ((unit - means) ** 2).sum(-1))
    logits = torch.cat([head(*each).logits[each[1].targets >= 0] for each in (one, two)]).detach().numpy()
    np.testing.assert_allclose(logits[:, :4], expected, rtol=1e-9)
    np.testing.assert_allclose(logits[:, 4], -9.0, err_msg="a tag without a word is farthest")


@every_kind
def test_the_order_of_steps_and_of_batches_does_not_matter(config: HeadConfig) -> None:
    one, two = words(1, 5), words(2, 5)
    forward, backward = solved(config, (TWO, one), (TWO, two)), solved(config, (TWO, two), (TWO, one))
    torch.testing.assert_close(forward.weight, backward.weight)
    together = grown(config, TWO)
    together.solve(together.sums(*one) + together.sums(*two))
    torch.testing.assert_close(forward.weight, together.weight)
    masked = replace(two[1], targets=torch.full_like(two[1].targets, IGNORE))
    assert not together.sums(two[0], masked).any()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, tiny_bert: str) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("solved")
    for config in KINDS:
        run(runs.small(folder / config.name, *settings(config, tiny_bert)), runs.silent)
    return {path.name: path for path in folder.iterdir()}


def settings(config: HeadConfig, bert: str) -> tuple[str, ...]:
    small = ["model.head.features=30"] if isinstance(config, Analytic) else []
    return (
        *("scenario.order=[location, person]", "scenario.corpus.sentences=60", "method={name: self_training}"),
        *(f"model.encoder={{name: pretrained, path: {bert}, frozen: always}}", f"model.head={{name: {config.name}}}"),
        *small,
    )


@every_kind
def test_a_run_sums_over_its_steps(config: HeadConfig, stores: dict[str, Path]) -> None:
    ledger = runs.ledger(stores[config.name])
    first, second = (
        load_file(stores[config.name] / "steps" / step.fingerprint / "weights.safetensors") for step in ledger.planned
    )
    sums, later = first["head.sums_of_tags"], second["head.sums_of_tags"]
    assert (len(sums), len(later)) == (3, 5)
    assert (sums[:, -1] > 0).all() and later[3:].any(), "every tag of the first step has words, and of the second"
    assert not torch.equal(later[:1], sums[:1]), "O has more words"
    assert [len(record.epochs) for record in ledger.records()] == [1, 1]
    assert ledger.records()[1].test["person"] != (0, 0, 0)


@every_kind
def test_a_lost_step_is_solved_again_bit_for_bit(
    config: HeadConfig, stores: dict[str, Path], tmp_path: Path, tiny_bert: str
) -> None:
    store = shutil.copytree(stores[config.name], tmp_path / "store")
    shutil.rmtree(store / "steps" / runs.ledger(store).planned[1].fingerprint)
    run(runs.small(store, *settings(config, tiny_bert)), runs.silent)
    assert runs.weights(store) == runs.weights(stores[config.name])


def test_what_cannot_be_solved_is_refused(tiny_bert: str) -> None:
    frozen = [f"model.encoder={{name: pretrained, path: {tiny_bert}, frozen: always}}", "model.head.name=analytic"]
    RunConfig.load([*frozen, "method.name=finetuning"])
    for overrides, message in (
        (["method.name=extend_ner"], "also learns by gradients"),
        (["method.name=self_training", "model.encoder.frozen=after_first"], "set model.encoder.frozen=always"),
        (["method.name=self_training", "model.growth.freeze_old=true"], "old rows included"),
        (["method.name=self_training", "optim.ema=0.9"], "without updates that could be averaged"),
        (["method.name=self_training", "model.growth.imprint=train"], "no rows to imprint"),
        (["method.name=self_training", "model.head.ridge=0"], "ridge and scale are above 0"),
    ):
        with pytest.raises(InputError, match=message):
            RunConfig.load([*frozen, *overrides])
