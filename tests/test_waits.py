"""How often an update waits for its device: at most three times, whatever the method.

A tensor's values are on a GPU where it computes, so code that needs one (a length, a number, a branch) makes the host
wait until all that was launched before is done. Such code is seen on a CPU as well, by the operations it calls. What
transformers adds is left out: it reads the mask of the padding once in each forward pass.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import runs
from raycner.data.scenarios.scenario import Scenario
from raycner.storage.store import ObjectStore
from raycner.training.cached_output import CachedOutput
from raycner.training.plan import plan
from raycner.training.step_trainer import StepTrainer, annotate, freeze, grow, train
from test_step_trainer import Listener

MOST = 3
READS = {
    torch.ops.aten._local_scalar_dense.default,  # item, bool, int, float
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
}
BY_INDEX = {
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
    torch.ops.aten._index_put_impl_.default,
}
WAYS = {
    "finetuning": ["method.name=finetuning"],
    "extend_ner": ["method.name=extend_ner"],
    "dld": ["method.name=dld", "method.base.name=extend_ner"],
    "cfner": ["method={name: cfner, curriculum: true}"],
    "cfner_epoch": ["method={name: cfner, refresh: epoch}"],
    "dld_cfner": ["method={name: dld, base: {name: cfner}}"],
    "lucir": ["method.name=lucir", "model.head.name=cosine"],
    "podnet": ["method.name=podnet", "model.head.name=cosine"],
    "cpfd": ["method.name=cpfd"],
    "rdp": ["method.name=rdp"],
    "duplet": ["method={name: duplet, base: {name: extend_ner}}"],
    "contrastive": ["method={name: contrastive, base: {name: extend_ner}}"],
    "contrastive_cfner": ["method={name: contrastive, base: {name: cfner}}"],
    "add_ner": ["method.name=add_ner", "model.head.name=stepwise"],
    "gen_cner": ["method.name=gen_cner", "model.head.name=triplets"],
    "span_kl": ["method.name=span_kl", "model.head.name=spans"],
    "seq2seq": ["method.name=self_training", "method.threshold=0.5", "model.head.name=seq2seq"],
}


class Waits(TorchDispatchMode):
    """Counts the operations whose result, or the shape of whose result, the host must read."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []
        self.is_counting = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func in BY_INDEX and any(index is not None and index.dtype == torch.bool for index in args[1])
        if self.is_counting and (by_mask or func in READS) and not _of_transformers():
            self.operations.append(str(func))
        return func(*args, **(kwargs or {}))

    @contextmanager
    def suspended(self) -> Iterator[None]:
        self.is_counting = False
        yield
        self.is_counting = True


def _of_transformers() -> bool:
    """Whether transformers runs, which reads the padding mask."""
    return any("/transformers/" in frame.f_code.co_filename for frame, _ in traceback.walk_stack(None))


@pytest.mark.parametrize("way", WAYS)
def test_an_update_waits_at_most_three_times(
    way: str, tmp_path: Path, tiny_bert: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (
        "scenario.corpus.sentences=48",
        "scenario.order=[location, person]",
        f"model.encoder={{name: pretrained, path: {tiny_bert}}}",
        "optim.epochs=1",
        "optim.first.epochs=1",
        "optim.batch_size=32",
        "optim.select=last",
    )
    config = runs.small(tmp_path / "store", *settings, *WAYS[way])
    scenario = Scenario.prepare(config.scenario, ObjectStore(config.store), runs.silent)
    first, spec = plan(config, scenario)
    parent, _ = train(first, scenario[0], None, Listener())
    network, teacher = parent.copy(), freeze(parent, spec, 0.0, tmp_path)
    split = annotate(scenario[1].train, spec.method, teacher)
    grow(network, split, scenario[1], spec)
    trainer = StepTrainer.of(spec, network, teacher, split, scenario[1], Listener())
    waits = Waits()
    read, tolist = CachedOutput.read, Tensor.tolist

    def read_on_host(self: CachedOutput, positions: Tensor, mask: Tensor) -> Tensor:
        with waits.suspended():  # positions and mask are in the memory of the host, whatever the device
            return read(self, positions, mask)

    def counted(tensor: Tensor) -> Any:
        if waits.is_counting:
            waits.operations.append("tolist")
        return tolist(tensor)

    monkeypatch.setattr(CachedOutput, "read", read_on_host)
    batches = trainer._batches(0)
    trainer.loader.split = spec.method.on_epoch_start(trainer.loader)
    trainer.learner.train()
    for positions in batches[:2]:  # the first one fills caches
        waits.operations.clear()
        parts = trainer.collate(0, positions)  # on the host
        with pytest.MonkeyPatch.context() as patch, waits:
            patch.setattr(Tensor, "tolist", counted)
            trainer.backward(parts)
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            trainer.optimizer.step()
            trainer.optimizer.zero_grad(set_to_none=True)
    assert len(waits.operations) <= MOST, waits.operations
