"""Windows: a sentence longer than the input of an encoder is read in overlapping windows, and is one sentence again.

    sentence    [CLS] p0 p1 p2 p3 p4 p5 p6 p7 p8 p9 [SEP]
    windows     [CLS] p0 p1 p2 p3 p4 p5 [SEP]
                            [CLS] p4 p5 p6 p7 p8 p9 [SEP]

Windows are equally long and evenly spread, and neighbours share at least `OVERLAP` of their pieces. Each window is a
row of the encoder's batch. Each piece takes its state from the window in which it is farthest from a border, so heads
and methods see the states of one sentence. A sentence that fits has no windows; no piece of any sentence is left out.
Shapes: B sentences, L slots of a sentence, R rows, W slots of a row, H width.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

Numbers = NDArray[np.int64]
Layers = tuple[Tensor, ...]
OVERLAP = 0.25
"""The least share of its pieces that a window has in common with the next one."""
SLOTS_AT_A_TIME = 4096
"""Slots of windows that are encoded at once. More are encoded in parts, whose activations are computed again for the
backward pass: the memory of a training update then does not grow with the length of a sentence."""


def cut(sentences: Sequence[Numbers], longest: int, prefix: int, suffix: int) -> tuple[list[Numbers], Tensor]:
    """Sentences as rows of at most `longest` slots, and [B, L] the place of each slot: row * W + column, -1 for none.

    The first `prefix` and the last `suffix` slots of a sentence are in every row of it.
    """
    room = longest - prefix - suffix
    firsts = [window_starts(len(ids) - prefix - suffix, room) for ids in sentences]
    rows = [
        np.concatenate([ids[:prefix], ids[prefix + first : len(ids) - suffix][:room], ids[len(ids) - suffix :]])
        for ids, of_sentence in zip(sentences, firsts, strict=True)
        for first in of_sentence
    ]
    widest = max(map(len, rows))
    before = accumulate(map(len, firsts), initial=0)
    places = [
        torch.from_numpy(widest * (row + window) + column)
        for row, ids, of_sentence in zip(before, sentences, firsts, strict=False)
        for window, column in [_places(of_sentence, len(ids), room, prefix, suffix)]
    ]
    return rows, pad_sequence(places, batch_first=True, padding_value=-1)


def window_starts(pieces: int, room: int) -> Numbers:
    """The first piece of each window of at most `room` pieces."""
    if pieces <= room:
        return np.zeros(1, np.int64)
    stride = room - int(OVERLAP * room)
    count = 1 + -(-(pieces - room) // stride)
    return np.linspace(0, pieces - room, count).round().astype(np.int64)


def _places(firsts: Numbers, length: int, room: int, prefix: int, suffix: int) -> tuple[Numbers, Numbers]:
    """The window of each slot of a sentence, and its column there."""
    slots = np.arange(length, dtype=np.int64)
    pieces = slots - prefix
    borders = (firsts[:-1] + room + firsts[1:]) / 2  # half-way between the end of a window and the start of the next
    windows = np.searchsorted(borders, pieces + 0.5).astype(np.int64)
    windows[length - suffix :] = len(firsts) - 1
    return windows, slots - firsts[windows]


def encode(encoder: Callable[[Tensor, Tensor], Layers], ids: Tensor, attend: Tensor) -> Layers:
    """The layers [R, W, H] of rows [R, W] of windows, in parts where they are many."""
    size = max(1, SLOTS_AT_A_TIME // ids.size(1))
    if len(ids) <= size:
        return encoder(ids, attend)
    of_part: Callable[[Tensor, Tensor], Layers] = encoder
    if torch.is_grad_enabled():
        of_part = partial(checkpoint, encoder, use_reentrant=False)
    parts = [of_part(*rows) for rows in zip(torch.split(ids, size), torch.split(attend, size), strict=True)]
    return tuple(torch.cat(layer) for layer in zip(*parts, strict=True))


def stitch(rows: Tensor, places: Tensor) -> Tensor:
    """[R, W, ...], [B, L] -> [B, L, ...]: what lies at each place, zero for none."""
    exists = (places >= 0).view(*places.shape, *[1] * (rows.dim() - 2))
    return rows.flatten(0, 1)[places.clamp(min=0)] * exists
