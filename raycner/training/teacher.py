"""The teacher: the network of the step before, frozen, and its cached outputs."""

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raycner.data.entities import TypeInventory
from raycner.data.scenarios.scenario import Split
from raycner.networks.batch import Batch
from raycner.networks.heads.head import Prediction
from raycner.networks.network import Network
from raycner.training import ranks
from raycner.training.loader import SplitLoader

T = TypeVar("T")
log = logging.getLogger(__name__)


class Teacher:
    """The network as it stood when the previous step ended: frozen, in eval mode, and deliberately not a module.

    What it will say of the step's training sentences is computed once, by `study`; afterwards it answers from columns.
    """

    def __init__(self, network: Network, scratch: Path) -> None:
        self._network, self._scratch = network.eval(), scratch
        self._columns: dict[str, CachedOutput] = {}

    @property
    def inventory(self) -> TypeInventory:
        return self._network.inventory

    def __call__(self, batch: Batch) -> Any:
        if self._columns:
            reach = self._network.head.output_mask(batch.mask)
            said = {name: column.read(batch.positions, reach) for name, column in self._columns.items()}
            return SimpleNamespace(**said)
        with torch.no_grad():
            return self._network(batch)

    @property
    def device(self) -> torch.device:
        return self._network.device

    def survey(self, split: Split, look: Callable[[Batch, Any], T]) -> list[T]:
        """What `look` keeps of each batch of a split and the answer to it; every rank reads its share, all know all."""
        return list(SplitLoader(split, self._network).survey(look))

    def predictions(self, split: Split) -> list[Prediction]:
        """The entities it finds in each sentence of a split; every rank reads its share, and all know all."""
        said: list[tuple[int, Prediction]] = []
        with torch.no_grad():
            for positions, batch in SplitLoader(split, self._network).batches():
                said += zip(positions.tolist(), self._network.predict(batch), strict=True)
        gathered = dict(ranks.gather(said, self.device))
        return [gathered[position] for position in range(len(split))]

    def cache_outputs(self, split: Split, fields: Sequence[str]) -> None:
        """Fill one column for each field of its output: one pass over the split, shared among the ranks."""
        if not fields:
            return
        columns = [CachedOutput(self._scratch / f"{field}-{ranks.rank()}", len(split)) for field in fields]

        def look(batch: Batch, output: Any) -> list[tuple[int, list[NDArray[Any]]]]:
            reach = self._network.head.output_mask(batch.mask).cpu().numpy()
            tensors = [getattr(output, field).cpu().numpy() for field in fields]
            return [(i, [t[row][reach[row]] for t in tensors]) for row, i in enumerate(batch.positions.tolist())]

        for kept in SplitLoader(split, self._network).survey(look):
            for position, said in kept:
                for column, rows in zip(columns, said, strict=True):
                    column.write(position, rows)
        self._columns = dict(zip(fields, columns, strict=True))


class CachedOutput:
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
