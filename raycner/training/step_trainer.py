"""One step on one rank: freeze the teacher, annotate, grow, imprint, fit, finalise.

Knows torch.distributed, not Ray.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raycner.config import ComputeConfig, OptimConfig
from raycner.data.scenarios.scenario import Experience, Split
from raycner.events import EpochFinished, Event, Message, StepAdvanced
from raycner.methods.method import Method
from raycner.networks.batch import Batch
from raycner.networks.devices import device_name, place
from raycner.networks.losses import LossSum
from raycner.networks.network import Network
from raycner.storage.ledger import EpochRecord, TrainingRecord
from raycner.storage.scratch import scratch_folder
from raycner.training import accumulation, ranks, sharding
from raycner.training.accumulation import PartCounts, WithoutEncoder, split_batch
from raycner.training.advice import advice
from raycner.training.calibration import calibrate
from raycner.training.class_means import class_means, with_prototypes
from raycner.training.divergence import FiniteBatches
from raycner.training.environment import environment
from raycner.training.feature_replay import replay_features
from raycner.training.fusion import fisher_information, fuse
from raycner.training.loader import Positions, SplitLoader, epoch_order
from raycner.training.long_sentences import left_out_notes, window_notes
from raycner.training.moving_average import FinalWeights, final_weights
from raycner.training.plan import StepSpec
from raycner.training.prefetch import prefetch
from raycner.training.reservoir import draw
from raycner.training.selection import applicable, dev_score, is_best, mean_f1, out_of_patience
from raycner.training.snapshot import Snapshot, State, copied
from raycner.training.teacher import Teacher
from raycner.training.token_columns import distinct_ids
from raycner.version import __version__


class StepCallback(Protocol):
    """Receives the events of a step and stores its snapshots. Every rank calls it equally often."""

    def on_event(self, event: Event, /) -> None: ...

    def save_snapshot(self, epochs: int, take: Callable[[], Snapshot], /) -> None:
        """After so many epochs; `take` makes the snapshot, on every rank or on none."""

    def load_snapshot(self) -> Snapshot | None: ...


class SharedForward:
    """A network that keeps its output until the next batch, so that composed methods share one forward pass."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._batch: Batch | None = None
        self._output: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def __call__(self, batch: Batch) -> Any:
        if batch is not self._batch:
            self._batch, self._output = batch, self._network(batch)
        return self._output


class Learner(nn.Module):
    """What DDP wraps: batch in, losses out. The teacher is no module, so DDP and `state_dict` never see it."""

    def __init__(self, network: Network | WithoutEncoder, teacher: Teacher | None, method: Method[Any]) -> None:
        super().__init__()
        self.network = network
        self._teacher, self._method = teacher, method

    def forward(self, batch: Batch) -> dict[str, LossSum]:
        student, teacher = SharedForward(self.network), SharedForward(self._teacher)
        return self._method.losses(student, teacher, batch)


def combine(terms: Mapping[str, LossSum], counts: Tensor | None = None) -> Tensor:
    """The loss to differentiate: each term's total over the count of all ranks. The only division of a loss.

    `counts` [terms] are those of an update in parts. DDP averages gradients over ranks; the factor world_size undoes
    that, so one process and many agree.
    """
    if counts is None:
        counts = ranks.all_reduce_sum(accumulation.counts(terms))
    shares = [term.total / count.clamp(min=1) for term, count in zip(terms.values(), counts, strict=True)]
    return ranks.world_size() * torch.stack(shares).sum()


def train(
    spec: StepSpec,
    experience: Experience,
    parent: Network | None,
    callback: StepCallback,
    *,
    carried: float = 0.0,
    compute: ComputeConfig = ComputeConfig(),
) -> tuple[Network, TrainingRecord]:
    """Train one step from the network of the step before. Every rank returns the same.

    `carried` is the new-type bias of the step before, which its answers as a teacher include.
    """
    started = time.monotonic()
    seed(spec.seed, spec.index)
    network = Network(spec.model) if parent is None else parent.copy()
    with scratch_folder() as scratch:
        teacher = None if parent is None else freeze(parent, spec, carried, scratch)
        split = annotate(with_reservoir(experience, spec, teacher), spec.method, teacher)
        seed(spec.seed, spec.index)
        grow(network, split, experience, spec)
        imprint(network, split, experience, spec)
        trainer = StepTrainer.of(spec, network, teacher, split, experience, callback, compute)
        for note in (*trainer.notes, *trainer.advice()):
            callback.on_event(Message(note))
        trainer.cache_states(scratch)
        epochs, best_epoch = trainer.fit()
        if parent is not None and spec.model.growth.align:
            network.head.align()
        delta = calibrate(network, teacher, experience.dev) if spec.optim.calibration == "carried" else None
        network.finalize()
        if parent is not None and teacher is not None and spec.optim.fusion:
            share = spec.optim.fusion_share
            importance = fisher_information(parent, teacher, split) if share < 1 else None
            fuse(network, parent, spec.optim.fusion, share, importance)
        replay_weight = None
        if spec.optim.feature_replay:
            score = partial(mean_f1, network, trainer.dev)
            replay_weight = replay_features(network, parent, experience.train, trainer.optim, score)
        if spec.prototypes:
            network.statistics = with_prototypes(network, experience.train)
    return network, TrainingRecord(
        index=spec.index,
        fingerprint=spec.fingerprint,
        new=experience.inventory.new,
        seen=experience.inventory.types,
        sentences=split.drawn,
        epochs=epochs,
        best_epoch=best_epoch,
        seconds=time.monotonic() - started,
        workers=ranks.world_size(),
        batch_size=spec.optim.batch_size,
        dtype=_dtype(network),
        device=device_name(network.device),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        version=__version__,
        environment=environment(),
        carried=delta,
        replay_weight=replay_weight,
        pseudo=split.pseudo_stats,
        notes=trainer.notes,
    )


def _dtype(network: Network) -> str:
    """The arithmetic of a placed network."""
    if network.bf16:
        return "bf16"
    return "fp64" if next(network.parameters()).dtype == torch.float64 else "fp32"


def freeze(parent: Network, spec: StepSpec, carried: float, scratch: Path) -> Teacher:
    """The network of the step before as a teacher, its carried new-type bias part of every output."""
    if carried:
        parent.head.bake_in(carried)
    return Teacher(place(parent, spec.optim.precision), scratch, spec.method.teacher_outputs)


def with_reservoir(experience: Experience, spec: StepSpec, teacher: Teacher | None) -> Split:
    """The training sentences, and those that the step draws from its reservoir."""
    train = experience.train
    if teacher is None or experience.reservoir is None or spec.reservoir is None:
        return train
    drawn = draw(experience.reservoir, spec.reservoir, teacher, spec.seed, spec.index)
    return replace(train, further=(*train.further, drawn))


def annotate(split: Split, method: Method[Any], teacher: Teacher | None) -> Split:
    """The training sentences with the method's pseudo-labels; the teacher's outputs on them are cached."""
    if teacher is None:
        return split
    annotated = method.annotate(split, teacher)
    teacher.cache_outputs(annotated)
    return annotated


def grow(network: Network, train: Split, experience: Experience, spec: StepSpec) -> None:
    """Make room for the new types and words, and move the network to its device."""
    words = map(train.words, range(train.drawn))
    network.start_step(experience.inventory, words, distinct_ids(train, network.encoder))
    if spec.model.encoder.is_frozen:
        network.encoder.requires_grad_(False)
    place(network, spec.optim.precision)
    network.statistics = network.statistics.to(network.device)


def imprint(network: Network, train: Split, experience: Experience, spec: StepSpec) -> None:
    """Replace the new rows by the mean features of their tags, where `model.growth.imprint` asks for it."""
    source = spec.model.growth.imprint
    if source == "none" or spec.parent is None:
        return
    new = frozenset(experience.inventory.new)
    annotated = [part for part in experience.dev if part.visible & new]
    splits = [train] if source == "train" else [replace(part, visible=new) for part in annotated]
    network.head.imprint(*class_means(network, splits))


@dataclass(frozen=True)
class StepTrainer:
    """What the epochs of one step work on."""

    spec: StepSpec
    optim: OptimConfig
    """The spec's own, with the selection that dev allows."""
    network: Network
    learner: nn.Module
    """A `Learner` around the network; with several ranks, DDP around that."""
    part_counts: PartCounts
    optimizer: torch.optim.Optimizer
    final: FinalWeights
    """What dev scores, and what is kept."""
    loader: SplitLoader
    dev: tuple[SplitLoader, ...]
    callback: StepCallback
    notes: tuple[str, ...]
    """Lines for people: what of the step is not done as it was asked."""

    @classmethod
    def of(
        cls,
        spec: StepSpec,
        network: Network,
        teacher: Teacher | None,
        train: Split,
        experience: Experience,
        callback: StepCallback,
        compute: ComputeConfig = ComputeConfig(),
    ) -> "StepTrainer":
        """The trainer of a network that has grown, on sentences that are annotated."""
        if compute.compile:
            network.encoder.compile(dynamic=True)
        learner: nn.Module = Learner(network, teacher, spec.method)
        counted = network if _reads_more_than_words(spec) else WithoutEncoder(network)
        if ranks.world_size() > 1:
            devices = [network.device] if network.device.type == "cuda" else None
            learner = DistributedDataParallel(
                learner,
                device_ids=devices,
                gradient_as_bucket_view=True,
                forward_sync_buffers=False,  # buffers never change in training: a frozen embedding table is one
            )
        optim, notes = applicable(spec.optim, experience)
        loader, dev = SplitLoader(train, network), tuple(SplitLoader(part, network) for part in experience.dev)
        test = (SplitLoader(part, network) for part in experience.test)
        parts: dict[str, Iterable[SplitLoader]] = {"train": (loader,), "dev": dev, "test": test}
        return cls(
            spec=spec,
            optim=optim,
            network=network,
            learner=learner,
            part_counts=PartCounts(network, Learner(counted, teacher, spec.method)),
            optimizer=_optimizer(network, optim, compute.sharding),
            final=final_weights(network, optim.ema),
            loader=loader,
            dev=dev,
            callback=callback,
            notes=(
                *notes,
                *window_notes(parts, network.encoder.max_length),
                *left_out_notes(experience.train, network.head),
            ),
        )

    def cache_states(self, scratch: Path) -> None:
        """Compute the states of all sentences once, if the encoder is frozen and nothing reads more than them."""
        is_repeated = not self.spec.model.head.batch_dependent and not _reads_more_than_words(self.spec)
        if self.spec.model.encoder.is_frozen and is_repeated:
            for number, loader in enumerate((self.loader, *self.dev)):
                loader.cache_states(scratch / f"states-{number}")

    def fit(self) -> tuple[tuple[EpochRecord, ...], int]:
        """Train all epochs, from the newest snapshot if there is one, and load the best state.

        Returns the epochs and the index of the best one.
        """
        if self.network.head.is_solved:
            return self.solve()
        optim = self.optim
        epochs: tuple[EpochRecord, ...] = ()
        best: State = {}
        best_epoch, best_score = -1, -math.inf
        resumed = self.callback.load_snapshot()
        expected = self.network.state_dict(), self.final.state(), self.optimizer, optim.epochs
        if resumed is not None and not resumed.fits(*expected):
            self.callback.on_event(Message("the snapshot is of another network: the step is trained from the start"))
            resumed = None
        if resumed is not None:
            epochs, best, best_epoch, best_score = resumed.epochs, resumed.best, resumed.best_epoch, resumed.best_score
            self.network.load_state_dict(resumed.network)
            self.final.restore(resumed.average)
            sharding.restore(self.optimizer, resumed.optimizer)
        for epoch in range(len(epochs), optim.epochs):
            if out_of_patience(optim, epochs):
                break
            started = time.monotonic()
            losses = self.epoch(epoch)
            with self.final.applied():
                score = self.score()
                if is_best(optim, score, best_score):
                    best, best_epoch, best_score = copied(self.network.state_dict()), epoch, score
            seconds = time.monotonic() - started
            epochs += (EpochRecord(epoch=epoch, losses=losses, dev_score=score, seconds=seconds),)
            self.callback.on_event(EpochFinished(number=epoch + 1, losses=losses, dev_score=score, seconds=seconds))
            self.callback.save_snapshot(len(epochs), partial(self.snapshot, epochs, best_epoch, best_score, best))
        self.network.load_state_dict(best)
        self.require_finite_loss()
        return epochs, best_epoch

    def snapshot(self, epochs: tuple[EpochRecord, ...], best_epoch: int, best_score: float, best: State) -> Snapshot:
        """The state after these epochs; on ranks other than 0 without that of the optimiser. A collective call."""
        network, optimizer = self.network.state_dict(), sharding.moments(self.optimizer)
        return Snapshot(epochs, best_epoch, best_score, network, best, optimizer, self.final.state())

    def solve(self) -> tuple[tuple[EpochRecord, ...], int]:
        """Solve the head from sums over the training sentences: one pass, recorded as one epoch."""
        started, network = time.monotonic(), self.network
        with network.eval_mode():
            sums = reduce(add, (network.head.sums(network.states(batch), batch) for batch in self.loader.shards()))
        network.head.solve(ranks.all_reduce_sum(sums))
        score, seconds = self.score(), time.monotonic() - started
        self.callback.on_event(EpochFinished(number=1, losses={}, dev_score=score, seconds=seconds))
        self.require_finite_loss()
        return (EpochRecord(epoch=0, losses={}, dev_score=score, seconds=seconds),), 0

    def advice(self) -> Iterator[str]:
        """Lines for people on the number and the size of the batches."""
        if self.network.head.is_solved:
            return iter(())
        step, batches = f"step {self.spec.index + 1}", len(self._batches(0))
        return advice(step, self.optim, batches, self.loader.split.drawn, ranks.world_size())

    def _batches(self, epoch: int) -> list[Positions]:
        """The global batches of an epoch."""
        optim = self.spec.optim
        return epoch_order(
            self.loader.lengths[: self.loader.split.drawn],
            seed=self.spec.seed,
            epoch=epoch,
            size=optim.batch_size,
            tokens=optim.batch_tokens,
            order=optim.order,
        )

    def epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the training sentences: the mean of each loss term."""
        optim = self.optim
        self.loader.split = self.spec.method.on_epoch_start(self.loader)
        seed(self.spec.seed, self.spec.index, epoch, ranks.rank())
        self.learner.train()
        self.network.encoder.train(not self.spec.model.encoder.is_frozen)
        sums: dict[str, Tensor] = {}
        location = f"step {self.spec.index + 1}, epoch {epoch + 1}"
        finite = FiniteBatches(location, self.network.device)
        batches = self._batches(epoch)
        updates = prefetch(partial(self.collate, epoch), batches, self.network.device)
        for i, of_update in enumerate(updates):
            factor = rate(optim, epoch + (i + 0.5) / len(batches))
            for group in self.optimizer.param_groups:
                group["lr"] = factor * group["base_lr"]
            parts, numbers = self.backward(of_update)
            if optim.clip:
                numbers.append(nn.utils.clip_grad_norm_(self.network.parameters(), optim.clip))
            finite.add(*numbers)
            self.optimizer.step()
            self.final.update()
            self.optimizer.zero_grad(set_to_none=True)
            for name, term in (item for terms in parts for item in terms.items()):
                pair = torch.stack([term.total.detach(), term.count.to(term.total)])
                sums[name] = sums[name] + pair if name in sums else pair
            if finite.is_due:
                finite.require_all(sums)
            self.callback.on_event(StepAdvanced((epoch * len(batches) + i + 1) / (len(batches) * optim.epochs)))
        finite.require_all(sums)
        if optim.accumulate > 1:
            self.part_counts.require_equal(location)
        totals = {name: ranks.all_reduce_sum(pair).tolist() for name, pair in sums.items()}
        return {name: total / max(count, 1.0) for name, (total, count) in totals.items()}

    def collate(self, epoch: int, positions: Positions) -> list[Batch]:
        """This rank's share of a global batch, in the parts that are computed one after another."""
        collate = partial(self.spec.method.collate, self.loader)
        of_rank = (self.loader.shard(part, collate) for part in split_batch(positions, self.optim.accumulate))
        return [replace(part, epoch=epoch) for part in of_rank]

    def backward(self, parts: Sequence[Batch]) -> tuple[list[dict[str, LossSum]], list[Tensor]]:
        """Add the gradient of a global batch. Returns the loss terms of each of its parts, and the losses."""
        counts = self.part_counts.over(parts) if len(parts) > 1 else None
        terms: list[dict[str, LossSum]] = []
        losses: list[Tensor] = []
        for number, part in enumerate(parts, start=1):
            with self._exchange(number == len(parts)):
                terms.append(self.learner(part))
                losses.append(combine(terms[-1], counts))
                torch.autograd.backward(losses[-1])
        if len(parts) > 1:
            self.part_counts.compare(terms)
        return terms, losses

    def _exchange(self, is_last: bool) -> AbstractContextManager[None]:
        """The gradients of all ranks are summed in the backward pass of the last part."""
        if is_last or not isinstance(self.learner, DistributedDataParallel):
            return nullcontext()
        return self.learner.no_sync()

    def require_finite_loss(self) -> None:
        """Raise `InputError` where the last update has made the head's loss infinite or NaN, judged by one batch."""
        finite = FiniteBatches(f"step {self.spec.index + 1}, after its last epoch", self.network.device)
        batch = self.loader.shard(self._batches(0)[0])
        with self.network.eval_mode():
            loss = self.network.head.loss(self.network(batch), batch).total
        finite.add(loss)
        finite.require_all({"of the head": loss})

    def score(self) -> float:
        """The dev micro-F1 that selects the state to keep."""
        return dev_score(self.optim, self.network, self.dev)


def _reads_more_than_words(spec: StepSpec) -> bool:
    """Whether head or losses read more of the encoder than the states of words."""
    return spec.model.head.module.reads_slots or spec.method.reads_layers


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


def _optimizer(network: Network, optim: OptimConfig, sharded: Literal["none", "optimizer"]) -> torch.optim.Optimizer:
    parts = ((network.encoder, optim.lr), (network.head, optim.head_lr))
    groups = []
    for part, lr in parts:
        trained = [p for p in part.parameters() if p.requires_grad]
        spared = _spared_from_decay(part) if optim.decay == "weights" else set()
        groups.append({"params": [p for p in trained if p not in spared], "lr": lr, "base_lr": lr})
        if spared:
            spared_group = {"params": [p for p in trained if p in spared], "weight_decay": 0.0}
            groups.append({**spared_group, "lr": lr, "base_lr": lr})
    kind: type[torch.optim.Optimizer] = torch.optim.AdamW
    options: dict[str, Any] = {"weight_decay": optim.weight_decay, "fused": True}
    if optim.optimizer == "sgd":
        kind, options = torch.optim.SGD, {**options, "momentum": optim.momentum}
    if sharded == "optimizer" and ranks.world_size() > 1:
        return sharding.sharded(groups, kind, **options)
    return kind(groups, **options)


def _spared_from_decay(part: nn.Module) -> set[nn.Parameter]:
    """The biases of a module, and the weights of its normalisation layers."""
    spared = {parameter for name, parameter in part.named_parameters() if "bias" in name.rpartition(".")[2]}
    norms = (module for module in part.modules() if "Norm" in type(module).__name__)
    return spared.union(*(norm.parameters(recurse=False) for norm in norms))
