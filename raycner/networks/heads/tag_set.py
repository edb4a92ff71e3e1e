"""Tag sets: how the tags of words encode entities."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from raycner.data.entities import OUTSIDE, Sentence, TypeInventory, decode
from raycner.networks.heads.head import Prediction
from raycner.networks.losses import IGNORE

O = 0  # noqa: E741  # the field's name for "no entity"
"""The tag of a word outside every entity."""
Scheme = Literal["BIO", "BIOES"]
PREFIXES = {"BIO": ("B", "I"), "BIOES": ("B", "I", "E", "S")}


@dataclass(frozen=True)
class TagSet:
    """The tags of an inventory, in the order of a head's rows.

    Tag 0 is O; the tags of the k-th type, from 0, follow in the order of the scheme (BIO: B = 2k + 1, I = 2k + 2). A
    larger inventory only appends tags.
    """

    inventory: TypeInventory = TypeInventory()  # noqa: RUF009
    scheme: Scheme = "BIO"
    extra_rows: tuple[str, ...] = ()
    """A type for each further set of tags that it has, where types were merged; entities are encoded by the first."""

    def __len__(self) -> int:
        return len(self.tags)

    def over(self, inventory: TypeInventory) -> Self:
        """The tags of another inventory."""
        return replace(self, inventory=inventory)

    @property
    def prefixes(self) -> tuple[str, ...]:
        return PREFIXES[self.scheme]

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """The name of each tag."""
        kinds = [kind for kind in self.inventory.types for _ in range(1 + self.extra_rows.count(kind))]
        return (OUTSIDE, *(f"{prefix}-{kind}" for kind in kinds for prefix in self.prefixes))

    @cached_property
    def begins(self) -> dict[str, int]:
        """The first tag B- of each type; the type's other tags follow it in the order of the scheme."""
        numbered = reversed([*enumerate(self.tags)])
        return {tag.removeprefix("B-"): number for number, tag in numbered if tag.startswith("B-")}

    @cached_property
    def is_inside(self) -> Tensor:
        """[C] the tags I- and E-, which only continue an entity."""
        return torch.tensor([tag[0] in ("I", "E") for tag in self.tags])

    @cached_property
    def closed(self) -> Tensor:
        """[C] the tags after which no entity is left open, so that O, B- and S- may follow.

        An entity of BIOES is open until its E-; one of BIO may end anywhere.
        """
        ends = ("O", "E", "S") if self.scheme == "BIOES" else ("O", "B", "I")
        return torch.tensor([tag[0] in ends for tag in self.tags])

    @cached_property
    def openers(self) -> Tensor:
        """[C, 2] B- and I- of each tag's set, after which its I- and E- may follow; O twice for O."""
        openers, begin = [], O
        for number, tag in enumerate(self.tags):
            begin = number if tag.startswith("B-") else begin
            openers.append([O, O] if tag == OUTSIDE else [begin, begin + 1])
        return torch.tensor(openers)

    @cached_property
    def allowed(self) -> Tensor:
        """[C, C] which tag may follow which: I- (and E-) only inside an entity of its type; BIOES ends one with E-."""
        after = torch.arange(len(self))[:, None, None] == self.openers  # [C, C, 2]
        return torch.where(self.is_inside, after.any(-1), self.closed[:, None])

    def encode(self, sentence: Sentence) -> Tensor:
        """[words] the tags of a sentence; IGNORE on entities of types that are not in the inventory."""
        tags = np.full(len(sentence.words), O, np.int64)  # numpy assigns short slices much faster than torch
        for entity in sentence.labelled():
            if entity.type not in self.begins:
                tags[entity.start : entity.end] = IGNORE
                continue
            begin = self.begins[entity.type]
            tags[entity.start : entity.end] = begin + 1
            if self.scheme == "BIO":
                tags[entity.start] = begin
            else:
                tags[entity.start], tags[entity.end - 1] = begin, begin + 2
                if entity.end - entity.start == 1:
                    tags[entity.start] = begin + 3
        return torch.from_numpy(tags)

    def decode(self, tags: Sequence[int], confidences: Sequence[float]) -> Prediction:
        """The entities of a sequence of tags. The confidence of an entity is the lowest of its words."""
        if not any(tags):
            return {}
        entities = decode([self.tags[tag] for tag in tags])
        return {entity: min(confidences[entity.start : entity.end]) for entity in entities}
