"""What needs a GPU to be seen: it learns what a CPU learns, alone and in a group, through Ray, and after a kill.

In fp64 and without dropout, so that only the order of sums differs. Without a GPU these tests are skipped.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file

import runs
import test_world_size
from raycner.config import RunConfig
from raycner.events import EpochFinished, Event
from raycner.inference.predictor import Predictor
from raycner.networks import devices
from raycner.orchestration.runner import run
from test_world_size import OF_PRETRAINED, WAYS, WHOLE_BATCHES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
GROUP_WAYS = ("dld_cfner", "feature_replay", "memory", "span_kl", "lucir")
"""Ways with which groups are tried: a teacher, neighbours, statistics, other sentences, another head, class means."""
TOLERANCE = {"rtol": 1e-5, "atol": 1e-7}
"""How far a weight may be apart after two steps whose sums were added in another order."""


class Stopped(Exception):
    """A kill, after an epoch."""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_assigned", [])
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")


def job(store: Path, way: str, encoder: list[str]) -> RunConfig:
    return runs.small(store, *test_world_size.SETTINGS, *encoder, *(WAYS | WHOLE_BATCHES)[way])


def learn(store: Path, way: str, encoder: list[str]) -> None:
    run(job(store, way, encoder), runs.silent)


def assert_alike(one: Path, other: Path) -> None:
    """The same steps with the same weights, up to rounding, and the same scores."""
    steps = sorted(path.name for path in (one / "steps").iterdir())
    assert steps == sorted(path.name for path in (other / "steps").iterdir())
    for step in steps:
        ours, theirs = (load_file(store / "steps" / step / "weights.safetensors") for store in (one, other))
        torch.testing.assert_close(theirs, ours, **TOLERANCE)
    assert [record.test for record in runs.ledger(one).records()] == [r.test for r in runs.ledger(other).records()]


def pretrained(tiny_bert: str) -> list[str]:
    return [f"model.encoder={{name: pretrained, path: {tiny_bert}}}"]


@pytest.mark.parametrize("kind", ["bilstm", "pretrained"])
@pytest.mark.parametrize("way", [*WAYS, *WHOLE_BATCHES])
def test_a_gpu_learns_what_a_cpu_learns(
    way: str, kind: str, tmp_path: Path, tiny_bert: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "bilstm" and way in OF_PRETRAINED:
        pytest.skip("needs a pretrained encoder")
    encoder = pretrained(tiny_bert) if kind == "pretrained" else []
    learn(tmp_path / "gpu", way, encoder)
    monkeypatch.setattr(devices, "_assigned", [torch.device("cpu")])
    learn(tmp_path / "cpu", way, encoder)
    assert_alike(tmp_path / "cpu", tmp_path / "gpu")
    assert {record.device for record in runs.ledger(tmp_path / "gpu").records()} == {torch.cuda.get_device_name()}


def stop_in_the_second_step() -> Callable[[Event], None]:
    ended: list[EpochFinished] = []

    def handle(event: Event) -> None:
        if isinstance(event, EpochFinished):
            ended.append(event)
            if len(ended) == 3:
                raise Stopped

    return handle


@pytest.mark.parametrize("way", GROUP_WAYS)
def test_a_stopped_step_resumes_on_a_gpu(way: str, tmp_path: Path, tiny_bert: str) -> None:
    encoder = pretrained(tiny_bert)
    learn(tmp_path / "whole", way, encoder)
    stopped = job(tmp_path / "stopped", way, encoder)
    with pytest.raises(Stopped):
        run(stopped, stop_in_the_second_step())
    run(stopped, runs.silent)
    assert_alike(tmp_path / "whole", tmp_path / "stopped")


def in_group(rank: int, size: int, backend: str, folder: Path, encoder: list[str], meeting: str) -> None:
    """The program of a rank: all ways, on the one GPU."""
    torch.set_num_threads(1)
    devices.assign(torch.device("cuda", 0))
    torch.cuda.set_device(0)
    dist.init_process_group(backend, init_method=f"file://{meeting}", rank=rank, world_size=size)
    for way in GROUP_WAYS:
        runs.learn_in_group(job(folder / way, way, encoder))
    dist.destroy_process_group()


@pytest.mark.parametrize(("backend", "size"), [("nccl", 1), ("gloo", 2)])
def test_a_group_on_a_gpu_learns_what_one_process_learns(
    backend: str, size: int, tmp_path: Path, tiny_bert: str
) -> None:
    """NCCL refuses two ranks on one GPU, gloo does not."""
    encoder = pretrained(tiny_bert)
    for way in GROUP_WAYS:
        learn(tmp_path / "alone" / way, way, encoder)
    meeting = str(tmp_path / "meeting")
    mp.spawn(in_group, args=(size, backend, tmp_path / "group", encoder, meeting), nprocs=size)
    for way in GROUP_WAYS:
        assert_alike(tmp_path / "alone" / way, tmp_path / "group" / way)


@pytest.mark.ray
def test_a_worker_of_ray_that_has_the_gpu_learns_what_one_process_learns(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    settings = ("optim.precision=fp64", "scenario.protocol.first=2")
    runs.finish(tmp_path / "alone", *settings)
    runs.finish(
        tmp_path / "group", *settings, "compute.workers=1", "compute.gpus_per_worker=1", "compute.max_failures=0"
    )
    assert_alike(tmp_path / "alone", tmp_path / "group")
    assert {record.device for record in runs.ledger(tmp_path / "group").records()} == {torch.cuda.get_device_name()}


@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_of_ray_without_a_gpu_compute_on_the_cpu(workers: int, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    runs.finish(tmp_path, "scenario.protocol.first=2", f"compute.workers={workers}", "compute.max_failures=0")
    assert {record.device for record in runs.ledger(tmp_path).records()} == {"cpu"}


def test_bf16_is_what_a_gpu_computes_in_and_predicts_with(
    tmp_path: Path, tiny_bert: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not devices.does_bf16(torch.device("cuda")):
        pytest.skip("this GPU emulates bf16")
    store = tmp_path / "store"
    run(runs.small(store, *pretrained(tiny_bert), "optim.first.epochs=8", "optim.epochs=8"), runs.silent)
    ledger = runs.ledger(store)
    assert {record.dtype for record in ledger.records()} == {"bf16"}
    sentences = [["Ada", "lives", "in", "Oslo", "."], ["Nobody", "was", "there", "."]]
    here = Predictor.of(ledger.run, str(store))
    assert here._network.device.type == "cuda" and here._network.bf16
    assert len(here.words(sentences)) == 2
    monkeypatch.setattr(devices, "_assigned", [torch.device("cpu")])
    assert Predictor.of(ledger.run, str(store))._network.device.type == "cpu"
