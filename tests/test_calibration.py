"""New-type bias calibration changes predictions, never weights, and is scored next to the raw counts."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import runs
from raycner.config import RunConfig
from raycner.data.metrics import macro
from raycner.data.scenarios.scenario import Experience, Scenario
from raycner.errors import InputError
from raycner.inference.predictor import Predictor
from raycner.networks import losses
from raycner.networks.heads.head import Prediction
from raycner.networks.network import Network
from raycner.orchestration.runner import run
from raycner.storage.store import ObjectStore
from raycner.training.calibration import GRID, MOST, by_prior, calibrate, share_in
from raycner.training.checkpoint import StepCheckpoint
from raycner.training.counting import ReadOut, count_entities
from raycner.training.loader import SplitLoader
from raycner.training.teacher import Teacher

LEARNING = ("optim.epochs=2", "optim.first.epochs=20", "scenario.corpus.sentences=240")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The store of the same run under each kind of calibration."""
    made = {}
    for kind in ("none", "read_out"):
        made[kind] = tmp_path_factory.mktemp(kind)
        run(runs.small(made[kind], *LEARNING, f"eval.calibration={kind}"), runs.silent)
    return made


def parameters(store: Path) -> list[dict[str, torch.Tensor]]:
    """The trained weights of each step, the read-out's shift left out."""
    model = runs.small(store, *LEARNING).model
    steps = [StepCheckpoint.find(ObjectStore(str(store)), r.fingerprint) for r in runs.ledger(store).records()]
    return [dict(step.network(model).named_parameters()) for step in steps if step is not None]


def test_read_out_changes_no_weight_and_no_raw_count(stores: dict[str, Path]) -> None:
    for off, read_out in zip(parameters(stores["none"]), parameters(stores["read_out"]), strict=True):
        assert all(torch.equal(tensor, read_out[name]) for name, tensor in off.items())
    raw, calibrated = (runs.ledger(stores[kind]).records() for kind in ("none", "read_out"))
    assert [(r.dev, r.test) for r in raw] == [(r.dev, r.test) for r in calibrated]
    assert all(r.calibration is None for r in raw)


def test_calibrated_counts_are_reported_next_to_raw_ones(stores: dict[str, Path]) -> None:
    for record in runs.ledger(stores["read_out"]).records():
        assert record.calibration is not None and record.calibration.delta in GRID
        assert (record.calibration.test == record.test) == (record.calibration.delta == 0)
        assert macro(record.calibration.dev) > 0


def overconfident(store: Path) -> tuple[Network, Experience]:
    """A trained first step whose new tags speak up by three logits more than they learned to."""
    config = runs.small(store, *LEARNING)
    objects = ObjectStore(str(store))
    step = StepCheckpoint.find(objects, runs.ledger(store).records()[0].fingerprint)
    assert step is not None
    network = step.network(config.model)
    with torch.no_grad():
        network.head.rows[1:, -1] += 3.0
    return network, Scenario.prepare(config.scenario, objects, runs.silent)[0]


def test_delta_finds_what_is_too_much(stores: dict[str, Path]) -> None:
    network, experience = overconfident(stores["none"])
    dev = [SplitLoader(part, network) for part in experience.dev]
    raw = macro(count_entities(network, dev))
    delta = calibrate(network, None, experience.dev)
    assert 1.5 <= delta <= 4.5
    assert macro(count_entities(network, dev, read_out=ReadOut(delta))) > raw
    assert macro(count_entities(network, dev)) == raw, "a read-out leaves the network as it was"


def test_one_pass_chooses_as_eleven_would(stores: dict[str, Path]) -> None:
    network, experience = overconfident(stores["none"])
    (part,) = experience.dev
    half = SplitLoader(replace(part, rows=part.rows[::2]), network)
    scores = {delta: macro(count_entities(network, [half], read_out=ReadOut(delta))) for delta in GRID}
    assert len(set(scores.values())) > 3
    assert calibrate(network, None, experience.dev) == max(GRID, key=lambda delta: (scores[delta], -delta))


@pytest.mark.parametrize("decoding", ["argmax", "strict", "constrained"])
def test_calibration_costs_one_pass_over_half_of_dev(stores: dict[str, Path], decoding: str, tmp_path: Path) -> None:
    """The student and its teacher read each batch once, encoder and head; no delta has a pass of its own."""
    network, experience = overconfident(stores["none"])
    network.head.decoding = decoding
    passes: Counter[str] = Counter()
    teacher = overconfident(stores["none"])[0]
    for name, reader in (("student", network), ("teacher", teacher)):
        encoder, head = reader.encoder, reader.head
        encoder.register_forward_hook(lambda *_, name=name: passes.update([f"encoder of {name}"]))
        forward = head.forward

        def counted(*inputs: Any, name: str = name, forward: Any = forward) -> Any:
            passes[f"head of {name}"] += 1
            return forward(*inputs)

        head.forward = counted
    calibrate(network, Teacher(teacher, tmp_path), experience.dev)
    (part,) = experience.dev
    half = SplitLoader(replace(part, rows=part.rows[::2]), network)
    batches = sum(1 for _ in half.batches())
    readers = ("encoder of student", "head of student", "encoder of teacher", "head of teacher")
    assert passes == Counter(dict.fromkeys(readers, batches))


@pytest.mark.parametrize("decoding", ["argmax", "strict", "constrained"])
def test_all_biases_together_read_as_each_alone(stores: dict[str, Path], decoding: str) -> None:
    network, experience = overconfident(stores["none"])
    network.head.decoding = decoding
    batch = SplitLoader(experience.dev[0], network).batch(range(12))
    with network.eval_mode():
        together = network.read_out_each(network.states(batch), batch, GRID)
        assert together == [network.predict(batch, new_type_bias=delta) for delta in GRID]
    assert len({tuple(map(len, predictions)) for predictions in together}) > 2


def test_a_dev_without_the_new_types_leaves_delta_at_zero(stores: dict[str, Path]) -> None:
    network, experience = overconfident(stores["none"])
    (part,) = experience.dev
    without = [i for i, sentence in enumerate(part.sentences()) if not sentence.entities]
    assert without and calibrate(network, None, experience.dev) > 0
    assert calibrate(network, None, [replace(part, rows=part.rows[without])]) == 0


def test_the_share_of_new_words_is_recovered_without_labels() -> None:
    """Words of two kinds, drawn from N(1.5, 1) and N(-1.5, 1), judged by a network that learned at another share."""
    torch.manual_seed(0)
    is_new = torch.rand(20_000) < 0.1
    x = torch.randn(20_000, dtype=torch.float64) + torch.where(is_new, 1.5, -1.5)
    masses = torch.sigmoid(3 * x + torch.logit(torch.tensor(0.4, dtype=torch.float64)))
    assert share_in(masses, 0.4) == pytest.approx(0.1, abs=0.01)
    assert share_in(masses, 0.4) == pytest.approx(share_in(masses.flip(0), 0.4))
    assert 0 < share_in(torch.zeros(5, dtype=torch.float64), 0.4) < 1e-6


def test_the_bias_by_prior_changes_no_weight(stores: dict[str, Path], tmp_path: Path) -> None:
    store = shutil.copytree(stores["none"], tmp_path / "store")
    before = runs.weights(store)
    run(runs.small(store, *LEARNING, "eval.calibration=prior"), runs.silent)
    assert runs.weights(store) == before
    ledger = runs.ledger(store)
    for record in ledger.records():
        assert record.calibration is not None and abs(record.calibration.delta) <= MOST
    network, experience = overconfident(store)
    train = experience.train
    assert by_prior(network, replace(train, rows=train.rows[:0]), experience.dev) == 0.0
    assert by_prior(network, train, [replace(train, part="train")]) == pytest.approx(0.0, abs=0.2), "the same text"
    without = [i for i, sentence in enumerate(train.sentences()) if not sentence.entities]
    fewer = replace(train, rows=np.concatenate([train.rows[:20], np.tile(train.rows[without], 5)]))
    assert by_prior(network, train, [fewer]) > 0.3, "fewer words of the new types than the step has"


def test_baking_in_moves_the_shift_into_every_output(stores: dict[str, Path]) -> None:
    network, experience = overconfident(stores["none"])
    batch = SplitLoader(experience.dev[0], network).batch(range(6))
    before, predictions = network.forward_eval(batch).logits, network.predict(batch, new_type_bias=2.0)
    network.head.bake_in(2.0)
    shift = torch.tensor([0.0, 2.0, 2.0])
    torch.testing.assert_close(network.forward_eval(batch).logits, before - shift)
    assert [set(p) for p in network.predict(batch)] == [set(p) for p in predictions]
    output = network.forward_eval(batch)
    positive, negative = losses.decompose_by_product(output.features, output.weight)
    torch.testing.assert_close(positive + negative, output.logits)


def test_the_first_step_chooses_by_gold(stores: dict[str, Path]) -> None:
    """Without a teacher, half of dev is scored on its own labels: calibrated dev cannot be far below raw dev."""
    first = runs.ledger(stores["read_out"]).records()[0]
    assert first.calibration is not None
    assert macro(first.calibration.dev) >= macro(first.dev) - 0.02


def test_a_predictor_reads_as_calibrated(stores: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    last = runs.ledger(stores["read_out"]).records()[-1]
    assert last.calibration is not None
    biases: list[float] = []
    read_out = Network.read_out

    def spy(network: Network, *read: Any, new_type_bias: float = 0.0, **options: Any) -> list[Prediction]:
        biases.append(new_type_bias)
        return read_out(network, *read, new_type_bias=new_type_bias, **options)

    monkeypatch.setattr(Network, "read_out", spy)
    Predictor.of("demo", str(stores["read_out"])).words([["Anna", "flew"]])
    assert biases == [last.calibration.delta]


def test_a_read_out_never_reaches_the_pseudo_labels_of_a_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings A2: the teacher of a calibrated step labels as it would without."""
    monkeypatch.setattr("raycner.evaluation.evaluator.calibrate", lambda *_: 3.0)
    settings = ("method={name: self_training}", "optim.epochs=2", "optim.first.epochs=6")
    ledgers = [
        run(runs.small(tmp_path / kind, *settings, f"eval.calibration={kind}"), runs.silent)
        for kind in ("none", "read_out")
    ]
    raw, calibrated = (ledger.records() for ledger in ledgers)
    assert [record.calibration and record.calibration.delta for record in calibrated] == [3.0, 3.0, 3.0]
    assert any(record.pseudo for record in raw)
    assert [record.pseudo for record in raw] == [record.pseudo for record in calibrated]
    assert [record.test for record in raw] == [record.test for record in calibrated]


def test_a_checkpoint_of_version_0_1_loads_without_its_shift(stores: dict[str, Path]) -> None:
    network, _ = overconfident(stores["none"])
    network.load_state_dict({**network.state_dict(), "head.shift": torch.ones(3)})
    assert "head.shift" not in network.state_dict()


@pytest.mark.parametrize("way", [("scenario.joint=true", "eval.calibration=read_out"), ("optim.calibration=carried",)])
def test_the_joint_bound_and_calibrated_teachers_run(way: tuple[str, ...], tmp_path: Path) -> None:
    settings = (*way, "optim.epochs=1", "optim.first.epochs=1")
    ledger = run(runs.small(tmp_path, *settings), runs.silent)
    assert all(record.calibration is not None for record in ledger.records())


def test_a_head_without_a_bias_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="shifts a bias that head 'cosine' does not have"):
        runs.small(tmp_path, "model.head.name=cosine", "optim.calibration=carried")
    assert RunConfig.load(["model.head.name=cosine", "eval.calibration=read_out"]).eval.calibration == "read_out"
    with pytest.raises(InputError, match="'read_out' shifts a bias that head 'stepwise' does not have"):
        runs.small(tmp_path, "method={name: add_ner}", "model.head.name=stepwise", "eval.calibration=read_out")
