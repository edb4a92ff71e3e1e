"""Moving average: its equation, what it leaves alone, and that a step is selected by it, ends with it and resumes."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import runs
from raycner.config import RunConfig
from raycner.data.scenarios.scenario import Scenario
from raycner.errors import InputError
from raycner.events import EpochFinished, Event
from raycner.networks.network import Network
from raycner.orchestration.runner import run
from raycner.storage.store import ObjectStore
from raycner.training.moving_average import MovingAverage, final_weights
from raycner.training.plan import plan
from raycner.training.snapshot import Snapshot
from raycner.training.step_trainer import StepTrainer

SETTINGS = ("scenario.order=[location, person]", "scenario.corpus.sentences=60", "method={name: extend_ner}")


class Stopped(Exception):
    """A kill, after an epoch."""


@pytest.fixture
def network(tiny_config: RunConfig) -> Network:
    torch.manual_seed(0)
    network = Network(tiny_config.model)
    network.start_step(network.inventory.grow(("animal",)), [["one", "two"]])
    return network.double()


def drift(network: Network) -> dict[str, Tensor]:
    """Change every trained weight, as an update does. Returns what the weights are now."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += torch.randn_like(parameter)
    return copy.deepcopy(network.state_dict())


@pytest.mark.parametrize("decay", [0.3, 0.99])
def test_the_average_follows_its_equation(network: Network, decay: float) -> None:
    next(network.encoder.parameters()).requires_grad_(False)
    weights = [copy.deepcopy(network.state_dict())]
    final = final_weights(network, decay)
    for _ in range(12):
        weights.append(drift(network))
        final.update()
    with final.applied():
        averaged = copy.deepcopy(network.state_dict())
    for name, tensor in averaged.items():
        expected = weights[0][name].numpy()
        for k in range(1, 13):
            d = min(decay, (1 + (k - 1)) / (10 + (k - 1)))
            expected = d * expected + (1 - d) * weights[k][name].numpy()
        np.testing.assert_allclose(tensor, expected, rtol=1e-10, atol=1e-12, err_msg=name)
        assert torch.equal(network.state_dict()[name], weights[-1][name]), "updates continue from the weights"
    assert any(not torch.equal(tensor, weights[-1][name]) for name, tensor in averaged.items())


def test_weights_that_no_update_changes_keep_every_bit(network: Network) -> None:
    before, final = copy.deepcopy(network.state_dict()), final_weights(network, 0.9)
    for _ in range(20):
        final.update()
    with final.applied():
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_weights_return_when_scoring_fails(network: Network) -> None:
    final, weights = final_weights(network, 0.9), drift(network)
    final.update()
    with pytest.raises(Stopped), final.applied():
        raise Stopped
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


def test_an_average_continues_from_its_state(network: Network) -> None:
    final = final_weights(network, 0.9)
    drift(network)
    final.update()
    state, twin = copy.deepcopy(final.state()), network.copy()
    continued = final_weights(twin, 0.9)
    continued.restore(state)
    for each, average in ((network, final), (twin, continued)):
        torch.manual_seed(1)
        drift(each)
        average.update()
    torch.testing.assert_close(continued.state(), final.state(), rtol=0, atol=0)
    assert final.state()["updates"] == 2


def test_a_step_is_selected_by_the_average_and_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What dev scores is what is committed, and the next step starts from it and is taught by it."""
    scored: list[dict[str, Tensor]] = []
    score = StepTrainer.score

    def recorded(self: StepTrainer) -> float:
        scored.append(copy.deepcopy(self.network.state_dict()))
        assert isinstance(self.final, MovingAverage)
        return score(self)

    monkeypatch.setattr(StepTrainer, "score", recorded)
    run(runs.small(tmp_path, *SETTINGS, "optim.ema=0.9"), runs.silent)
    records = runs.ledger(tmp_path).records()
    for record in records:
        saved = load_file(tmp_path / "steps" / record.fingerprint / "weights.safetensors")
        best = scored[record.best_epoch + sum(len(earlier.epochs) for earlier in records[: record.index])]
        torch.testing.assert_close({name: best[name] for name in saved}, saved, rtol=0, atol=0)


def test_only_steps_with_an_average_are_other_steps(tmp_path: Path) -> None:
    def planned(*settings: str) -> list[str]:
        config = runs.small(tmp_path, *SETTINGS, *settings)
        scenario = Scenario.prepare(config.scenario, ObjectStore(config.store), runs.silent)
        return [spec.fingerprint for spec in plan(config, scenario)]

    plain, neutral, later = planned(), planned("optim.ema=0"), planned("at.2.optim.ema=0.9")
    assert plain == neutral and not set(plain) & set(planned("optim.ema=0.9"))
    assert later[0] == plain[0] and later[1] != plain[1], "the first step is shared"


def test_a_stopped_step_resumes_bit_for_bit(tmp_path: Path) -> None:
    settings = (*SETTINGS, "optim.ema=0.9", "optim.epochs=4", "optim.first.epochs=4", "model.encoder.dropout=0.3")

    def stop(event: Event) -> None:
        if isinstance(event, EpochFinished) and event.number == 3:
            raise Stopped

    run(runs.small(tmp_path / "whole", *settings), runs.silent)
    stopped = runs.small(tmp_path / "stopped", *settings)
    with pytest.raises(Stopped):
        run(stopped, stop)
    (saved,) = (tmp_path / "stopped").glob("snapshots/*/epoch-*")  # of epoch 1, where its write outlasted epoch 2
    snapshot = Snapshot.load(saved)
    assert snapshot.average["updates"] > 0
    resumed: list[Event] = []
    run(stopped, resumed.append)
    assert next(event.number for event in resumed if isinstance(event, EpochFinished)) == len(snapshot.epochs) + 1
    assert runs.weights(tmp_path / "stopped") == runs.weights(tmp_path / "whole")


@pytest.mark.parametrize("decay", ["-0.1", "1"])
def test_what_is_no_decay(decay: str) -> None:
    with pytest.raises(InputError, match="a decay from 0 up to"):
        RunConfig.load([f"optim.ema={decay}"])
