"""One step on one rank: annotate, grow, loop, evaluate, keep the best. Knows torch.distributed, not Ray."""

import copy
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raycner.config import OptimConfig
from raycner.data.metrics import conlleval, micro
from raycner.data.scenarios.scenario import Experience
from raycner.events import EpochFinished, Event, ScoringStarted, StepAdvanced
from raycner.methods.method import Method
from raycner.networks.batch import Batch
from raycner.networks.devices import device, does_bf16
from raycner.networks.losses import LossSum
from raycner.networks.network import Network
from raycner.storage.ledger import CalibrationRecord, EpochRecord, StepRecord
from raycner.training import ranks
from raycner.training.calibration import calibrate
from raycner.training.evaluation import evaluate
from raycner.training.loader import SplitLoader, epoch_order
from raycner.training.plan import StepSpec
from raycner.training.snapshot import Snapshot, State, copied
from raycner.training.teacher import Teacher


class StepCallback(Protocol):
    """Who is told how a step goes on, and keeps its snapshots. Every rank calls it equally often."""

    def on_event(self, event: Event, /) -> None: ...

    def save_snapshot(self, snapshot: Snapshot) -> None: ...

    def load_snapshot(self) -> Snapshot | None: ...


class Remember:
    """A network whose answer to a batch is kept until the next batch: composed methods share one forward."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._batch: Batch | None = None
        self._answer: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def __call__(self, batch: Batch) -> Any:
        if batch is not self._batch:
            self._batch, self._answer = batch, self._network(batch)
        return self._answer


class Learner(nn.Module):
    """What DDP wraps: batch in, losses out. The teacher is no module, so DDP and `state_dict` never see it."""

    def __init__(self, network: Network, teacher: Teacher | None, method: Method) -> None:
        super().__init__()
        self.network = network
        self._teacher, self._method = teacher, method

    def forward(self, batch: Batch) -> dict[str, LossSum]:
        teacher: Any = Remember(self._teacher)
        return self._method.losses(Remember(self.network), teacher, batch)


def combine(terms: Mapping[str, LossSum]) -> Tensor:
    """The loss to differentiate: each term's total over the count of all ranks. The only division in the house.

    DDP averages gradients over ranks; the factor world_size undoes that, so one process and many agree.
    """
    counts = ranks.all_reduce_sum(torch.stack([term.count for term in terms.values()]))
    shares = [term.total / count.clamp(min=1) for term, count in zip(terms.values(), counts, strict=True)]
    return ranks.world_size() * torch.stack(shares).sum()


def train(
    spec: StepSpec, experience: Experience, parent: Network | None, callback: StepCallback, *, carried: float = 0.0
) -> tuple[Network, StepRecord]:
    """Train one step from the network of the step before, and score it. Every rank returns the same.

    `carried` is the calibration of the step before that its answers as a teacher include.
    """
    with tempfile.TemporaryDirectory(prefix="raycner-") as scratch:
        return StepTrainer(spec, experience, parent, callback, Path(scratch), carried).run()


class StepTrainer:
    """The course of one step; its fields are what the stages hand on to each other."""

    def __init__(
        self,
        spec: StepSpec,
        experience: Experience,
        parent: Network | None,
        callback: StepCallback,
        scratch: Path,
        carried: float,
    ) -> None:
        self.spec, self.experience, self.callback = spec, experience, callback
        self.optim, self.began = spec.optim, time.monotonic()
        self.device = device()
        seed(spec.seed, spec.index)
        network = Network(spec.model) if parent is None else copy.deepcopy(parent)
        if parent is not None and carried:
            parent.head.bake_in(carried)
        self.teacher = None if parent is None else Teacher(self._placed(parent), scratch)
        self.split = experience.train
        if self.teacher is not None:
            self.split = spec.method.annotate(self.split, self.teacher)
            self.teacher.cache_outputs(self.split, spec.method.teacher_outputs)
        words = (experience.train.corpus["train"].words(int(row)) for row in experience.train.rows)
        seed(spec.seed, spec.index)
        network.start_step(experience.inventory, words)
        self.network = self._placed(network)
        self._imprint()
        self.feed = SplitLoader(self.split, self.network)
        self.dev = [SplitLoader(part, self.network) for part in experience.dev]
        self.optimizer = _optimizer(self.network, self.optim)
        learner = Learner(self.network, self.teacher, spec.method)
        self.learner: nn.Module = learner
        if ranks.world_size() > 1:
            on = [self.device] if self.device.type == "cuda" else None
            self.learner = DistributedDataParallel(learner, device_ids=on, gradient_as_bucket_view=True)

    def _placed(self, network: Network) -> Network:
        network.bf16 = self.optim.precision == "bf16" or (self.optim.precision == "auto" and does_bf16(self.device))
        return network.to(self.device, torch.float64 if self.optim.precision == "fp64" else torch.float32)

    def _imprint(self) -> None:
        source = self.spec.model.growth.imprint
        if source == "none" or self.spec.parent is None:
            return
        new = frozenset(self.experience.inventory.new)
        annotated = [part for part in self.experience.dev if part.visible & new]
        splits = [self.split] if source == "train" else [replace(part, visible=new) for part in annotated]
        head = self.network.head
        gathered: list[Tensor] = []
        with self.network.eval_mode():
            for split in splits:
                for batch in SplitLoader(split, self.network).shards():
                    sums, counts = head.class_means(self.network.states(batch), batch)
                    gathered.append(torch.cat([sums, counts[:, None]], dim=1))
        total = ranks.all_reduce_sum(torch.stack(gathered).sum(0))
        head.imprint(total[:, :-1], total[:, -1])

    def run(self) -> tuple[Network, StepRecord]:
        resumed = self.callback.load_snapshot()
        done: tuple[EpochRecord, ...] = ()
        best: State = {}
        best_epoch, best_score = -1, -math.inf
        if resumed is not None:
            done, best, best_epoch, best_score = resumed.epochs, resumed.best, resumed.best_epoch, resumed.best_score
            self.network.load_state_dict(resumed.network)
            _restore(self.optimizer, resumed)
        for epoch in range(len(done), self.optim.epochs):
            if self.optim.patience and _since_a_rise(done) >= self.optim.patience:
                break
            started = time.monotonic()
            losses = self.epoch(epoch)
            score = self.score()
            if self.optim.select == "last" or score >= best_score:
                best, best_epoch, best_score = copied(self.network.state_dict()), epoch, score
            seconds = time.monotonic() - started
            done += (EpochRecord(epoch=epoch, losses=losses, dev_score=score, seconds=seconds),)
            self.callback.on_event(EpochFinished(number=epoch + 1, losses=losses, dev_score=score, seconds=seconds))
            state = self.optimizer.state_dict()["state"]
            network = self.network.state_dict()
            self.callback.save_snapshot(Snapshot(done, best_epoch, best_score, network, best, state))
        self.network.load_state_dict(best)
        record = self._record(done, best_epoch)
        self.network.finalize()
        return self.network, record

    def epoch(self, epoch: int) -> dict[str, float]:
        self.feed.split = self.spec.method.on_epoch_start(self.feed)
        seed(self.spec.seed, self.spec.index, epoch, ranks.rank())
        self.learner.train()
        sums: dict[str, Tensor] = {}
        batches = epoch_order(
            self.feed.lengths,
            seed=self.spec.seed,
            epoch=epoch,
            size=self.optim.batch_size,
            tokens=self.optim.batch_tokens,
        )
        collate = partial(self.spec.method.collate, self.feed)
        for i, positions in enumerate(batches):
            factor = rate(self.optim, epoch + (i + 0.5) / len(batches))
            for group in self.optimizer.param_groups:
                group["lr"] = factor * group["base_lr"]
            terms = self.learner(replace(self.feed.shard(positions, collate), epoch=epoch))
            torch.autograd.backward(combine(terms))
            if self.optim.clip:
                nn.utils.clip_grad_norm_(self.network.parameters(), self.optim.clip)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            for name, term in terms.items():
                pair = torch.stack([term.total.detach(), term.count.to(term.total)])
                sums[name] = sums[name] + pair if name in sums else pair
            self.callback.on_event(StepAdvanced((epoch * len(batches) + i + 1) / (len(batches) * self.optim.epochs)))
        totals = {name: ranks.all_reduce_sum(pair).tolist() for name, pair in sums.items()}
        return {name: total / max(count, 1.0) for name, (total, count) in totals.items()}

    def score(self) -> float:
        """The dev micro-F1 that chooses the state to keep."""
        types = self.experience.inventory.new if self.optim.select == "new" else self.experience.inventory.types
        feeds = [feed for feed in self.dev if feed.split.visible & set(types)]
        return micro(evaluate(self.network, feeds), types)

    def _record(self, epochs: Sequence[EpochRecord], best_epoch: int) -> StepRecord:
        self.callback.on_event(ScoringStarted())
        inventory = self.experience.inventory
        test = [SplitLoader(part, self.network) for part in self.experience.test]
        dev_counts, test_counts, calibration = evaluate(self.network, self.dev), evaluate(self.network, test), None
        as_published = evaluate(self.network, test, reading=conlleval) if self.optim.conlleval else None
        if self.optim.calibration != "none":
            delta = calibrate(self.network, self.teacher, self.experience.dev)
            dev, calibrated = (evaluate(self.network, splits, new_type_bias=delta) for splits in (self.dev, test))
            calibration = CalibrationRecord(delta=delta, dev=dev, test=calibrated)
        return StepRecord(
            index=self.spec.index,
            fingerprint=self.spec.fingerprint,
            new=inventory.new,
            seen=inventory.types,
            sentences=len(self.split),
            dev=dev_counts,
            test=test_counts,
            calibration=calibration,
            conlleval=as_published,
            pseudo=self.split.pseudo_stats,
            epochs=tuple(epochs),
            best_epoch=best_epoch,
            seconds=time.monotonic() - self.began,
            workers=ranks.world_size(),
        )


def _since_a_rise(epochs: Sequence[EpochRecord]) -> int:
    """How many epochs the dev score has not risen for."""
    scores = [epoch.dev_score for epoch in epochs]
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0


def rate(optim: OptimConfig, epochs: float) -> float:
    """The factor on the learning rate after so many epochs (fractions of them included)."""
    if optim.schedule == "constant":
        return 1.0
    if optim.schedule == "milestones":
        return float(optim.gamma ** sum(epochs >= milestone for milestone in optim.milestones))
    share = epochs / optim.epochs
    if share < optim.warmup:
        return share / optim.warmup
    left = (1.0 - share) / (1.0 - optim.warmup)
    return left if optim.schedule == "linear" else 0.5 * (1.0 - math.cos(math.pi * left))


def seed(*numbers: int) -> None:
    """Seed torch from a path of numbers (run, step, epoch, rank): no state of a generator ever needs keeping."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))


def _optimizer(network: Network, optim: OptimConfig) -> torch.optim.Optimizer:
    parts = ((network.encoder, optim.lr), (network.head, optim.head_lr))
    groups = [
        {"params": [p for p in part.parameters() if p.requires_grad], "lr": lr, "base_lr": lr} for part, lr in parts
    ]
    if optim.optimizer == "adamw":
        return torch.optim.AdamW(groups, weight_decay=optim.weight_decay, fused=True)
    return torch.optim.SGD(groups, momentum=optim.momentum, weight_decay=optim.weight_decay, fused=True)


def _restore(optimizer: torch.optim.Optimizer, snapshot: Snapshot) -> None:
    state = optimizer.state_dict()
    state["state"] = snapshot.optimizer
    optimizer.load_state_dict(state)
