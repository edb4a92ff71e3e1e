"""Growing rows: a weight matrix with one or more rows per type, to which every step appends.

Shapes: C rows, each of the shape that the head draws.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from raycner.data.entities import TypeInventory
from raycner.networks.heads.head import GrowthConfig, Head, Output


class GrowingRows(Head[Output]):
    """One or more rows per type. The first `grow` draws rows; later ones append, and old rows keep every bit."""

    frozen: Tensor
    """[C', ...] rows that are not trained in this step."""

    def __init__(self) -> None:
        super().__init__()
        self.inventory = TypeInventory()
        self.register_buffer("frozen", torch.empty(0))
        self.rows = nn.Parameter(torch.empty(0))

    @abstractmethod
    def count(self, inventory: TypeInventory) -> int:
        """The number of rows for an inventory."""

    @abstractmethod
    def draw(self, count: int) -> Tensor:
        """[count, ...] new rows."""

    @property
    def weight(self) -> Tensor:
        """[C, ...] the rows of the whole inventory, oldest first."""
        return torch.cat([self.frozen, self.rows]) if len(self.frozen) else self.rows

    @property
    def num_old(self) -> int:
        return self.count(TypeInventory(self.inventory.old, self.inventory.sizes[:-1]))

    def grow(self, inventory: TypeInventory, growth: GrowthConfig) -> None:
        trained = self.weight.detach()
        count = self.count(inventory) - len(trained)
        weight = growth.extend(trained, count, self.draw) if len(trained) else self.draw(count).to(trained)
        frozen = len(trained) if growth.freeze_old else 0
        self._replace(inventory, weight[:frozen], weight[frozen:])

    def finalize(self) -> None:
        weight = self.weight.detach()
        self._replace(self.inventory, weight[:0], weight)

    def load_shape(self, inventory: TypeInventory) -> None:
        weight = torch.zeros_like(self.draw(self.count(inventory)))
        self._replace(inventory, weight[:0], weight)

    def _replace(self, inventory: TypeInventory, frozen: Tensor, rows: Tensor) -> None:
        self.frozen, self.rows, self.inventory = frozen.clone(), nn.Parameter(rows.clone()), inventory


def linear_rows(count: int, width: int, std: float) -> Tensor:
    """[count, width + 1] new rows of a linear layer: weights from N(0, std), and a bias of zero."""
    return torch.cat([std * torch.randn(count, width), torch.zeros(count, 1)], dim=1)
