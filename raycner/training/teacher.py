"""The teacher: the network of the previous step, frozen, with cached outputs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from raycner.data.entities import TypeInventory
from raycner.data.scenarios.scenario import Split
from raycner.methods.method import TeacherOutputs
from raycner.networks.batch import Batch, to_device
from raycner.networks.heads.head import Prediction
from raycner.networks.network import Network
from raycner.training import ranks
from raycner.training.cached_output import CachedOutput
from raycner.training.loader import SplitLoader

T = TypeVar("T")
NONE: TeacherOutputs[Any] = MappingProxyType({})


class Teacher:
    """The network at the end of the previous step: frozen, in eval mode, and deliberately not a module.

    `outputs` are the method's `teacher_outputs`. After `cache_outputs` they are read from files in `scratch`; before,
    they are computed from a forward pass.
    """

    def __init__(self, network: Network, scratch: Path, outputs: TeacherOutputs[Any] = NONE) -> None:
        self.outputs = outputs
        self._network, self._scratch = network.eval(), scratch
        self._cache: Mapping[str, CachedOutput] = {}
        self._batch: Batch | None = None
        self._output: Any = None

    @property
    def inventory(self) -> TypeInventory:
        return self._network.inventory

    @property
    def device(self) -> torch.device:
        return self._network.device

    def __call__(self, batch: Batch) -> Any:
        return TeacherOutput(self, batch)

    def recall(self, name: str, batch: Batch) -> Tensor:
        """The output `name`: [B, P, ...], from the cache if it is there. Raises `KeyError` for an unknown name."""
        if name in self._cache:
            mask = self._network.head.output_mask(batch.mask_on_host)
            return to_device(self._cache[name].read(batch.positions, mask), self.device)
        return self.outputs[name](self.forward(batch))

    def forward(self, batch: Batch) -> Any:
        """The head's output by a forward pass without gradient; kept until the next batch."""
        if batch is not self._batch:
            with torch.no_grad():
                self._batch, self._output = batch, self._network(batch)
        return self._output

    def survey(self, split: Split, look: Callable[[Batch, Any], T]) -> list[T]:
        """`look(batch, output)` for each batch of a split. All ranks share the work and return the same."""
        return list(SplitLoader(split, self._network).survey(look))

    def predictions(self, split: Split) -> list[Prediction]:
        """The entities predicted in each sentence of a split. All ranks share the work and return the same."""
        own: list[tuple[int, Prediction]] = []
        with torch.no_grad():
            for positions, batch in SplitLoader(split, self._network).batches():
                own += zip(positions.tolist(), self._network.predict(batch), strict=True)
        gathered = dict(ranks.gather(own, self.device))
        return [gathered[position] for position in range(len(split))]

    def cache_outputs(self, split: Split) -> None:
        """Compute `outputs` for every sentence of a split: one pass, shared among the ranks.

        Nothing is cached where they depend on the other sentences of a batch: they are computed in the student's.
        """
        if not self.outputs or self._network.config.head.batch_dependent:
            return
        cache = {name: CachedOutput(self._scratch / f"{name}-{ranks.rank()}", len(split)) for name in self.outputs}

        def look(batch: Batch, output: Any) -> list[tuple[int, list[NDArray[Any]]]]:
            mask = self._network.head.output_mask(batch.mask).cpu().numpy()
            tensors = [function(output).cpu().numpy() for function in self.outputs.values()]
            return [(i, [t[row][mask[row]] for t in tensors]) for row, i in enumerate(batch.positions.tolist())]

        for sentences in SplitLoader(split, self._network).survey(look):
            for position, outputs in sentences:
                for column, rows in zip(cache.values(), outputs, strict=True):
                    column.write(position, rows)
        self._cache = cache


class TeacherOutput:
    """The output of a head for one batch, in which the teacher's `outputs` replace the attributes of their names."""

    def __init__(self, teacher: Teacher, batch: Batch) -> None:
        self._teacher, self._batch = teacher, batch

    def __getattr__(self, name: str) -> Any:
        listed = name in self._teacher.outputs
        value = self._teacher.recall(name, self._batch) if listed else getattr(self._teacher.forward(self._batch), name)
        setattr(self, name, value)  # the next access does not come here
        return value
