"""What a step leaves behind, and the teacher that the next step makes of it."""

import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

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
        """The step of this name, if every byte of it is as it was committed. Damage is said aloud and not believed."""
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
            return SimpleNamespace(**{name: column.read(batch) for name, column in self._columns.items()})
        with torch.no_grad():
            return self._network(batch)

    @property
    def device(self) -> torch.device:
        return self._network.device

    def survey(self, split: Split, look: Callable[[Batch, Any], T]) -> list[T]:
        """What `look` keeps of each batch of a split and the answer to it; every rank reads its share, all know all."""
        with torch.no_grad():
            batches = Feed(split, self._network).once()
            kept = [look(batch, self._network(batch)) for _, batch in batches]
        return ranks.gather(kept, self.device)

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
        words = split.corpus[split.part].lengths[split.rows]

        def look(batch: Batch, output: Any) -> list[tuple[int, list[NDArray[Any]]]]:
            tensors = [getattr(output, field).cpu().numpy() for field in fields]
            return [(i, [t[row, : words[i]] for t in tensors]) for row, i in enumerate(batch.positions.tolist())]

        said = dict(pair for kept in self.survey(split, look) for pair in kept)
        for number, field in enumerate(fields):
            rows = (said[position][number] for position in range(len(split)))
            self._columns[field] = Column(self._scratch / f"{field}-{ranks.rank()}.npy", rows, words)


class Column:
    """One row per word of a split, mapped from a file: what a frozen teacher says, kept [words of the split, C]."""

    def __init__(self, path: Path, sentences: Iterable[NDArray[Any]], words: NDArray[Any]) -> None:
        self._ends = np.cumsum(words)
        rows: NDArray[Any] | None = None
        for end, sentence in zip(self._ends, sentences, strict=True):
            if rows is None:
                rows = open_memmap(path, "w+", sentence.dtype, (int(self._ends[-1]), *sentence.shape[1:]))
            rows[end - len(sentence) : end] = sentence
        self._words = words
        self._rows = open_memmap(path, "r")

    def read(self, batch: Batch) -> Tensor:
        """[B, T, C] for the sentences of a batch, zero where there is no word."""
        rows = [self._rows[self._ends[i] - self._words[i] : self._ends[i]] for i in batch.positions.tolist()]
        return pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(batch.mask.device)
