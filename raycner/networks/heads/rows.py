"""Rows of weights that grow with the inventory: drawn, kept, held still and restored, whatever a head makes of them.

Shapes: C rows, of as many numbers each as the head draws.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from raycner.data.entities import TypeInventory
from raycner.networks.heads.head import GrowthConfig, Head, Output


class Rows(Head[Output]):
    """One or more rows per type; a step only appends, and old rows keep every bit."""

    frozen: Tensor
    """[C', ...] rows that do not train in this step."""

    def __init__(self) -> None:
        super().__init__()
        self.inventory = TypeInventory()
        self.register_buffer("frozen", self.draw(0))
        self.rows = nn.Parameter(self.draw(self.count(self.inventory)))

    @abstractmethod
    def count(self, inventory: TypeInventory) -> int:
        """How many rows there were, were `inventory` all there is."""

    @abstractmethod
    def draw(self, count: int) -> Tensor:
        """[count, ...] fresh rows."""

    @property
    def weight(self) -> Tensor:
        """[C, ...] the rows of the whole inventory, oldest first."""
        return torch.cat([self.frozen, self.rows]) if len(self.frozen) else self.rows

    @property
    def num_old(self) -> int:
        """How many rows the steps before the newest had."""
        return self.count(TypeInventory(self.inventory.old, self.inventory.sizes[:-1]))

    def grow(self, inventory: TypeInventory, growth: GrowthConfig) -> None:
        trained = self.weight.detach()
        weight = growth.extend(trained, self.count(inventory) - len(trained), self.draw)
        held = len(trained) if growth.freeze_old else 0
        self._adopt(inventory, weight[:held], weight[held:])

    def finalize(self) -> None:
        weight = self.weight.detach()
        self._adopt(self.inventory, weight[:0], weight)

    def load_shape(self, inventory: TypeInventory) -> None:
        weight = self.rows.new_zeros(self.count(inventory), self.rows.size(1))
        self._adopt(inventory, weight[:0], weight)

    def _adopt(self, inventory: TypeInventory, frozen: Tensor, rows: Tensor) -> None:
        self.frozen, self.rows, self.inventory = frozen.clone(), nn.Parameter(rows.clone()), inventory
