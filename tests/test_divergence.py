"""A loss that is no number ends the step in one line, on every rank, and nothing of the step is committed."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import tensor

import runs
from raycner.errors import InputError
from raycner.orchestration.runner import run
from raycner.training import divergence
from raycner.training.divergence import FiniteBatches

CPU = torch.device("cpu")
LARGE = ("optim.lr=1e38", "optim.head_lr=1e38")
HEADS = {
    "linear": (),
    "constrained": ("model.head.decoding=constrained",),
    "cosine": ("model.head.name=cosine",),
    "stepwise": ("method.name=add_ner", "model.head.name=stepwise"),
    "seq2seq": ("method.name=self_training", "model.head.name=seq2seq"),
    "spans": ("method.name=span_kl", "model.head.name=spans"),
    "triplets": ("method.name=gen_cner", "model.head.name=triplets"),
}
WHERE = r"step 1, (epoch \d, batch \d+|after its last epoch, batch 1)"
WHAT = r"the (loss is not finite \([\w, ]+\)|norm of the gradient is not finite)"


def steps(store: Path) -> list[str]:
    """What the store has of trained steps."""
    folders = [store / name for name in ("steps", "evaluations")]
    return [path.name for folder in folders if folder.exists() for path in folder.iterdir()]


@pytest.mark.parametrize("head", HEADS)
def test_every_head_ends_a_step_that_diverges(head: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(runs.small(tmp_path, *LARGE, *HEADS[head]), runs.silent)
    assert re.fullmatch(f"{WHERE}: {WHAT}; {re.escape(divergence.HINT)}", str(caught.value)), str(caught.value)
    assert steps(tmp_path) == []


def test_the_only_update_of_a_step_is_judged_too(tmp_path: Path) -> None:
    one = ("optim.batch_size=1000", "optim.batch_tokens=100000", "optim.first.epochs=1", "optim.clip=0")
    with pytest.raises(InputError, match="step 1, after its last epoch"):
        run(runs.small(tmp_path, *LARGE, *one), runs.silent)
    assert steps(tmp_path) == []


def test_earlier_steps_stay_and_the_failure_names_its_own(tmp_path: Path) -> None:
    cheap = ("optim.epochs=1", "optim.first.epochs=1", "scenario.order=[location, person]")
    with pytest.raises(InputError, match="step 2, "):
        run(runs.small(tmp_path, *cheap, "at.2.optim.lr=1e38", "at.2.optim.head_lr=1e38"), runs.silent)
    (record,) = runs.ledger(tmp_path).records()
    assert steps(tmp_path / "") == [record.fingerprint, record.fingerprint], "the first step and its evaluation"


def read(batches: FiniteBatches, totals: Sequence[float]) -> str:
    with pytest.raises(InputError) as caught:
        batches.require_all({"ce": tensor(totals[0]), "kd": tensor(totals[1])})
    return f"{caught.value.location}: {caught.value.what}"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_the_first_batch_is_named_and_later_ones_do_not_matter(number: float) -> None:
    batches = FiniteBatches("step 2, epoch 3", CPU)
    for loss in (1.0, 2.0, number, 1.0, number):
        batches.add(tensor(loss), tensor(0.5))
    assert read(batches, [3.0, number]) == "step 2, epoch 3, batch 3: the loss is not finite (kd)"
    assert read(batches, [number, number]) == "step 2, epoch 3, batch 3: the loss is not finite (ce, kd)"


def test_a_gradient_norm_counts_as_well() -> None:
    batches = FiniteBatches("step 1, epoch 1", CPU)
    batches.add(tensor(1.0), tensor(math.inf))
    assert read(batches, [1.0, 1.0]) == "step 1, epoch 1, batch 1: the norm of the gradient is not finite"


def test_finite_batches_pass_and_the_counts_are_read_seldom() -> None:
    batches = FiniteBatches("step 1, epoch 1", CPU)
    due = []
    for _ in range(2 * divergence.READ_EVERY):
        batches.add(tensor(1e38), tensor(0.0))
        due.append(batches.is_due)
    batches.require_all({"ce": tensor(1.0)})
    assert [number for number, is_due in enumerate(due, start=1) if is_due] == [100, 200]


def test_a_long_epoch_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(divergence, "READ_EVERY", 2)
    asked: list[int] = []
    add = FiniteBatches.add
    monkeypatch.setattr(FiniteBatches, "add", lambda self, *numbers: (asked.append(1), add(self, *numbers))[1])
    with pytest.raises(InputError, match=r"epoch 1, batch [12]:"):
        run(runs.small(tmp_path, *LARGE), runs.silent)
    assert len(asked) == 2


def diverging(rank: int, meeting: str) -> None:
    """The loss of rank 1 alone is NaN; both ranks raise the same error."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    batches = FiniteBatches("step 1, epoch 1", CPU)
    for batch in range(4):
        batches.add(tensor(math.nan if rank and batch == 2 else 1.0))
    with pytest.raises(InputError, match=r"step 1, epoch 1, batch 3: the loss is not finite \(ce\)"):
        batches.require_all({"ce": tensor(math.nan if rank else 4.0)})
    dist.destroy_process_group()


def test_every_rank_stops_where_one_diverges(tmp_path: Path) -> None:
    mp.spawn(diverging, (str(tmp_path / "meeting"),), nprocs=2)
