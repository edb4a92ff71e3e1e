"""Latent replay: a memory has the states of words in place of the words, and later steps learn from them alike."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import runs
from raycner.config import RunConfig
from raycner.data.scenarios.memory import PLACEHOLDER, KeptStates, open_memory
from raycner.errors import InputError
from raycner.events import EpochFinished, Event
from raycner.networks.batch import RememberedStates
from raycner.networks.network import Network
from raycner.orchestration.runner import run
from raycner.storage.store import ObjectStore
from raycner.training.checkpoint import StepCheckpoint
from raycner.training.loader import SplitLoader

SETTINGS = (
    "scenario.order=[location, person]",
    "scenario.corpus.sentences=60",
    "method={name: dld, base: {name: cfner}}",
    "optim.order=shuffle",
    "optim.batch_tokens=100000",  # batches do not depend on the lengths of sentences, which placeholders change
)
STATES = "scenario.memory={size: 3, keep: states}"


class Stopped(Exception):
    """A kill, after an epoch."""


@pytest.fixture(scope="module")
def encoder(tiny_bert: str) -> str:
    return f"model.encoder={{name: pretrained, path: {tiny_bert}, frozen: after_first}}"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, encoder: str) -> dict[str, Path]:
    """The stores of runs that keep words, states, and nothing."""
    folder = tmp_path_factory.mktemp("stores")
    for name, memory in {"words": "{size: 3}", "states": "{size: 3, keep: states}", "nothing": "{size: 0}"}.items():
        run(runs.small(folder / name, *SETTINGS, encoder, f"scenario.memory={memory}"), runs.silent)
    return {path.name: path for path in folder.iterdir()}


def memory_of(store: Path) -> Path:
    (folder,) = (store / "memories").iterdir()
    return folder


def first_network(store: Path, encoder: str) -> Network:
    step = StepCheckpoint.find(ObjectStore(str(store)), runs.ledger(store).planned[0].fingerprint)
    assert step is not None
    return step.network(runs.small(store, *SETTINGS, encoder).model)


def test_states_teach_what_their_words_would(stores: dict[str, Path]) -> None:
    planned = {name: [step.fingerprint for step in runs.ledger(store).planned] for name, store in stores.items()}
    assert len({steps[0] for steps in planned.values()}) == 1, "the first step is shared"
    words, states, nothing = (
        load_file(stores[name] / "steps" / planned[name][1] / "weights.safetensors")
        for name in ("words", "states", "nothing")
    )
    for name, tensor in words.items():
        torch.testing.assert_close(states[name], tensor, rtol=1e-3, atol=1e-5, msg=name)
    assert (nothing["head.rows"] - words["head.rows"]).abs().max() > 1e-2


def test_a_memory_has_states_and_no_text(stores: dict[str, Path], encoder: str) -> None:
    text, memory = (open_memory(memory_of(stores[name]), "memory") for name in ("words", "states"))
    sentences = list(memory.sentences())
    assert {word for sentence in sentences for word in sentence.words} == {PLACEHOLDER}
    assert [s.entities for s in sentences] == [s.entities for s in text.sentences()]
    data = b"".join(path.read_bytes() for path in memory_of(stores["states"]).rglob("*") if path.is_file())
    longest = max((word for sentence in text.sentences() for word in sentence.words), key=len)
    assert len(longest) > 6 and longest.encode() not in data
    network = first_network(stores["states"], encoder)
    with network.eval_mode():
        batch = SplitLoader(text, network).batch(range(len(text)))
        expected = network.states(batch).words
    for states, row, mask in zip(memory.column(KeptStates).of_sentences, expected, batch.mask, strict=True):
        np.testing.assert_allclose(states, row[mask], rtol=1e-4, atol=1e-5)


def test_remembered_states_stand_next_to_those_of_the_encoder(stores: dict[str, Path], encoder: str) -> None:
    text, memory = (open_memory(memory_of(stores[name]), "memory") for name in ("words", "states"))
    network, number = first_network(stores["states"], encoder), len(text)
    with network.eval_mode():
        mixed = SplitLoader(replace(text, further=(memory,)), network).batch(range(2 * number))
        states = network.states(mixed).words
        alone = network.states(SplitLoader(text, network).batch(range(number))).words
    assert mixed.column(RememberedStates).where.flatten().tolist() == [False] * number + [True] * number
    torch.testing.assert_close(states[:number], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(states[number:], alone, rtol=1e-4, atol=1e-5)


def test_a_lost_step_and_its_memory_are_made_again_bit_for_bit(
    stores: dict[str, Path], encoder: str, tmp_path: Path
) -> None:
    """Also where the step was stopped after an epoch."""
    store = shutil.copytree(stores["states"], tmp_path / "store")
    shutil.rmtree(store / "steps" / runs.ledger(store).planned[1].fingerprint)
    shutil.rmtree(store / "memories")
    config = runs.small(store, *SETTINGS, encoder, STATES)

    def stop(event: Event) -> None:
        if isinstance(event, EpochFinished) and event.number == 2:
            raise Stopped

    with pytest.raises(Stopped):
        run(config, stop)
    run(config, runs.silent)
    assert runs.weights(store) == runs.weights(stores["states"])
    states = (np.load(memory_of(folder) / "states.npy") for folder in (store, stores["states"]))
    assert np.array_equal(*states)


def test_damaged_states_are_refused(stores: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(memory_of(stores["states"]), tmp_path / "memory")
    np.save(folder / "states.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(InputError, match="not the states of a memory"):
        open_memory(folder, "memory")


FROZEN = "model.encoder={name: pretrained, frozen: after_first}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([STATES], "only as long as no step changes the encoder"),
        ([STATES, "model.encoder.name=bilstm"], "only as long as no step changes the encoder"),
        ([STATES, FROZEN, "model.head.name=triplets", "method.name=gen_cner"], "reads more of a sentence"),
        ([STATES, FROZEN, "model.head.name=cosine", "method.name=podnet"], "reads more of the encoder"),
        ([STATES, FROZEN, "method={name: der, base: {name: finetuning}}"], "reads the logits of a memory"),
    ],
)
def test_what_cannot_learn_from_states(settings: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunConfig.load(settings)
