"""Snapshots: the state of a step after an epoch, from which its training resumes. Nothing is pickled."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from raycner.errors import InputError
from raycner.hashing import plain
from raycner.networks.weights import load_weights
from raycner.storage.ledger import EpochRecord
from raycner.training.sharding import kind_of

State = dict[str, Tensor]
TENSORS, FACTS = "tensors.safetensors", "snapshot.json"


@dataclass(frozen=True)
class _Facts:
    """What snapshot.json says."""

    epochs: tuple[EpochRecord, ...]
    best_epoch: int
    best_score: float


_FACTS = TypeAdapter(_Facts)


@dataclass(frozen=True)
class Snapshot:
    """Everything that the remaining epochs depend on. Random states are not: every epoch is seeded by its number."""

    epochs: tuple[EpochRecord, ...]
    """The finished epochs."""
    best_epoch: int
    best_score: float
    network: State
    best: State
    optimizer: Mapping[int, Mapping[str, Tensor]]
    """The optimiser's state by parameter, as `state_dict()["state"]` has it."""
    average: State = field(default_factory=dict)
    """That of the moving average of the weights, empty where a step ends with the weights themselves."""

    def on_host(self) -> "Snapshot":
        """A copy in the memory of the host, which later updates do not change. The best state never changes."""
        return replace(
            self,
            network=_on_host(self.network),
            best={name: tensor.cpu() for name, tensor in self.best.items()},
            optimizer={i: _on_host(state) for i, state in self.optimizer.items()},
            average=_on_host(self.average),
        )

    def save(self, folder: Path) -> None:
        """Write two files into a folder for the store to commit. The best state is left out if it is the network's."""
        tensors = {f"network/{name}": tensor for name, tensor in self.network.items()}
        if self.best_epoch != self.epochs[-1].epoch or self.average:
            tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"average/{name}": tensor for name, tensor in self.average.items()}
        tensors |= {f"optimizer/{i}/{n}": tensor for i, state in self.optimizer.items() for n, tensor in state.items()}
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / TENSORS)
        facts = {"epochs": plain(self.epochs), "best_epoch": self.best_epoch, "best_score": self.best_score}
        (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Snapshot":
        """Read what `save` wrote. Raises `InputError` for anything else."""
        try:
            facts = _FACTS.validate_json((folder / FACTS).read_bytes())
            parts: dict[str, State] = {"network": {}, "best": {}, "average": {}, "optimizer": {}}
            for name, tensor in load_weights(folder / TENSORS).items():
                part, _, rest = name.partition("/")
                parts[part][rest] = tensor
            optimizer: dict[int, State] = {}
            for name, tensor in parts["optimizer"].items():
                index, _, field = name.partition("/")
                optimizer.setdefault(int(index), {})[field] = tensor
        except (OSError, ValidationError, LookupError, ValueError) as error:
            what = f"not a snapshot ({type(error).__name__})"
            raise InputError(what, location=str(folder), hint="remove it: the step is trained again") from None
        return cls(
            facts.epochs,
            facts.best_epoch,
            facts.best_score,
            network=parts["network"],
            best=parts["best"] or copied(parts["network"]),
            optimizer=optimizer,
            average=parts["average"],
        )

    def fits(self, network: State, average: State, optimizer: Optimizer, epochs: int) -> bool:
        """Whether it is a state of this network, average and optimiser, after at most so many epochs."""
        if not 0 <= self.best_epoch < len(self.epochs) <= epochs:
            return False
        if [epoch.epoch for epoch in self.epochs] != list(range(len(self.epochs))):
            return False
        if not shapes(self.network) == shapes(self.best) == shapes(network) or shapes(self.average) != shapes(average):
            return False
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        fields = {frozenset(state) for state in self.optimizer.values()}
        return fields <= OPTIMIZER_FIELDS.get(kind_of(optimizer), set()) and all(
            0 <= index < len(parameters)
            and all(tensor.shape == parameters[index].shape for name, tensor in state.items() if name != "step")
            and ("step" not in state or state["step"].numel() == 1)
            for index, state in self.optimizer.items()
        )


OPTIMIZER_FIELDS: dict[type[Any], set[frozenset[str]]] = {
    AdamW: {frozenset({"step", "exp_avg", "exp_avg_sq"})},
    SGD: {frozenset({"momentum_buffer"})},
}
"""What each optimiser keeps of a parameter."""


def shapes(state: State) -> dict[str, tuple[Any, ...]]:
    """The shape and the type of each tensor."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}


def _on_host(state: Mapping[str, Tensor]) -> State:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


def copied(state: Mapping[str, Tensor]) -> State:
    """A copy of a state dict, which later updates do not change."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}
