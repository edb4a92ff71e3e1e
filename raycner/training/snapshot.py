"""Snapshots: the state of a step after an epoch, from which its training resumes. Nothing is pickled."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from raycner.hashing import plain
from raycner.settings import build
from raycner.storage.ledger import EpochRecord

State = dict[str, Tensor]
TENSORS, FACTS = "tensors.safetensors", "snapshot.json"


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

    def save(self, folder: Path) -> None:
        """Write two files into a folder for the store to commit."""
        tensors = {f"network/{name}": tensor for name, tensor in self.network.items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"optimizer/{i}/{n}": tensor for i, state in self.optimizer.items() for n, tensor in state.items()}
        save_file({name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}, folder / TENSORS)
        facts = {"epochs": plain(self.epochs), "best_epoch": self.best_epoch, "best_score": self.best_score}
        (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Snapshot":
        """Read what `save` wrote."""
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        parts: dict[str, State] = {"network": {}, "best": {}, "optimizer": {}}
        for name, tensor in load_file(folder / TENSORS).items():
            part, _, rest = name.partition("/")
            parts[part][rest] = tensor
        optimizer: dict[int, State] = {}
        for name, tensor in parts["optimizer"].items():
            index, _, field = name.partition("/")
            optimizer.setdefault(int(index), {})[field] = tensor
        return cls(
            epochs=tuple(build(EpochRecord, epoch, FACTS) for epoch in facts["epochs"]),
            best_epoch=facts["best_epoch"],
            best_score=facts["best_score"],
            network=parts["network"],
            best=parts["best"],
            optimizer=optimizer,
        )


def copied(state: Mapping[str, Tensor]) -> State:
    """A copy of a state dict, which later updates do not change."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}
