"""Rows for types to come: they share the softmax from the first step on, and later types take them over."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import raycner
import runs
from raycner.config import RunConfig
from raycner.data.entities import TypeInventory
from raycner.data.retyping import Retyping
from raycner.errors import InputError
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.head import GrowthConfig
from raycner.networks.heads.linear import Linear, LinearTags
from raycner.networks.heads.tag_set import Scheme
from raycner.networks.network import Network
from raycner.networks.retyping import retyped
from raycner.orchestration.runner import run

WIDTH = 6
ONE = TypeInventory().grow(("animal",))
TWO = ONE.grow(("city",))
FOUR = TWO.grow(("food", "name"))
SETTINGS = ("method={name: finetuning}", "model.growth.freeze_old=true")


def grown(preallocate: int, *inventories: TypeInventory, freeze: bool = False, scheme: Scheme = "BIO") -> LinearTags:
    torch.manual_seed(0)
    head = Linear(preallocate=preallocate, scheme=scheme).build(WIDTH)
    for inventory in (TypeInventory(), *inventories):
        head.grow(inventory, GrowthConfig(freeze_old=freeze))
    return head


def random_batch() -> tuple[States, Batch]:
    torch.manual_seed(1)
    targets = torch.tensor([[0, 1, 2], [0, 0, 1]])
    return States.of_words(torch.randn(2, 3, WIDTH)), Batch(torch.arange(2), {}, targets >= 0, targets)


@pytest.mark.parametrize(("scheme", "of_a_type"), [("BIO", 2), ("BIOES", 4)])
@pytest.mark.parametrize("freeze", [True, False])
def test_new_types_take_over_rows_as_they_were_trained(freeze: bool, scheme: Scheme, of_a_type: int) -> None:
    head = grown(3, ONE, freeze=freeze, scheme=scheme)
    assert head.spare is not None and len(head.spare) == 2 * of_a_type
    old, spare = head.weight.detach().clone(), head.spare.detach().clone()
    head.grow(TWO, GrowthConfig(freeze_old=freeze))
    assert torch.equal(head.weight, torch.cat([old, spare[:of_a_type]]))
    assert torch.equal(head.spare, spare[of_a_type:]) and head.spare.requires_grad
    assert len(head.frozen) == (len(old) if freeze else 0)
    head.finalize()
    head.grow(FOUR, GrowthConfig(freeze_old=freeze))
    assert torch.equal(head.weight[: len(old) + 2 * of_a_type], torch.cat([old, spare]))
    assert len(head.weight) == 1 + 4 * of_a_type and head.weight[-of_a_type:].any(), "the last type has drawn rows"
    assert head.spare is None and "spare" not in head.state_dict()


def test_without_the_setting_rows_are_drawn_as_ever() -> None:
    head, plain = grown(0, ONE, TWO), grown(2, ONE, TWO)
    torch.manual_seed(0)
    drawn = [head.draw(1), head.draw(2), head.draw(2)]
    assert torch.equal(head.weight, torch.cat(drawn)) and head.spare is None
    assert head.state_dict().keys() == plain.state_dict().keys()


def test_they_are_trained_and_never_predicted() -> None:
    head, (states, batch) = grown(3, ONE), random_batch()
    assert head.spare is not None
    with torch.no_grad():
        head.spare[:, -1] = 50.0  # far ahead of every tag
    output = head(states, batch)
    assert output.logits.shape[-1] == output.weight.shape[0] == len(head.tags) == 3
    loss = head.loss(output, batch).total
    loss.backward()
    assert loss > 6 * 45
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.parameters())
    without = copy.deepcopy(head)
    without.spare = None
    assert head.predict(states, batch) == without.predict(states, batch)
    layer = head.as_linear()
    assert layer is not None and len(layer.weight) == 3


@pytest.mark.parametrize("freeze", [True, False])
def test_a_checkpoint_restores_them(freeze: bool) -> None:
    head = grown(4, ONE, TWO, freeze=freeze)
    head.finalize()
    again = Linear(preallocate=4).build(WIDTH)
    again.load_shape(TWO)
    again.load_state_dict(copy.deepcopy(head.state_dict()))
    torch.testing.assert_close(again.state_dict(), head.state_dict(), rtol=0, atol=0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run of three types in three steps, which has rows for four."""
    folder = tmp_path_factory.mktemp("preallocated")
    run(runs.small(folder, *SETTINGS, "model.head.preallocate=4"), runs.silent)
    return folder


def steps(store: Path) -> list[dict[str, Tensor]]:
    fingerprints = [step.fingerprint for step in runs.ledger(store).planned]
    return [load_file(store / "steps" / fingerprint / "weights.safetensors") for fingerprint in fingerprints]


def test_they_train_on_where_old_rows_are_frozen(store: Path) -> None:
    first, second, third = steps(store)
    assert [len(weights["head.spare"]) for weights in (first, second, third)] == [6, 4, 2]
    assert torch.equal(second["head.rows"][:3], first["head.rows"])
    assert torch.equal(third["head.rows"][:5], second["head.rows"])
    assert not torch.equal(second["head.spare"], first["head.spare"][2:])
    assert not torch.equal(third["head.spare"], second["head.spare"][2:])


def test_its_steps_are_reused_and_0_names_no_other_step(store: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.glob("steps/*/weights.safetensors")}
    events: list[object] = []
    run(runs.small(store, *SETTINGS, "model.head.preallocate=4"), events.append)
    assert {path: path.stat().st_mtime_ns for path in store.glob("steps/*/weights.safetensors")} == before
    run(runs.small(tmp_path, *SETTINGS), runs.silent)
    run(runs.small(tmp_path, *SETTINGS, "model.head.preallocate=0"), runs.silent)
    assert len([*tmp_path.glob("steps/*")]) == 3


def test_exports_predict_alike(store: Path, tmp_path: Path) -> None:
    trained = raycner.load_run(runs.ledger(store).run, store=str(store))
    sentences = [["Anna", "lives", "in", "Rome"], ["a", "new", "phone"]]
    trained.export(tmp_path / "exported")
    assert raycner.Predictor.load(tmp_path / "exported").words(sentences) == trained.predictor().words(sentences)


def test_a_retyped_network_has_none() -> None:
    network = Network(RunConfig.load([*runs.SMALL, *SETTINGS, "model.head.preallocate=4"]).model)
    for kind in ("one", "two", "three"):
        network.start_step(network.inventory.grow((kind,)), [["a", "word"]])
    network.finalize()
    rows = network.state_dict()["head.rows"]
    for retyping, expected in (
        (Retyping(), rows),
        (Retyping(rename={"two": "2"}), rows),
        (Retyping(drop=("two",)), torch.cat([rows[:3], rows[5:]])),
        (Retyping(merge={"both": ("one", "two")}), rows),
    ):
        other = retyped(network, retyping)
        assert "head.spare" not in other.state_dict() and torch.equal(other.state_dict()["head.rows"], expected)
        other.start_step(other.inventory.grow(("new",)), [["a", "word"]])
        assert len(other.head.weight) == len(expected) + 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.head.preallocate=-1"], "preallocate -1: not negative"),
        (["method.name=extend_ner"], "'extend_ner' has others"),
        (["method={name: der, base: {name: finetuning}, logit_weight: 0}"], "'der' has others"),
        (["at.2.method.name=extend_ner"], "'extend_ner' has others"),
        (["model.growth.imprint=train"], "replace the rows that head.preallocate has trained"),
        (["model.growth.init=reset"], "replace the rows that head.preallocate has trained"),
        (["optim.fusion=0.5"], "mixes rows by their place"),
    ],
)
def test_what_they_cannot_be_trained_with(settings: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunConfig.load(["model.head.preallocate=4", *settings])
