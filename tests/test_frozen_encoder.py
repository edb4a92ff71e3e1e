"""A frozen encoder: later steps train the head alone, on states that are computed once."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import runs
from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.scenarios.scenario import Scenario
from raycner.methods.dld import DLD
from raycner.methods.podnet import PODNet
from raycner.networks.batch import WordStates
from raycner.networks.network import Network
from raycner.orchestration.runner import run
from raycner.training.loader import SplitLoader
from raycner.training.plan import plan
from raycner.training.step_trainer import StepTrainer

SETTINGS = ("scenario.order=[location, person]", "scenario.corpus.sentences=60", "method.name=extend_ner")


def steps(store: Path) -> list[dict[str, Tensor]]:
    fingerprints = [step.fingerprint for step in runs.ledger(store).planned]
    return [load_file(store / "steps" / fingerprint / "weights.safetensors") for fingerprint in fingerprints]


def of_encoder(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights.items() if name.startswith("encoder.")}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, tiny_bert: str) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("frozen")
    for frozen in ("never", "after_first", "always"):
        encoder = f"model.encoder={{name: pretrained, path: {tiny_bert}, frozen: {frozen}}}"
        run(runs.small(folder / frozen, *SETTINGS, encoder, "model.growth.freeze_old=true"), runs.silent)
    return {path.name: path for path in folder.iterdir()}


def test_it_learns_in_the_first_step_alone(stores: dict[str, Path]) -> None:
    first, second = steps(stores["after_first"])
    torch.testing.assert_close(of_encoder(second), of_encoder(first), rtol=0, atol=0)
    old = len(first["head.rows"])
    assert torch.equal(second["head.rows"][:old], first["head.rows"]), "old rows are frozen too"
    assert len(second["head.rows"]) > old
    free_first, free_second = steps(stores["never"])
    assert runs.ledger(stores["never"]).planned[0] == runs.ledger(stores["after_first"]).planned[0]
    torch.testing.assert_close(free_first, first, rtol=0, atol=0)
    assert any(not torch.equal(free_second[name], tensor) for name, tensor in of_encoder(free_first).items())


def test_it_never_learns(stores: dict[str, Path], tiny_bert: str) -> None:
    pretrained = load_file(f"{tiny_bert}/model.safetensors")
    for weights in steps(stores["always"]):
        for name, tensor in of_encoder(weights).items():
            assert torch.equal(tensor, pretrained[name.removeprefix("encoder.model.")])


def test_states_are_computed_once_and_are_those_of_the_encoder(
    tiny_bert: str, tiny_corpus: Corpus, tiny_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig.load([f"model.encoder.path={tiny_bert}", "model.encoder.frozen=always"])
    experience, *_ = Scenario(tiny_config.scenario, [tiny_corpus])
    network = Network(config.model)
    network.start_step(experience.inventory, [s.words for s in experience.train.sentences()])
    loader = SplitLoader(experience.train, network)
    before = loader.batch(range(5))
    with network.eval_mode():
        states, output = network.states(before).words, network(before).logits
        predicted = network.predict(before)
    loader.cache_states(tmp_path / "states")
    monkeypatch.setattr(network.encoder, "forward", None)
    after = loader.batch(range(5))
    torch.testing.assert_close(after.column(WordStates).words, states)
    torch.testing.assert_close(network(after).logits, output)
    assert network.predict(after).__len__() == len(predicted)


def test_what_reads_more_than_words_encodes_each_batch(
    tiny_bert: str, tiny_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached: list[Path] = []
    monkeypatch.setattr(SplitLoader, "cache_states", lambda _, path: cached.append(path))
    config = RunConfig.load(
        [
            "scenario.corpus.name=demo",
            f"model.encoder.path={tiny_bert}",
            "model.encoder.frozen=after_first",
            "model.head.name=cosine",
        ]
    )
    scenario = Scenario(replace(config.scenario, corpus=config.scenario.corpus), [tiny_corpus])
    spec = plan(config, scenario)[1]
    network = Network(config.model)
    for method, loaders in ((spec.method, 2), (PODNet(), 0), (DLD(base=PODNet()), 0)):
        cached.clear()
        one = replace(spec, method=method)
        StepTrainer.of(one, network, None, scenario[1].train, scenario[1], runs.silent).cache_states(tmp_path)  # type: ignore[arg-type]
        assert len(cached) == loaders
