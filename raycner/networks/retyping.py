"""Retyping of a network: without some of its types, with other names for some, or with several as one.

Nothing is trained, and every row that remains keeps every bit. A dropped type has no row, so it is never predicted. A
merged type has the rows of all its parts: where a tag of a part was the best one, that of the merged type is. No rows
wait for types to come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch

from raycner.data.entities import TypeInventory
from raycner.data.retyping import Retyping
from raycner.errors import InputError
from raycner.networks.heads.growing_rows import GrowingRows
from raycner.networks.network import ModelConfig, Network

AS_IT_IS = Retyping()


def retyped(network: Network, retyping: Retyping = AS_IT_IS) -> Network:
    """The network with the types of one step: those that remain, under their new names.

    Raises `InputError` for a type that it does not have, and for a head whose types have no rows of their own.
    """
    names = retyping.names(network.inventory.types)
    parts = {new: [old for old in names if names[old] == new] for new in names.values()}
    weights = {name: weight for name, weight in network.state_dict().items() if name != "head.spare"}
    if retyping.drop or retyping.merge:
        outside, of_types = _rows(network)
        weights["head.rows"] = torch.cat([outside, *(of_types[old] for new in parts for old in parts[new])]).detach()
    try:
        config = _with_rows(replace(network.config, head=network.config.head.without_spare_rows()), parts)
        weights |= network.statistics.renamed(names).weights()
        return Network.restore(config, TypeInventory().grow(tuple(parts)), network.encoder.memory(), weights)
    except RuntimeError:
        raise _refusal(network) from None


def _rows(network: Network) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
    """The rows of O, and those of each type."""
    head, types = network.head, network.inventory.types
    if not isinstance(head, GrowingRows):
        raise _refusal(network)
    first, extra = head.count(TypeInventory()), _extra_rows(network.config)
    per_set = (head.count(head.inventory) - first) // (len(types) + len(extra))
    sizes = [per_set * (1 + extra.count(name)) for name in types]
    if first + sum(sizes) != len(head.weight):
        raise _refusal(network)
    outside, *rows = torch.split(head.weight, [first, *sizes])
    return outside, dict(zip(types, rows, strict=True))


def _with_rows(config: ModelConfig, parts: Mapping[str, Sequence[str]]) -> ModelConfig:
    """The model whose types have the rows of all of their parts."""
    before = _extra_rows(config)
    extra = tuple(new for new, old in parts.items() for _ in range(len(old) - 1 + sum(map(before.count, old))))
    if extra == before:
        return config
    if not hasattr(config.head, "extra_rows"):
        what = f"head {config.head.name!r} has one set of rows per type, so types cannot be merged"
        raise InputError(what, location="model.head.name", hint="use a linear or a cosine head")
    return replace(config, head=replace(cast(Any, config.head), extra_rows=extra))


def _extra_rows(config: ModelConfig) -> tuple[str, ...]:
    extra: tuple[str, ...] = getattr(config.head, "extra_rows", ())
    return extra


def _refusal(network: Network) -> InputError:
    what = f"head {network.config.head.name!r} has no rows of their own for each type"
    return InputError(what, location="model.head.name", hint="use a head that has, such as linear")
