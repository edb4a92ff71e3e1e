"""Cached outputs: what a network computes for the sentences of a split, once for all epochs of a step."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class CachedOutput:
    """One tensor for a split, memory-mapped: a row per word, or per place of `Head.output_mask`."""

    def __init__(self, path: Path, sentences: int) -> None:
        self._file = path.open("wb")
        self._bounds = np.zeros((sentences, 2), np.int64)
        self._size = 0

    def write(self, position: int, rows: NDArray[Any]) -> None:
        """Append the rows [places, ...] of one sentence. All sentences have the same type and row shape."""
        self._file.write(rows.tobytes())
        self._bounds[position] = self._size, self._size + len(rows)
        self._size += len(rows)
        self._dtype, self._shape = rows.dtype, rows.shape[1:]

    @cached_property
    def _rows(self) -> NDArray[Any]:
        self._file.close()
        return np.memmap(self._file.name, self._dtype, "r", shape=(self._size, *self._shape))

    def read(self, positions: Tensor, mask: Tensor) -> Tensor:
        """[B, P, ...] the rows of these sentences at the places of `mask` [B, P], zero elsewhere."""
        rows = [self._rows[slice(*self._bounds[i])] for i in positions.tolist()]
        values = torch.from_numpy(np.concatenate(rows)).to(mask.device)
        return values.new_zeros(*mask.shape, *self._shape).index_put((mask,), values)
