"""CoNLL2003: the columns of the shared task, under the names that benchmarks give its types."""

from collections.abc import Iterator, Sequence

from raycner.data.layouts.columns import tagged
from raycner.data.layouts.layout import ReadingConfig, Row, from_tags, layout
from raycner.data.sources import RawFile

_CONLL2003 = {"LOC": "location", "MISC": "misc", "ORG": "organisation", "PER": "person"}


@layout("conll2003", types=tuple(_CONLL2003.values()))
def conll2003(files: Sequence[RawFile], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """CoNLL2003 in columns; the files' LOC, MISC, ORG and PER get the long names that benchmarks order types by."""
    names = _CONLL2003 | {name: name for name in _CONLL2003.values()}
    yield from from_tags(lambda: tagged(files, reading), reading, notes, names)
