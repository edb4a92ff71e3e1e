"""The demo: a corpus that is generated, so that the first run needs no download."""

from collections.abc import Iterator, Sequence

from raycner.data import demo as generated
from raycner.data.layouts.layout import ReadingConfig, Row, layout
from raycner.data.sources import PARTS, RawFile


@layout("demo", has_files=False)
def demo(_: Sequence[RawFile], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """The generated corpus."""
    notes.append(f"generated from seed {reading.seed}")
    for part, number in zip(PARTS, (reading.sentences, reading.sentences // 4, reading.sentences // 4), strict=True):
        for words, entities in generated.sentences(part, number, reading.seed):
            yield Row(part, words, entities)
