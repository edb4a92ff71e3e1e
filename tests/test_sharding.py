"""Ranks that share the optimiser's state make the updates of ranks that each have all of it, and resume alike."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.optim import Optimizer

import runs
from raycner.config import RunConfig
from raycner.events import EpochFinished, Event
from raycner.orchestration.runner import run
from raycner.training import sharding

SETTINGS = (
    "optim.precision=fp64",
    "scenario.corpus.sentences=63",
    "scenario.order=[location, person]",
    "optim.batch_size=4",
    "method={name: dld, base: {name: cfner}}",
)
WAYS = {
    "adamw": ["optim.accumulate=2", "optim.decay=weights", "optim.weight_decay=0.01"],
    "sgd": ["optim={optimizer: sgd, momentum: 0.9, ema: 0.9}"],
    "adapters": ["model.encoder.adapters.rank=2"],
}


class Stopped(Exception):
    """A kill, after an epoch."""


def config(store: Path, encoder: str, way: str, *settings: str) -> RunConfig:
    pretrained = f"model.encoder={{name: pretrained, path: {encoder}}}"
    return runs.small(store / way, *SETTINGS, pretrained, *WAYS[way], *settings)


def stop_in_the_second_step(event: Event) -> None:
    if isinstance(event, EpochFinished) and event.number == 2:
        raise Stopped


def work(rank: int, folder: Path, encoder: str, meeting: str) -> None:
    """The program of a rank: every way without and with sharding, the latter stopped after an epoch and resumed."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    shares: list[int] = []
    restore = sharding.restore

    def counted(optimizer: Optimizer, state: sharding.Moments) -> None:
        restore(optimizer, state)
        assert isinstance(optimizer, ZeroRedundancyOptimizer)
        shares.append(len(optimizer.optim.state))
        assert 0 < shares[-1] < len(state), "a rank holds the state of its share of the parameters"

    sharding.restore = counted
    for way in WAYS:
        runs.learn_in_group(config(folder / "whole", encoder, way))
        job = config(folder / "shared", encoder, way, "compute.sharding=optimizer")
        with pytest.raises(Stopped):
            runs.learn_in_group(job, stop_in_the_second_step)
        dist.barrier()
        runs.learn_in_group(job)
    assert len(shares) == len(WAYS)
    dist.destroy_process_group()


def test_ranks_that_share_the_state_of_the_optimiser_end_where_others_do(tmp_path: Path, tiny_bert: str) -> None:
    mp.spawn(work, args=(tmp_path, tiny_bert, str(tmp_path / "meeting")), nprocs=2)
    for way in WAYS:
        whole, shared = (runs.weights(tmp_path / name / way) for name in ("whole", "shared"))
        assert len(whole) == 2 and whole == shared


def test_a_compiled_encoder_learns_the_same(tmp_path: Path, tiny_bert: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the compiler's own interpreter: no C++ is built."""
    compiled: list[nn.Module] = []
    compile_module = nn.Module.compile

    def traced(self: nn.Module, **options: bool) -> None:
        compiled.append(self)
        compile_module(self, backend="eager", **options)

    monkeypatch.setattr(nn.Module, "compile", traced)
    settings = (*SETTINGS, "scenario.order=[location]", "scenario.corpus.sentences=30", "method={name: finetuning}")
    encoder = f"model.encoder={{name: pretrained, path: {tiny_bert}}}"
    stores = {value: tmp_path / value for value in ("false", "true")}
    for value, store in stores.items():
        run(runs.small(store, *settings, encoder, f"compute.compile={value}"), runs.silent)
    assert len(compiled) == 1
    (plain,), (traced_step,) = ([*(store / "steps").iterdir()] for store in stores.values())
    assert plain.name == traced_step.name
    weights = (load_file(step / "weights.safetensors") for step in (plain, traced_step))
    torch.testing.assert_close(*weights, rtol=1e-7, atol=1e-9)
