"""Retyping: a network without some of its types, or with other names for them. Nothing is trained.

A dropped type has no row, so it is never predicted; the rows of the other types keep every bit.
"""

from collections.abc import Collection, Mapping

import torch

from raycner.data.entities import TypeInventory
from raycner.errors import InputError
from raycner.networks.heads.growing_rows import GrowingRows
from raycner.networks.network import Network
from raycner.registry import suggest


def retyped(network: Network, drop: Collection[str] = (), rename: Mapping[str, str] | None = None) -> Network:
    """The network with one step's types: those that are not dropped, under their new names.

    Raises `InputError` for a type that it does not have, and for a head whose types have no rows of their own.
    """
    names, types = rename or {}, network.inventory.types
    for option, named in (("--drop", drop), ("--rename", names)):
        for name in named:
            if name not in types:
                raise InputError(f"the model has no type {name!r}", location=option, hint=suggest(name, types))
    remaining = [name for name in types if name not in drop]
    if not remaining:
        raise InputError("no type is left", location="--drop", hint="drop fewer types")
    inventory = TypeInventory().grow([names.get(name, name) for name in remaining])
    weights = network.state_dict()
    if drop:
        weights["head.rows"] = _rows(network, [types.index(name) for name in remaining])
    try:
        return Network.restore(network.config, inventory, network.encoder.memory(), weights)
    except RuntimeError:
        raise _refusal(network) from None


def _rows(network: Network, places: Collection[int]) -> torch.Tensor:
    """The rows of O, and those of the types at these places."""
    head = network.head
    if not isinstance(head, GrowingRows):
        raise _refusal(network)
    first = head.count(TypeInventory())
    per_type = (head.count(head.inventory) - first) // len(head.inventory)
    blocks = [head.weight[:first], *(head.weight[first + i * per_type :][:per_type] for i in places)]
    return torch.cat(blocks).detach()


def _refusal(network: Network) -> InputError:
    what = f"head {network.config.head.name!r} has no rows of their own for each type"
    return InputError(what, location="model.head.name", hint="use a head that has, such as linear")
