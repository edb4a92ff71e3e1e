"""Viterbi: the best sequence of tags in which every transition is allowed."""

import torch
from torch import Tensor

from raycner.networks.heads.tag_set import O


def viterbi(scores: Tensor, mask: Tensor, allowed: Tensor) -> Tensor:
    """The path of highest total score. A sentence begins as after O and ends as before O.

    Shapes: scores [B, T, C] log-probabilities, mask [B, T], allowed [C, C] -> [B, T] tags.
    """
    forbidden = torch.where(allowed, 0.0, float("-inf")).to(scores)
    best, pointers = scores[:, 0] + forbidden[O], []
    for t in range(1, scores.size(1)):
        reached, pointer = (best[:, :, None] + forbidden).max(dim=1)
        here = mask[:, t, None]
        best = torch.where(here, reached + scores[:, t], best)
        stay = torch.arange(scores.size(2), device=scores.device).expand_as(pointer)
        pointers.append(torch.where(here, pointer, stay))
    path = [(best + forbidden[:, O]).argmax(-1)]
    for pointer in reversed(pointers):
        path.append(pointer.gather(1, path[-1][:, None])[:, 0])
    return torch.stack(path[::-1], dim=1)
