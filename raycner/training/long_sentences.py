"""Long sentences: what of a step is read in windows, and which entities have no target, whatever the windows."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from raycner.data.scenarios.scenario import Split
from raycner.networks.heads.head import Head
from raycner.training.loader import SplitLoader


def window_notes(parts: Mapping[str, Iterable[SplitLoader]], max_length: int) -> Iterator[str]:
    """A note for each part with sentences of more than `max_length` pieces."""
    if max_length == sys.maxsize:
        return
    for name, loaders in parts.items():
        sentences, words, entities = np.sum([(0, 0, 0), *(beyond(loader, max_length) for loader in loaders)], axis=0)
        if sentences:
            yield (
                f"{name}: {sentences} sentences of more than {max_length} pieces are read in overlapping windows; "
                f"{words} words and {entities} entities lie beyond the first {max_length} pieces"
            )


def left_out_notes(train: Split, head: Head[Any]) -> Iterator[str]:
    """A note on the entities of the training sentences that the head cannot learn."""
    number = sum(map(head.left_out, train.sentences())) if head.limit else 0
    if number:
        yield f"train: {number} entities are not learned, nor are such predicted: those {head.limit}"


def beyond(loader: SplitLoader, max_length: int) -> tuple[int, int, int]:
    """How many sentences have more pieces, and how many of their words and entities begin after these."""
    words = entities = 0
    longer = np.flatnonzero(loader.lengths > max_length).tolist()
    for position in longer:
        (tokens,) = loader.tokens.read([position])
        words += int((tokens.starts >= max_length).sum())
        entities += sum(bool(tokens.starts[entity.start] >= max_length) for entity in loader.split[position].entities)
    return len(longer), words, entities
