"""Adapters: a step trains and stores low-rank updates and the head; the encoder stays in its own files."""

import copy
import dataclasses
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import runs
from fixtures_tiny import spoken
from raycner.data.scenarios.scenario import Scenario
from raycner.errors import InputError
from raycner.inference.export import export
from raycner.inference.predictor import Predictor
from raycner.networks.encoders.adapters import AdapterConfig
from raycner.networks.encoders.pretrained import Pretrained
from raycner.networks.network import ModelConfig, Network
from raycner.orchestration.runner import run
from raycner.storage.store import ObjectStore
from raycner.training.plan import plan
from raycner.training.snapshot import Snapshot
from raycner.training.step_trainer import train

SETTINGS = ("scenario.order=[location, person]", "scenario.corpus.sentences=60", "method.name=extend_ner")
SENTENCES = [words for words, _ in spoken(12, 3)]
ADAPTERS = "{rank: 2, dropout: 0.2}"


@pytest.fixture(scope="module")
def encoder(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of its own, which a test moves."""
    return Path(shutil.copytree(tiny_bert, tmp_path_factory.mktemp("encoder") / "bert"))


@pytest.fixture(scope="module")
def settings(encoder: Path) -> tuple[str, ...]:
    return (*SETTINGS, f"model.encoder={{name: pretrained, path: {encoder}, adapters: {ADAPTERS}}}")


@pytest.fixture(scope="module")
def store(settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    run(runs.small(folder, *settings), runs.silent)
    return folder


def test_a_step_stores_adapters_and_head(store: Path) -> None:
    first, second = (
        load_file(store / "steps" / step.fingerprint / "weights.safetensors") for step in runs.ledger(store).planned
    )
    assert all("lora_" in name or name.startswith("head.") for name in first)
    adapters = [name for name in first if "lora_" in name]
    assert len(adapters) == 2 * 2 * 6, "A and B for each of six linear layers in each of two blocks"
    assert any(not torch.equal(first[name], second[name]) for name in adapters)
    assert first.keys() == second.keys()


def test_an_export_has_them_merged(store: Path, encoder: Path, tmp_path: Path) -> None:
    objects, name = ObjectStore(str(store)), runs.ledger(store).run
    trained = Predictor.of(name, str(store))
    assert export(name, tmp_path / "exported", objects) == "pipeline"
    merged = load_file(tmp_path / "exported" / "model.safetensors")
    base = load_file(encoder / "model.safetensors")
    assert not any("lora" in key or "base_layer" in key for key in merged)
    assert (
        sum(
            key.removeprefix("bert.") in base and not torch.equal(w, base[key.removeprefix("bert.")])
            for key, w in merged.items()
        )
        == 12
    )
    network = trained._network.merged()
    assert network.state_dict().keys() > {f"encoder.model.{key}" for key in base if not key.startswith("pooler")}
    one, two = trained._network.eval(), network.eval()
    sentences = one.tokenize(SENTENCES)
    inputs = one.encoder.collate(sentences)
    torch.testing.assert_close(two.encoder(inputs).words, one.encoder(inputs).words, rtol=1e-4, atol=1e-4)


def test_resuming_is_exact_and_the_base_is_shared(settings: tuple[str, ...], tmp_path: Path) -> None:
    class Listener:
        def __init__(self, resumed: Snapshot | None = None) -> None:
            self.snapshots: list[Snapshot] = []
            self.resumed = resumed

        def on_event(self, event: object, /) -> None: ...

        def save_snapshot(self, _: int, take: Callable[[], Snapshot], /) -> None:
            self.snapshots.append(copy.deepcopy(take()))

        def load_snapshot(self) -> Snapshot | None:
            return self.resumed

    config = runs.small(tmp_path / "store", *settings)
    scenario = Scenario.prepare(config.scenario, ObjectStore(config.store), runs.silent)
    specs, listener = plan(config, scenario), Listener()
    parent, _ = train(specs[0], scenario[0], None, Listener())
    whole, _ = train(specs[1], scenario[1], parent, listener)
    shared = {id(weight) for weight in parent.encoder.base()}
    assert {id(weight) for weight in whole.encoder.base()} == shared and shared
    assert all("lora_" in name or name.startswith("head.") for name in listener.snapshots[0].network)
    listener.snapshots[0].save(tmp_path)
    resumed, _ = train(specs[1], scenario[1], parent, Listener(Snapshot.load(tmp_path)))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_another_encoder_is_refused(store: Path, encoder: Path) -> None:
    name, weights = runs.ledger(store).run, encoder / "model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    try:
        with pytest.raises(InputError, match="adapts the weights of another encoder"):
            Predictor.of(name, str(store))
    finally:
        weights.write_bytes(before)


def test_bad_settings_are_refused(tiny_bert: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(**settings: object) -> Network:
        adapters = dataclasses.replace(AdapterConfig(rank=2), **settings)  # type: ignore[arg-type]
        return Network(ModelConfig(encoder=Pretrained(path=tiny_bert, adapters=adapters)))

    targets = build(targets=("query", "value")).encoder.state_dict()
    assert len(targets) == 2 * 2 * 2
    with pytest.raises(InputError, match="no linear layer called 'q_proj'"):
        build(targets=("q_proj",))
    with pytest.raises(ValueError, match="alpha above 0"):
        build(alpha=0.0)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match="peft is not installed"):
        build()
