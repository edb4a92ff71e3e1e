"""Class statistics: what a network remembers of the words of each tag, in place of their sentences.

Of each tag, mean and variance of the features of its words, as the head reads them: [2, H]. They are stored with the
weights, under `statistics/TAG`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from raycner.data.entities import split_tag

PREFIX = "statistics/"
LEAST_VARIANCE = 1e-4


@dataclass(frozen=True, eq=False)
class ClassStatistics:
    """By tag. An empty one is what a network without any has."""

    moments: Mapping[str, Tensor]
    """[2, H] mean and variance."""

    @classmethod
    def split(cls, weights: Mapping[str, Tensor]) -> tuple["ClassStatistics", dict[str, Tensor]]:
        """The statistics among the weights of a checkpoint, and the other weights."""
        moments = {key.removeprefix(PREFIX): value for key, value in weights.items() if key.startswith(PREFIX)}
        return cls(moments), {key: value for key, value in weights.items() if not key.startswith(PREFIX)}

    def weights(self) -> dict[str, Tensor]:
        """The inverse of `split`."""
        return {f"{PREFIX}{tag}": moments for tag, moments in self.moments.items()}

    def renamed(self, names: Mapping[str, str]) -> "ClassStatistics":
        """Those of the types in `names`, under their new names; of types that become one, none."""
        counts = Counter(names.values())
        moments: dict[str, Tensor] = {}
        for tag, value in self.moments.items():
            prefix, kind = split_tag(tag)
            if kind in names and counts[names[kind]] == 1:
                moments[f"{prefix}-{names[kind]}"] = value
        return ClassStatistics(moments)

    def observe(self, tag: str, features: Tensor) -> "ClassStatistics":
        """With the statistics of a further tag. Shapes: features [N, H], N at least 2."""
        moments = torch.stack([features.mean(0), features.var(0) + LEAST_VARIANCE])
        return replace(self, moments={**self.moments, tag: moments})
