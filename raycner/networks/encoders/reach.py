"""Reach: the sentences of a corpus that are longer than an encoder reads at once, and the words it has no piece for."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from raycner.data.inspection import LongSentences, Reach
from raycner.data.sentence_table import SentenceTable
from raycner.data.sources import Part
from raycner.networks.encoders.encoder import Encoder, Pieces

EXAMPLES = 5


def reach(encoder: Encoder, tables: Mapping[Part, SentenceTable]) -> Reach | None:
    """The reach of an encoder in the parts of a corpus; None for one that reads words whole, at any length."""
    unknown: Counter[str] = Counter()
    long: dict[Part, LongSentences] = {}
    limit = 0
    for part, table in tables.items():
        sentences = words_beyond = 0
        for bounds, codes, words in table.word_codes():
            pieces = encoder.pieces(words)
            if pieces is None:
                return None
            limit = pieces.limit
            ends = np.concatenate([[0], np.cumsum(pieces.counts[codes])])
            starts_in_sentence = ends[:-1] - np.repeat(ends[bounds[:-1]], np.diff(bounds))
            sentences += int((ends[bounds[1:]] - ends[bounds[:-1]] > limit).sum())
            words_beyond += int((starts_in_sentence >= limit).sum())
            _count_unknown(pieces, codes, words, unknown)
        long[part] = LongSentences(sentences, words_beyond)
    examples = tuple(word for word, _ in unknown.most_common(EXAMPLES))
    return Reach(limit, long, unknown.total(), examples)


def _count_unknown(pieces: Pieces, codes: NDArray[np.int32], words: list[str], unknown: Counter[str]) -> None:
    without = np.flatnonzero(~pieces.known)
    if len(without):
        times = np.bincount(codes, minlength=len(words))
        unknown.update({words[code]: int(times[code]) for code in without.tolist()})
