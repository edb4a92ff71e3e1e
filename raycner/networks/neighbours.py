"""Exact nearest neighbours among points of unit length, a tile of the similarity matrix at a time.

Shapes: N points, H width, K neighbours.
"""

import torch
from torch import Tensor

TILE = 2048
"""Points on each side of a tile: 16 MiB of similarities in fp32, whatever the number of points."""


def nearest(points: Tensor, count: int, candidates: int = 0) -> Tensor:
    """[N, K'] the indices of the points nearest to each of `points` [N, H], nearest first, without the point itself.

    The nearest unit vectors have the largest products, so a tile is one matrix product, in the precision of `points`
    (bf16 would lose a fifth of the neighbours). Each pair of tiles is multiplied once, for both. Memory is the result
    and one tile. Only the first `candidates` points may be neighbours, all when 0; K' = min(count, candidates - 1).
    Ties are broken arbitrarily.
    """
    candidates = min(candidates or len(points), len(points))
    count = max(0, min(count, candidates - 1))
    near = torch.full((len(points), count), -1, device=points.device)
    if not count:
        return near
    similarity = points.new_full(near.shape, float("-inf"))

    def update(rows: slice, tile: Tensor, start: int) -> None:
        """Merge similarities [n, m] of the points `rows` to the points from `start` on into their neighbours."""
        best = tile.topk(min(count, tile.size(1)))
        values = torch.cat([similarity[rows], best.values], dim=1)
        indices = torch.cat([near[rows], best.indices + start], dim=1)
        similarity[rows], top = values.topk(count)
        near[rows] = indices.gather(1, top)

    ends = ((0, candidates), (candidates, len(points)))
    tiles = [slice(i, min(i + TILE, end)) for begin, end in ends for i in range(begin, end, TILE)]
    for i, rows in enumerate(tiles):
        for columns in tiles[: i + 1]:
            if columns.start >= candidates:
                break
            products = points[rows] @ points[columns].T
            if rows == columns:
                products.fill_diagonal_(float("-inf"))
            update(rows, products, columns.start)
            if rows != columns and rows.start < candidates:
                update(columns, products.T.contiguous(), rows.start)
    return near
