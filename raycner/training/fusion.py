"""Fusion: a step ends with a mixture of its weights and those of the step before.

    theta = fusion * theta' + (1 - fusion) * theta    for each weight theta' of the step before; new rows are kept

Both ends come from one start, so the weights between them are good ones too, nearer to the old types or to the new.
Source: uniform mixing as in WiSE-FT (CVPR 2022) and CoFiMA (ECCV 2024); SPT and Cs2K mix the important weights alone.
"""

import torch

from raycner.networks.network import Network


@torch.no_grad()
def fuse(network: Network, before: Network, fusion: float) -> None:
    """Mix the weights of the step before into a network that has ended its step. New rows follow the old ones."""
    weights = network.state_dict()
    for name, old in before.state_dict().items():
        new = weights.get(name)
        if new is not None and new.is_floating_point() and new.shape[1:] == old.shape[1:]:
            mixed = new[: len(old)] if old.ndim else new
            mixed.lerp_(old, fusion)
