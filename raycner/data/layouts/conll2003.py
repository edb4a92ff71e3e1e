"""CoNLL2003: the columns of the shared task, under the names that benchmarks give its types."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from raycner.data.layouts.columns import ColumnLayout
from raycner.data.layouts.layout import LAYOUTS, Row, TagLayout
from raycner.data.sources import RawFile

NAMES = {"LOC": "location", "MISC": "misc", "ORG": "organisation", "PER": "person"}


@LAYOUTS.register("conll2003")
class Conll2003(ColumnLayout, TagLayout):
    """CoNLL2003 in columns; the files' LOC, MISC, ORG and PER get the long names that benchmarks order types by."""

    types: ClassVar[tuple[str, ...]] = tuple(NAMES.values())

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        names = NAMES | {name: name for name in NAMES.values()}
        yield from self.tag_rows(files, notes, self.notation, names)
