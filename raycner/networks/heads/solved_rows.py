"""Tag heads without gradient descent: their rows are computed from sums over all words that were ever learned.

    S <- S + the sums over the words of the step,    W = f(S)

The order of the steps does not matter: the rows are those of one step over all words, with the same features and
labels. So features must not change (`model.encoder.frozen=always`). Labels do, since the words of old types are
annotated O in later steps: `method.name=self_training` gives them the tags of the network of the step before.

Shapes: C tags, F width of a feature.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from raycner.data.entities import TypeInventory
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.decoding import Decoding
from raycner.networks.heads.tag_head import TagHead
from raycner.networks.heads.tag_set import Scheme
from raycner.networks.losses import IGNORE


class SolvedTags(TagHead):
    """A row of weights per tag, solved from sums over words: `sums` of each batch, then `solve` once."""

    is_solved: ClassVar[bool] = True
    can_imprint: ClassVar[bool] = False
    sums_of_tags: Tensor
    """[C, F] the sum of the features of each tag's words, over all steps."""

    def __init__(self, width: int, features: int, scheme: Scheme, decoding: Decoding) -> None:
        super().__init__(width, scheme, decoding)
        self.register_buffer("sums_of_tags", torch.zeros(0, features))

    @abstractmethod
    def solution(self) -> Tensor:
        """[C, F] the rows of the present sums, in float64."""

    def sums(self, states: States, batch: Batch) -> Tensor:
        is_labelled = batch.targets != IGNORE
        features = self.effective(states, batch)[0][is_labelled]
        one_hot = F.one_hot(batch.targets[is_labelled], len(self.tags)).to(features)
        return (one_hot.T @ features).double()

    def solve(self, sums: Tensor) -> None:
        self.sums_of_tags += sums.to(self.sums_of_tags)
        rows = self.solution().to(self.rows)
        self._replace(self.inventory, rows[:0], rows)

    def _replace(self, inventory: TypeInventory, frozen: Tensor, rows: Tensor) -> None:
        super()._replace(inventory, frozen, rows)
        new = len(frozen) + len(rows) - len(self.sums_of_tags)
        self.sums_of_tags = F.pad(self.sums_of_tags.to(rows), (0, 0, 0, new))
