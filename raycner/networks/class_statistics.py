"""Class statistics: what a network remembers of the words of each tag, in place of their sentences.

    statistics/TAG    [2, H]  mean and variance of the features of its words, as the head reads them
    prototypes/TAG    [H]     the mean of their unit features, f / |f|, when the step of the tag ended

A step stores with its weights those that later steps read: feature replay the former, which it moves along with the
encoder, and a method that rehearses prototypes the latter, which stay as they are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from raycner.data.entities import split_tag
from raycner.networks.batch import to_device

MOMENTS, PROTOTYPES = "statistics/", "prototypes/"
LEAST_VARIANCE = 1e-4


@dataclass(frozen=True, eq=False)
class ClassStatistics:
    """By tag. An empty one is what a network without any has."""

    moments: Mapping[str, Tensor] = field(default_factory=dict)
    """[2, H] mean and variance."""
    prototypes: Mapping[str, Tensor] = field(default_factory=dict)
    """[H] mean of unit features."""

    @classmethod
    def split(cls, weights: Mapping[str, Tensor]) -> tuple["ClassStatistics", dict[str, Tensor]]:
        """The statistics among the weights of a checkpoint, and the other weights."""
        moments, prototypes = _below(MOMENTS, weights), _below(PROTOTYPES, weights)
        others = {key: value for key, value in weights.items() if not key.startswith((MOMENTS, PROTOTYPES))}
        return cls(moments, prototypes), others

    def weights(self) -> dict[str, Tensor]:
        """The inverse of `split`."""
        moments = {f"{MOMENTS}{tag}": value for tag, value in self.moments.items()}
        return moments | {f"{PROTOTYPES}{tag}": value for tag, value in self.prototypes.items()}

    def renamed(self, names: Mapping[str, str]) -> "ClassStatistics":
        """Those of the types in `names`, under their new names; of types that become one, none."""
        return ClassStatistics(_renamed(self.moments, names), _renamed(self.prototypes, names))

    def observe(self, tag: str, features: Tensor) -> "ClassStatistics":
        """With the moments of a further tag. Shapes: features [N, H], N at least 2."""
        moments = torch.stack([features.mean(0), features.var(0) + LEAST_VARIANCE])
        return replace(self, moments={**self.moments, tag: moments})

    def to(self, device: torch.device) -> "ClassStatistics":
        """The same on another device."""
        own = (self.moments, self.prototypes)
        return ClassStatistics(*({tag: value.to(device) for tag, value in by_tag.items()} for by_tag in own))

    def prototypes_of(self, tags: Sequence[str], like: Tensor) -> tuple[Tensor, Tensor]:
        """The prototypes [K, H] of those of these tags that have one, like this tensor, and their places [K]."""
        having = [place for place, tag in enumerate(tags) if tag in self.prototypes]
        rows = [self.prototypes[tags[place]].to(like) for place in having]
        places = to_device(torch.tensor(having, dtype=torch.long), like.device)
        return torch.stack(rows) if rows else like[:0], places


def _below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def _renamed(by_tag: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    counts, renamed = Counter(names.values()), {}
    for tag, value in by_tag.items():
        prefix, kind = split_tag(tag)
        if kind in names and counts[names[kind]] == 1:
            renamed[f"{prefix}-{names[kind]}"] = value
    return renamed
