"""Memory: which sentences a finished step keeps, how later steps learn them, and until when they may be kept."""

import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

import runs
from processes import wait_until
from raycner.__main__ import main
from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.experience import Split, whole
from raycner.data.scenarios.memory import MemoryConfig, open_memory
from raycner.errors import InputError
from raycner.events import StepAdvanced
from raycner.hashing import plain
from raycner.networks.network import Network
from raycner.orchestration.runner import run
from raycner.storage.housekeeping import damages, leftovers
from raycner.storage.memories import MemoryRecord
from raycner.storage.store import ObjectStore
from raycner.training.exemplars import exemplars, herded
from raycner.training.loader import SplitLoader

SETTINGS = ("scenario.order=[location, person]", "method.name=extend_ner", "scenario.corpus.sentences=60")
MEMORY = "scenario.memory={size: 3}"
YESTERDAY, TOMORROW = (date.today() + timedelta(days) for days in (-1, 1))


@pytest.fixture
def split(tiny_corpus: Corpus) -> Split:
    """Two types: one in most sentences, one in some."""
    return whole(tiny_corpus, "train", ["city", "food"])


@pytest.fixture
def network(tiny_config: RunConfig, split: Split) -> Network:
    torch.manual_seed(0)
    network = Network(tiny_config.model)
    network.start_step(TypeInventory().grow(("city", "food")), [s.words for s in split.sentences()])
    return network


def not_needed() -> Network:
    raise AssertionError("no network is needed")


def with_type(split: Split, positions: np.ndarray, kind: str) -> int:
    return sum(any(e.type == kind for e in split[int(p)].entities) for p in positions)


@pytest.mark.parametrize("choose", ["random", "rarest"])
def test_each_type_has_so_many_sentences(choose: str, split: Split) -> None:
    config = MemoryConfig(size=3, choose=choose)
    positions = exemplars(split, config, not_needed, (0, 0))
    assert sorted(set(positions)) == positions.tolist()
    assert 3 <= len(positions) <= 6
    assert all(with_type(split, positions, kind) >= 3 for kind in split.visible)
    assert (positions == exemplars(split, config, not_needed, (0, 0))).all()
    others = [exemplars(split, config, not_needed, (seed, 0)).tolist() for seed in (1, 2, 3)]
    assert positions.tolist() not in others
    of_step = exemplars(split, MemoryConfig(size=3, per="step", choose=choose), not_needed, (0, 0))
    assert len(of_step) == 3
    everything = exemplars(split, MemoryConfig(size=1000, choose=choose), not_needed, (0, 0))
    assert len(everything) == sum(bool(sentence.entities) for sentence in split.sentences())


def test_the_rarest_types_come_first(split: Split) -> None:
    number = {kind: with_type(split, np.arange(len(split)), kind) for kind in split.visible}
    rare = min(number, key=lambda kind: number[kind])
    positions = exemplars(split, MemoryConfig(size=4, per="step", choose="rarest"), not_needed, (0, 0))
    assert with_type(split, positions, rare) == 4


def test_herding_is_greedy() -> None:
    features = torch.from_numpy(np.random.RandomState(0).randn(7, 3))
    order: list[int] = []
    for _ in range(4):
        means = {i: features[[*order, i]].mean(0) for i in range(7) if i not in order}
        order.append(min(means, key=lambda i: float((means[i] - features.mean(0)).norm())))
    assert herded(features, 4) == order
    assert sorted(herded(features, 100)) == list(range(7))


def test_what_the_network_is_unsure_of_comes_first(split: Split, network: Network) -> None:
    positions = exemplars(split, MemoryConfig(size=5, per="step", choose="uncertain"), lambda: network, (0, 0))
    loader = SplitLoader(split, network)
    with network.eval_mode():
        predictions = network.predict(loader.batch(range(len(split))))
    doubt = np.asarray([1 - np.mean(list(entities.values())) if entities else 1.0 for entities in predictions])
    own = [i for i, sentence in enumerate(split.sentences()) if sentence.entities]
    assert doubt[positions].min() >= np.sort(doubt[own])[::-1][4] - 1e-6


def test_herded_sentences_resemble_all(split: Split, network: Network) -> None:
    positions = exemplars(split, MemoryConfig(size=6, choose="herding"), lambda: network, (0, 0))
    assert all(with_type(split, positions, kind) >= 6 for kind in split.visible)
    assert (positions == exemplars(split, MemoryConfig(size=6, choose="herding"), lambda: network, (0, 0))).all()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The stores of a run without a memory, of one with a memory of no sentence, and of one with three a type."""
    folder = tmp_path_factory.mktemp("stores")
    ways = {"without": [], "neutral": ["scenario.memory={size: 0, choose: herding}"], "with": [MEMORY]}
    for name, settings in ways.items():
        run(runs.small(folder / name, *SETTINGS, *settings), runs.silent)
    return {name: folder / name for name in ways}


def test_a_memory_of_no_sentence_changes_nothing(stores: dict[str, Path]) -> None:
    assert runs.weights(stores["without"]) == runs.weights(stores["neutral"])
    assert not (stores["neutral"] / "memories").exists()


def test_later_steps_learn_what_the_first_one_kept(stores: dict[str, Path]) -> None:
    alone, remembering = (runs.ledger(stores[name]) for name in ("without", "with"))
    assert alone.planned[0] == remembering.planned[0], "the first step has no memory, and is shared"
    assert alone.planned[1].fingerprint != remembering.planned[1].fingerprint
    (folder,) = (stores["with"] / "memories").iterdir()
    memory = open_memory(folder, "memory")
    assert len(memory) == 3
    assert memory.visible == {"location"}
    assert {entity.type for sentence in memory.sentences() for entity in sentence.entities} == {"location"}
    numbers = [[record.sentences for record in ledger.records()] for ledger in (alone, remembering)]
    assert [numbers[1][0] - numbers[0][0], numbers[1][1] - numbers[0][1]] == [0, 3]


@pytest.mark.parametrize("lost", ["steps", "memories", "both"])
def test_a_lost_step_or_memory_is_made_again_bit_for_bit(lost: str, stores: dict[str, Path], tmp_path: Path) -> None:
    store = shutil.copytree(stores["with"], tmp_path / "store")
    last = runs.ledger(store).planned[1].fingerprint
    if lost != "memories":
        shutil.rmtree(store / "steps" / last)
    if lost != "steps":
        shutil.rmtree(store / "memories")
    run(runs.small(store, *SETTINGS, MEMORY), runs.silent)
    assert runs.weights(store) == runs.weights(stores["with"])
    assert (store / "memories").exists() == (lost != "memories"), "a finished run needs no memory"


def test_a_killed_step_with_a_memory_resumes_bit_for_bit(stores: dict[str, Path], tmp_path: Path) -> None:
    class KilledError(Exception):
        """The process ends here."""

    def kill_in_the_second_step(event: object) -> None:
        is_second_epoch = isinstance(event, StepAdvanced) and event.share > 0.5
        if is_second_epoch and len(list(tmp_path.glob("steps/*/MANIFEST"))) == 1:
            wait_until(lambda: any(tmp_path.glob("snapshots/*/epoch-1/MANIFEST")))
            raise KilledError

    config = runs.small(tmp_path, *SETTINGS, MEMORY)
    with pytest.raises(KilledError):
        run(config, kill_in_the_second_step)
    run(config, runs.silent)
    assert runs.weights(tmp_path) == runs.weights(stores["with"])


def test_gc_keeps_a_memory_until_its_day(stores: dict[str, Path], tmp_path: Path) -> None:
    why = {}
    for name, until in {"over": YESTERDAY, "permitted": TOMORROW}.items():
        store = ObjectStore(str(shutil.copytree(stores["with"], tmp_path / name)))
        (key,) = {key.rpartition("/")[0] for key in store.list("memories")}
        record = MemoryRecord.read(store, key)
        assert (record.step, record.until) == (runs.ledger(tmp_path / name).planned[0].fingerprint, None)
        folder = shutil.copytree(tmp_path / name / key, tmp_path / f"{name}-memory")
        (folder / "MANIFEST").unlink()
        replace(record, until=until).write(folder)
        store.remove(key)
        store.push(folder, key)
        assert not list(damages(store, runs.silent))
        why[name] = {one.name: one.why for one in leftovers(store)}.get(key)
    assert why == {"over": f"it could be kept until {YESTERDAY}", "permitted": None}


def test_gc_removes_the_memory_of_a_removed_run(stores: dict[str, Path], tmp_path: Path) -> None:
    store = shutil.copytree(stores["with"], tmp_path / "store")
    shutil.rmtree(store / "runs")
    (memory,) = (one for one in leftovers(ObjectStore(str(store))) if one.name.startswith("memories/"))
    assert memory.why == "no run or search refers to its step"


def test_nothing_is_learned_after_the_last_day(
    stores: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    over = f"scenario.memory={{size: 3, until: {YESTERDAY}}}"
    assert main(["run", *runs.SMALL, *SETTINGS, over, f"store={tmp_path}"]) == 2
    assert f"scenario.memory.until: sentences could be kept until {YESTERDAY}" in " ".join(
        capsys.readouterr().err.split()
    )
    assert not (tmp_path / "steps").exists()
    finished = runs.small(stores["with"], *SETTINGS, over)
    run(finished, runs.silent)  # what is trained needs no permission
    assert finished.scenario.memory.until == YESTERDAY
    assert RunConfig.from_settings(plain(finished), {}) == finished


@pytest.mark.parametrize(
    ("method", "head"), [("cfner", "linear"), ("add_ner", "stepwise"), ("span_kl", "spans"), ("gen_cner", "triplets")]
)
def test_methods_with_outputs_of_their_own_learn_a_memory(method: str, head: str, tmp_path: Path) -> None:
    kinds = (f"method.name={method}", f"model.head.name={head}", "optim.epochs=1", "optim.first.epochs=1")
    run(runs.small(tmp_path, *SETTINGS, *kinds, MEMORY), runs.silent)
    first, second = runs.ledger(tmp_path).records()
    assert second.sentences == first.sentences + 3
    assert all(np.isfinite(loss) for epoch in second.epochs for loss in epoch.losses.values())


def test_a_bound_keeps_no_memory() -> None:
    with pytest.raises(InputError, match="sees all sentences anyway"):
        RunConfig.load([MEMORY, "scenario.joint=true"])
    with pytest.raises(InputError, match="not negative"):
        RunConfig.load(["scenario.memory.size=-1"])
