"""DER++: the logits that a memory keeps, and what holds them."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import runs
from raycner.config import RunConfig
from raycner.data.scenarios.memory import KeptLogits, open_memory
from raycner.errors import InputError
from raycner.methods.der import DER, RememberedLogits
from raycner.methods.finetuning import Finetuning
from raycner.orchestration.runner import run
from raycner.storage.store import ObjectStore
from raycner.training.checkpoint import StepCheckpoint
from raycner.training.loader import SplitLoader

SETTINGS = ("scenario.order=[location, person]", "scenario.corpus.sentences=60")
LOGITS = "scenario.memory={size: 3, keep: logits}"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The stores of experience replay, of DER++ without weight, and of DER++."""
    folder = tmp_path_factory.mktemp("stores")
    ways = {
        "replay": ["method.name=finetuning", "scenario.memory={size: 3}"],
        "neutral": ["method={name: der, logit_weight: 0, base: {name: finetuning}}", "scenario.memory={size: 3}"],
        "der": ["method={name: der, base: {name: finetuning}}", LOGITS],
    }
    for name, settings in ways.items():
        run(runs.small(folder / name, *SETTINGS, *settings), runs.silent)
    return {name: folder / name for name in ways}


def test_without_weight_it_is_experience_replay_bit_for_bit(stores: dict[str, Path]) -> None:
    replay, neutral, der = (list(runs.weights(stores[name]).values()) for name in ("replay", "neutral", "der"))
    assert sorted(replay) == sorted(neutral) != sorted(der)
    losses = runs.ledger(stores["der"]).records()[1].epochs[0].losses
    assert set(losses) == {"ce", "held_logits"} and losses["held_logits"] > 0


def test_a_memory_keeps_the_logits_of_its_step(stores: dict[str, Path]) -> None:
    (folder,) = (stores["der"] / "memories").iterdir()
    memory = open_memory(folder, "memory")
    config = runs.small(stores["der"], *SETTINGS)
    step = StepCheckpoint.find(ObjectStore(str(stores["der"])), runs.ledger(stores["der"]).planned[0].fingerprint)
    assert step is not None
    network, positions = step.network(config.model), range(len(memory))
    behind_none = replace(memory, rows=memory.rows[:0], columns={}, further=(memory,))
    batch = DER(base=Finetuning()).collate(SplitLoader(behind_none, network), positions)
    column = batch.column(RememberedLogits).values
    logits = network.forward_eval(batch).logits
    torch.testing.assert_close(column[batch.mask], logits[batch.mask])
    assert column[~batch.mask].isnan().all()
    assert [rows.shape for rows in memory.column(KeptLogits).of_sentences] == [(n, 3) for n in memory.lengths]


def test_a_lost_step_and_its_memory_are_made_again_bit_for_bit(stores: dict[str, Path], tmp_path: Path) -> None:
    store = shutil.copytree(stores["der"], tmp_path / "store")
    shutil.rmtree(store / "steps" / runs.ledger(store).planned[1].fingerprint)
    shutil.rmtree(store / "memories")
    run(runs.small(store, *SETTINGS, "method={name: der, base: {name: finetuning}}", LOGITS), runs.silent)
    assert runs.weights(store) == runs.weights(stores["der"])
    (folder,) = (store / "memories").iterdir()
    (before,) = (stores["der"] / "memories").iterdir()
    assert np.array_equal(np.load(folder / "logits.npy"), np.load(before / "logits.npy"))


def test_it_needs_the_logits_of_a_memory() -> None:
    der = "method={name: der, base: {name: extend_ner}}"
    for settings in ([der], [der, "scenario.memory.size=3"], [f"method={{name: duplet, base: {der[7:]}}}"]):
        with pytest.raises(InputError, match="reads the logits of a memory"):
            RunConfig.load(settings)
    with pytest.raises(ValueError, match="held once"):
        DER(base=DER(base=Finetuning()))
    with pytest.raises(InputError, match="not negative"):
        RunConfig.load(["method={name: der, logit_weight: -1, base: {name: extend_ner}}", LOGITS])
