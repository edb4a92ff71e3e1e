"""Divergence: a loss or a gradient norm that is not finite ends the step before anything of it is committed.

Each rank counts its finite batches on its own device, so no update waits for a device. The counts of all ranks are read
after every `READ_EVERY` batches, and at the end of each epoch, where the losses are read too; every rank then raises
the same error. A count stops at the first batch that is not finite, and so tells which one it is.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from raycner.errors import InputError
from raycner.training import ranks

READ_EVERY = 100
"""Batches between two reads. A read costs a synchronisation of the device and a collective operation."""
HINT = "lower optim.lr and optim.head_lr, or set optim.precision=fp32"


class FiniteBatches:
    """Counts the batches of `location` before the first whose loss or gradient norm is not finite."""

    def __init__(self, location: str, device: torch.device) -> None:
        self._location = location
        self._finite = torch.ones((), dtype=torch.bool, device=device)
        self._count = torch.zeros((), dtype=torch.long, device=device)
        self._batches = 0

    def add(self, *numbers: Tensor) -> None:
        """One more batch, with its loss and gradient norm."""
        self._finite &= torch.stack([number.detach().isfinite() for number in numbers]).all()
        self._count += self._finite
        self._batches += 1

    @property
    def is_due(self) -> bool:
        """Whether `require_all` is to be called after this batch."""
        return self._batches % READ_EVERY == 0

    def require_all(self, sums: Mapping[str, Tensor]) -> None:
        """Raise `InputError` on every rank if a batch of any rank is not finite. A collective call.

        `sums` are the totals of this rank's loss terms so far.
        """
        finite = int(ranks.all_reduce_sum(self._count.clone()))
        if finite == ranks.world_size() * self._batches:
            return
        terms = [name for name, total in sums.items() if not total.isfinite().all()]
        count, names = min(ranks.gather([(int(self._count), terms)], self._count.device))
        what = f"the loss is not finite ({', '.join(names)})" if names else "the norm of the gradient is not finite"
        raise InputError(what, location=f"{self._location}, batch {count + 1}", hint=HINT)
