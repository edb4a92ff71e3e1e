"""What a step leaves behind, and the teacher that the next step makes of it."""

import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from raycner.data.entities import TypeInventory
from raycner.data.scenarios import Split
from raycner.networks.batch import Batch
from raycner.networks.heads import Prediction
from raycner.networks.network import ModelConfig, Network
from raycner.storage.ledger import StepRecord
from raycner.storage.store import ObjectStore
from raycner.training import ranks
from raycner.training.batches import Feed
from raycner.training.plan import StepSpec
from raycner.values import build, plain

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepCheckpoint:
    """A committed step: steps/<fingerprint>/{weights.safetensors, step.json, MANIFEST}, the manifest written last."""

    store: ObjectStore
    fingerprint: str
    inventory: TypeInventory
    record: StepRecord

    @classmethod
    def find(cls, store: ObjectStore, fingerprint: str) -> "StepCheckpoint | None":
        """The step of this name, if every byte of it is as it was committed. Damage is said aloud and not believed.

        All ranks ask together: rank 0 reads those bytes, and the others are told.
        """
        return ranks.told(lambda: cls._look(store, fingerprint))

    @classmethod
    def _look(cls, store: ObjectStore, fingerprint: str) -> "StepCheckpoint | None":
        key = f"steps/{fingerprint}"
        if store.manifest(key) is None:
            return None
        damage = store.damage(key)
        if damage:
            log.warning("step %s is damaged and will be trained again: %s", fingerprint, damage)
            return None
        said = json.loads(store.read(f"{key}/step.json"))
        inventory = build(TypeInventory, said["inventory"], key)
        return cls(store, fingerprint, inventory, build(StepRecord, said["record"], key))

    @classmethod
    def commit(cls, store: ObjectStore, spec: StepSpec, network: Network, record: StepRecord) -> "StepCheckpoint":
        """Write what the step left; until the manifest is there, the step does not exist."""
        with tempfile.TemporaryDirectory(prefix="raycner-") as scratch:
            folder = Path(scratch)
            save_file(
                {k: v.contiguous().cpu() for k, v in network.state_dict().items()}, folder / "weights.safetensors"
            )
            said = {
                "spec": plain(spec),
                "inventory": plain(network.inventory),
                "memory": network.encoder.memory(),
                "record": plain(record),
            }
            (folder / "step.json").write_text(json.dumps(said, sort_keys=True, indent=1), encoding="utf-8")
            store.push(folder, f"steps/{spec.fingerprint}")
        return cls(store, spec.fingerprint, network.inventory, record)

    def network(self, config: ModelConfig) -> Network:
        """The network as it stood when the step ended; `config` says where its encoder's shape and tokenizer lie."""
        folder = self.store.local(f"steps/{self.fingerprint}")
        memory = json.loads((folder / "step.json").read_text(encoding="utf-8"))["memory"]
        return Network.restore(config, self.inventory, memory, load_file(folder / "weights.safetensors"))


class Teacher:
    """The network as it stood when the previous step ended: frozen, in eval mode, and deliberately not a module.

    What it will say of the step's training sentences is computed once, by `study`; afterwards it answers from columns.
    """

    def __init__(self, network: Network, scratch: Path) -> None:
        self._network, self._scratch = network.eval(), scratch
        self._columns: dict[str, Column] = {}

    @property
    def inventory(self) -> TypeInventory:
        return self._network.inventory

    def __call__(self, batch: Batch) -> Any:
        if self._columns:
            reach = self._network.head.reach(batch.mask)
            said = {name: column.read(batch.positions, reach) for name, column in self._columns.items()}
            return SimpleNamespace(**said)
        with torch.no_grad():
            return self._network(batch)

    @property
    def device(self) -> torch.device:
        return self._network.device

    def survey(self, split: Split, look: Callable[[Batch, Any], T]) -> list[T]:
        """What `look` keeps of each batch of a split and the answer to it; every rank reads its share, all know all."""
        return list(Feed(split, self._network).survey(look))

    def predictions(self, split: Split) -> list[Prediction]:
        """The entities it finds in each sentence of a split; every rank reads its share, and all know all."""
        said: list[tuple[int, Prediction]] = []
        with torch.no_grad():
            for positions, batch in Feed(split, self._network).once():
                said += zip(positions.tolist(), self._network.predict(batch), strict=True)
        gathered = dict(ranks.gather(said, self.device))
        return [gathered[position] for position in range(len(split))]

    def study(self, split: Split, fields: Sequence[str]) -> None:
        """Fill one column for each field of its output: one pass over the split, shared among the ranks."""
        if not fields:
            return
        columns = [Column(self._scratch / f"{field}-{ranks.rank()}", len(split)) for field in fields]

        def look(batch: Batch, output: Any) -> list[tuple[int, list[NDArray[Any]]]]:
            reach = self._network.head.reach(batch.mask).cpu().numpy()
            tensors = [getattr(output, field).cpu().numpy() for field in fields]
            return [(i, [t[row][reach[row]] for t in tensors]) for row, i in enumerate(batch.positions.tolist())]

        for kept in Feed(split, self._network).survey(look):
            for position, said in kept:
                for column, rows in zip(columns, said, strict=True):
                    column.write(position, rows)
        self._columns = dict(zip(fields, columns, strict=True))


class Column:
    """What a frozen teacher says of a split, mapped from a file: a row per word, or whatever places its output has."""

    def __init__(self, path: Path, sentences: int) -> None:
        self._file = path.open("wb")
        self._bounds = np.zeros((sentences, 2), np.int64)
        self._size = 0

    def write(self, position: int, rows: NDArray[Any]) -> None:
        """Append the rows [places, ...] of one sentence; all have one type and shape."""
        self._file.write(rows.tobytes())
        self._bounds[position] = self._size, self._size + len(rows)
        self._size += len(rows)
        self._dtype, self._shape = rows.dtype, rows.shape[1:]

    @cached_property
    def _rows(self) -> NDArray[Any]:
        self._file.close()
        return np.memmap(self._file.name, self._dtype, "r", shape=(self._size, *self._shape))

    def read(self, positions: Tensor, reach: Tensor) -> Tensor:
        """[B, P, ...] the rows of these sentences at the places of `reach` [B, P], zero elsewhere."""
        rows = [self._rows[slice(*self._bounds[i])] for i in positions.tolist()]
        said = torch.from_numpy(np.concatenate(rows)).to(reach.device)
        return said.new_zeros(*reach.shape, *self._shape).index_put((reach,), said)
