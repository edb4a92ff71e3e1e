"""One step on one rank: it learns, keeps its best state, and seeds decide all of it."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import runs
from raycner.config import FirstStepConfig, OptimConfig, RunConfig
from raycner.data.entities import TypeInventory
from raycner.data.metrics import macro, micro
from raycner.data.scenarios.scenario import Scenario
from raycner.events import Event
from raycner.networks.encoders.pretrained import Pretrained
from raycner.networks.heads.linear import Linear
from raycner.networks.losses import LossSum
from raycner.networks.network import ModelConfig, Network
from raycner.storage.store import ObjectStore
from raycner.training.counting import count_entities
from raycner.training.loader import SplitLoader
from raycner.training.plan import plan
from raycner.training.snapshot import Snapshot
from raycner.training.step_trainer import StepTrainer, _optimizer, combine, rate, train


class Listener:
    """A callback that records events and snapshots, and may resume from one."""

    def __init__(self, resumed: Snapshot | None = None) -> None:
        self.snapshots: list[Snapshot] = []
        self.events: list[Event] = []
        self.resumed = resumed

    def on_event(self, event: Event, /) -> None:
        self.events.append(event)

    def save_snapshot(self, _: int, take: Callable[[], Snapshot], /) -> None:
        self.snapshots.append(copy.deepcopy(take()))

    def load_snapshot(self) -> Snapshot | None:
        return self.resumed


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
    return ObjectStore(str(tmp_path_factory.mktemp("store")))


def first_step(store: ObjectStore, *settings: str):
    config = runs.small(store.uri, *settings)
    scenario = Scenario.prepare(config.scenario, store, runs.silent)
    return plan(config, scenario)[0], scenario[0]


def test_one_step_overfits_a_small_corpus(store: ObjectStore) -> None:
    spec, experience = first_step(store, "optim.first.epochs=40", "optim.select=last")
    network, _ = train(spec, experience, None, Listener())
    counts = count_entities(network, [SplitLoader(experience.train, network)])
    assert micro(counts) > 0.95


@pytest.mark.parametrize(("select_by", "average"), [("micro", micro), ("macro", macro)])
def test_the_best_state_is_saved(store: ObjectStore, select_by: str, average: Any) -> None:
    settings = ("optim.first.epochs=5", "optim.schedule=constant", "optim.lr=0.05", "scenario.protocol.first=2")
    spec, experience = first_step(store, *settings, f"optim.select_by={select_by}")
    network, record = train(spec, experience, None, Listener())
    dev_scores = [epoch.dev_score for epoch in record.epochs]
    assert record.best_epoch == max(range(len(dev_scores)), key=lambda epoch: (dev_scores[epoch], epoch))
    assert average(count_entities(network, [SplitLoader(part, network) for part in experience.dev])) == max(dev_scores)


@pytest.mark.parametrize("decay", ["all", "weights"])
def test_biases_and_norms_may_be_spared_from_decay(tiny_bert: str, decay: Any) -> None:
    network = Network(ModelConfig(encoder=Pretrained(path=tiny_bert), head=Linear(hidden=4)))
    network.start_step(TypeInventory().grow(("animal",)), [["Ada"]])
    optimizer = _optimizer(network, OptimConfig(decay=decay, weight_decay=0.1, lr=1e-3, head_lr=1e-2), "none")
    groups = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
    named = dict(network.named_parameters())
    assert groups.keys() == {parameter for parameter in named.values() if parameter.requires_grad}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(groups)
    for name, parameter in named.items():
        is_spared = decay == "weights" and (name.endswith("bias") or "LayerNorm" in name)
        assert groups[parameter]["weight_decay"] == (0.0 if is_spared else 0.1), name
        assert groups[parameter]["base_lr"] == (1e-2 if name.startswith("head.") else 1e-3)


def test_select_last_keeps_the_last_epoch(store: ObjectStore) -> None:
    spec, experience = first_step(store, "optim.select=last", "optim.first.epochs=3")
    _, record = train(spec, experience, None, Listener())
    assert record.best_epoch == 2


def script_scores(monkeypatch: pytest.MonkeyPatch, scores: Sequence[float]) -> None:
    """Make each epoch return these scores, whatever it learned."""
    remaining = iter(scores)
    monkeypatch.setattr(StepTrainer, "score", lambda _: next(remaining))


@pytest.mark.parametrize(
    ("patience", "scores", "best"),
    [
        (0, [0.5, 0.4, 0.3, 0.2, 0.1, 0.0], 0),
        (1, [0.1, 0.2, 0.2], 2),
        (2, [0.1, 0.2, 0.1, 0.3, 0.2, 0.3], 5),
        (3, [0.0, 0.0, 0.0, 0.0], 3),
        (2, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 5),
        (0, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 5),
    ],
)
def test_a_step_ends_when_its_score_has_not_risen_for_so_long(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, patience: int, scores: list[float], best: int
) -> None:
    spec, experience = first_step(store, "optim.first.epochs=6", f"optim.patience={patience}")
    script_scores(monkeypatch, scores)
    _, record = train(spec, experience, None, Listener())
    assert [epoch.dev_score for epoch in record.epochs] == scores
    assert record.best_epoch == best


@pytest.mark.parametrize("after", [1, 3, 4])
def test_patience_outlasts_an_interruption(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, after: int
) -> None:
    spec, experience = first_step(store, "optim.first.epochs=6", "optim.patience=2")
    scores = [0.1, 0.2, 0.1, 0.1]
    listener = Listener()
    script_scores(monkeypatch, scores)
    whole, record = train(spec, experience, None, listener)
    listener.snapshots[after - 1].save(tmp_path)
    script_scores(monkeypatch, scores[after:])
    resumed, again = train(spec, experience, None, Listener(Snapshot.load(tmp_path)))
    assert (len(again.epochs), again.best_epoch) == (len(record.epochs), record.best_epoch) == (4, 1)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_equal_seeds_make_equal_weights_and_others_do_not(store: ObjectStore) -> None:
    spec, experience = first_step(store)
    one, _ = train(spec, experience, None, Listener())
    two, _ = train(spec, experience, None, Listener())
    three, _ = train(replace(spec, seed=1), experience, None, Listener())
    for name, tensor in one.named_parameters():
        assert torch.equal(tensor, two.get_parameter(name)), name
        assert not torch.equal(tensor, three.get_parameter(name)), name


@pytest.mark.parametrize("after", [1, 2, 3])
def test_resuming_after_an_epoch_is_exact(store: ObjectStore, tmp_path: Path, after: int) -> None:
    spec, experience = first_step(store, "optim.first.epochs=4", "model.encoder.dropout=0.3")
    listener = Listener()
    whole, record = train(spec, experience, None, listener)
    listener.snapshots[after - 1].save(tmp_path)
    resumed, again = train(spec, experience, None, Listener(Snapshot.load(tmp_path)))
    assert again.best_epoch == record.best_epoch
    assert [e.dev_score for e in again.epochs] == [e.dev_score for e in record.epochs]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_the_teacher_is_neither_in_the_state_nor_in_the_optimiser(store: ObjectStore) -> None:
    config = runs.small(store.uri)
    scenario = Scenario.prepare(config.scenario, store, runs.silent)
    specs = plan(config, scenario)
    parent, _ = train(specs[0], scenario[0], None, Listener())
    names = set(parent.state_dict())
    listener = Listener()
    child, _ = train(specs[1], scenario[1], parent, listener)
    assert set(child.state_dict()) == names
    trained = sum(p.requires_grad for p in child.parameters())
    assert len(listener.snapshots[-1].optimizer) == trained


def test_cached_teacher_equals_the_live_one(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from raycner.training.teacher import Teacher

    config = runs.small(store.uri, "optim.precision=fp64", "method.decomposition=product")
    scenario = Scenario.prepare(config.scenario, store, runs.silent)
    specs = plan(config, scenario)
    parent, _ = train(specs[0], scenario[0], None, Listener())
    cached, _ = train(specs[1], scenario[1], parent, Listener())
    parent, _ = train(specs[0], scenario[0], None, Listener())
    monkeypatch.setattr(Teacher, "cache_outputs", lambda *_: None)
    live, _ = train(specs[1], scenario[1], parent, Listener())
    for name, tensor in cached.state_dict().items():
        torch.testing.assert_close(tensor, live.state_dict()[name], rtol=1e-7, atol=1e-9)


def test_combine_divides_each_term_by_its_own_count_and_ignores_empty_terms() -> None:
    parameter = torch.tensor(3.0, requires_grad=True)
    terms = {
        "ce": LossSum(4 * parameter, torch.tensor(8)),
        "kd": LossSum(0 * parameter, torch.tensor(0)),
    }
    loss = combine(terms)
    loss.backward()
    assert loss.item() == pytest.approx(1.5)
    assert parameter.grad is not None and parameter.grad.item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [
        ("constant", 1.0, 1.0),
        ("linear", 0.5, 0.5),
        ("linear", 1.0, 1.0),
        ("linear", 5.5, 0.5),
        ("linear", 10.0, 0.0),
        ("cosine", 5.5, 0.5 * (1 - math.cos(math.pi / 2))),
        ("milestones", 4.9, 1.0),
        ("milestones", 5.0, 0.2),
        ("milestones", 8.0, 0.04),
    ],
)
def test_the_rate_follows_its_schedule(schedule: str, epochs: float, expected: float) -> None:
    optim = OptimConfig(epochs=10, schedule=schedule, warmup=0.1, milestones=(5, 8), gamma=0.2)  # type: ignore[arg-type]
    assert rate(optim, epochs) == pytest.approx(expected)


def test_step_zero_reads_its_own_optimisation() -> None:
    optim = OptimConfig(epochs=3, lr=1e-4, first=FirstStepConfig(epochs=9, lr=2e-3))
    assert (optim.for_step(0).epochs, optim.for_step(0).lr) == (9, 2e-3)
    assert (optim.for_step(1).epochs, optim.for_step(1).lr) == (3, 1e-4)
    assert optim.for_step(0).first == optim.for_step(1).first == FirstStepConfig()


def test_defaults_are_a_valid_run() -> None:
    assert RunConfig.load([]).method.name == "finetuning"
