"""Exact nearest neighbours among points of unit length, a tile of the similarity matrix at a time.

Shapes: N points, H width, K neighbours.
"""

import torch
from torch import Tensor

TILE = 2048
"""Points on each side of a tile: 16 MiB of similarities in fp32, whatever the number of points."""


def nearest(points: Tensor, count: int, candidates: int = 0) -> Tensor:
    """[N, K'] which other points are nearest to each of `points` [N, H], the nearest first, never the point itself.

    Unit vectors are near where their product is large, so a tile is one matrix product, in the precision of `points`
    (bf16 would lose a fifth of the neighbours). Two tiles of points meet once: their product serves both. Beyond the
    points, memory is the result and one tile.
    Only the first `candidates` points may be neighbours, all when 0. K' = min(count, candidates - 1): whoever has
    fewer candidates than `count` beside itself gets them all. Of equally near points, any may be chosen.
    """
    known = min(candidates or len(points), len(points))
    count = max(0, min(count, known - 1))
    near = torch.full((len(points), count), -1, device=points.device)
    if not count:
        return near
    likeness = points.new_full(near.shape, float("-inf"))

    def offer(to: slice, found: Tensor, start: int) -> None:
        """Keep the best of what the points `to` had and of their likeness [n, m] to the points from `start` on."""
        best = found.topk(min(count, found.size(1)))
        whole = torch.cat([likeness[to], best.values], dim=1)
        names = torch.cat([near[to], best.indices + start], dim=1)
        likeness[to], kept = whole.topk(count)
        near[to] = names.gather(1, kept)

    ends = ((0, known), (known, len(points)))
    tiles = [slice(i, min(i + TILE, end)) for begin, end in ends for i in range(begin, end, TILE)]
    for i, rows in enumerate(tiles):
        for columns in tiles[: i + 1]:
            if columns.start >= known:
                break
            found = points[rows] @ points[columns].T
            if rows == columns:
                found.fill_diagonal_(float("-inf"))
            offer(rows, found, columns.start)
            if rows != columns and rows.start < known:
                offer(columns, found.T.contiguous(), rows.start)
    return near
