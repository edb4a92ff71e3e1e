"""Decoding: one tag per word from the probabilities of the tags.

    argmax        the most probable tag of each word; a reader then begins an entity at a stray I- (an I- that may not
                  follow the tag before it)
    strict        the same, but a stray I- is O (the SpanKL code)
    constrained   the most probable path on which every tag may follow the one before it (Viterbi)

Shapes: B sentences, T words, C tags.
"""

from typing import Literal

import torch
from torch import Tensor

from raycner.networks.heads.tag_set import O, TagSet

Decoding = Literal["argmax", "strict", "constrained"]
SMALLEST = 1e-12
"""Probabilities below are read as this one: their logarithm stays finite."""


def decode(probabilities: Tensor, mask: Tensor, tag_set: TagSet, decoding: Decoding) -> tuple[Tensor, Tensor]:
    """The tag of each word, and its probability. Shapes: [B, T, C], mask [B, T] -> two of [B, T]."""
    if decoding == "constrained":
        tags = viterbi(probabilities.clamp_min(SMALLEST).log(), mask, tag_set)
    else:
        tags = probabilities.argmax(-1)
    if decoding == "strict":
        tags = without_strays(tags, tag_set)
    return tags, probabilities.gather(-1, tags[..., None])[..., 0]


def without_strays(tags: Tensor, tag_set: TagSet) -> Tensor:
    """The tags [B, T], with O for every I- (and E-) that may not follow the tag before it."""
    allowed, is_inside = tag_set.allowed.to(tags.device), tag_set.is_inside.to(tags.device)
    previous, cleaned = torch.full_like(tags[:, 0], O), []
    for tag in tags.unbind(1):
        is_stray = is_inside[tag] & ~allowed[previous, tag]
        previous = tag.masked_fill(is_stray, O)
        cleaned.append(previous)
    return torch.stack(cleaned, dim=1)


def viterbi(scores: Tensor, mask: Tensor, tag_set: TagSet) -> Tensor:
    """The path of highest total score. A sentence begins as after O and ends as before O.

    An I- (or E-) follows only B- or I- of its type. All other tags may follow the same tags, so one maximum over these
    serves them all: a word costs O(C), not O(C^2).
    Shapes: scores [B, T, C] log-probabilities, mask [B, T] -> [B, T] tags.
    """
    closed, is_inside, openers = (
        part.to(scores.device) for part in (tag_set.closed, tag_set.is_inside, tag_set.openers)
    )
    unreachable = float("-inf")
    best = scores[:, 0].masked_fill(is_inside, unreachable)
    here = torch.arange(len(tag_set), device=scores.device).expand_as(best)
    pointers = []
    for t in range(1, scores.size(1)):
        closing, closer = best.masked_fill(~closed, unreachable).max(-1, keepdim=True)  # [B, 1]
        opening, which = best[:, openers].max(-1)  # [B, C], over the two openers of each tag
        opener = openers.expand(len(best), -1, -1).gather(-1, which[..., None])[..., 0]
        reached = torch.where(is_inside, opening, closing)
        pointer = torch.where(is_inside, opener, closer)
        is_word = mask[:, t, None]
        best = torch.where(is_word, reached + scores[:, t], best)
        pointers.append(torch.where(is_word, pointer, here))
    path = [best.masked_fill(~closed, unreachable).argmax(-1)]
    for pointer in reversed(pointers):
        path.append(pointer.gather(1, path[-1][:, None])[:, 0])
    return torch.stack(path[::-1], dim=1)
