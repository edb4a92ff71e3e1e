"""Label rows: the rows of a linear token classifier, whatever its labels and their order, as those of a tag set."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from raycner.data.entities import OUTSIDE, TypeInventory, split_tag
from raycner.errors import InputError
from raycner.networks.heads.tag_set import Scheme, TagSet

BELOW = 10.0
"""How many logits a tag that the classifier lacks lies below another tag of its type, so that it is never the best."""
UNNAMED = re.compile(r"LABEL_\d+")
"""Labels of a checkpoint without `id2label`."""
HINT = "give the labels in the order of the rows: --labels O,B-person,I-person"


class Row(NamedTuple):
    """Where the row of a tag comes from."""

    label: int
    """The row of the classifier."""
    lowered: float
    """How much its bias is lowered."""


@dataclass(frozen=True)
class LabelRows:
    """A tag set, and the row of a classifier for each of its tags."""

    tag_set: TagSet
    rows: tuple[Row, ...]

    @property
    def types(self) -> tuple[str, ...]:
        return self.tag_set.inventory.types

    @classmethod
    def of(cls, labels: Sequence[str], location: str) -> "LabelRows":
        """The rows of a classifier with these labels: BIO, IOB1, IO, BIOES, BILOU or bare types, in any order.

        A tag without a label has the row of another tag of its type, lowered by `BELOW`. Raises `InputError` for
        labels that are no scheme.
        """
        _refuse_no_scheme(labels, location)
        by_tag = {split_tag(label): row for row, label in enumerate(labels)}
        types = tuple(dict.fromkeys(kind for _, kind in by_tag if kind))
        scheme: Scheme = "BIOES" if any(prefix in ("E", "S") for prefix, _ in by_tag) else "BIO"
        tag_set = TagSet(TypeInventory().grow(types), scheme)
        return cls(tag_set, tuple(_row(*split_tag(tag), by_tag) for tag in tag_set.tags))

    def arranged(self, weight: Tensor, bias: Tensor) -> Tensor:
        """[C, H + 1] the rows of a linear head, its bias last. Shapes: weight [labels, H], bias [labels]."""
        lowered = torch.tensor([row.lowered for row in self.rows])
        source = [row.label for row in self.rows]
        return torch.cat([weight[source], (bias[source] - lowered)[:, None]], dim=1)


def _row(prefix: str, kind: str, by_tag: Mapping[tuple[str, str], int]) -> Row:
    if (prefix, kind) in by_tag:
        return Row(by_tag[prefix, kind], 0.0)
    of_type = {other: row for (other, of), row in by_tag.items() if of == kind}
    nearest = next(of_type[other] for other in ("", "I", "B", "E", "S") if other in of_type)
    return Row(nearest, 0.0 if prefix == "I" and "" in of_type else BELOW)


def _refuse_no_scheme(labels: Sequence[str], location: str) -> None:
    if not labels or all(UNNAMED.fullmatch(label) for label in labels):
        raise InputError("its config.json names no labels (id2label)", location=location, hint=HINT)
    if OUTSIDE not in labels:
        what = f"no label is {OUTSIDE!r}, the tag outside entities: {_listed(labels)}"
        raise InputError(what, location=location, hint=HINT)
    by_tag: dict[tuple[str, str], str] = {}
    for label in labels:
        tag = split_tag(label)
        if tag[0] == "?" or not label.strip():
            what = f"label {label!r} is a tag of no scheme (BIO, IO, BIOES, BILOU or bare types)"
            raise InputError(what, location=location, hint=HINT)
        if tag in by_tag:
            what = f"labels {by_tag[tag]!r} and {label!r} mean the same tag"
            raise InputError(what, location=location, hint=HINT)
        by_tag[tag] = label
    kinds = {kind for prefix, kind in by_tag if prefix not in ("", OUTSIDE)}
    mixed = [kind for prefix, kind in by_tag if prefix == "" and kind in kinds]
    if mixed:
        what = f"type {mixed[0]!r} has labels with and without a prefix"
        raise InputError(what, location=location, hint=HINT)
    if len(by_tag) == 1:
        raise InputError("its only label is O", location=location, hint=HINT)


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(labels[:6]) + (f" and {len(labels) - 6} more" if len(labels) > 6 else "")
