"""Sentences on which a step is scored and never trained: the corpus of a model that was trained elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar

from raycner.addresses import shown
from raycner.data.layouts.layout import LAYOUTS, Layout, Row
from raycner.data.sources import RawFile
from raycner.hashing import not_hashed


@LAYOUTS.register("scored_only")
class ScoredOnly(Layout):
    """Annotated files of any layout, all of them test; none at all without `paths`."""

    is_trained_on: ClassVar[bool] = False

    paths: tuple[str, ...] = not_hashed(default=())
    """Files, folders or patterns; of a folder with a test part, that part."""
    layout: str | None = None
    """The layout of all files; by their names when empty."""
    reading: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the layout, such as `tag_column`."""

    @property
    def source(self) -> str:
        return f"{self.name} {', '.join(map(shown, self.paths)) or '(no file)'}"

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        del files
        if not self.paths:
            return
        from raycner.data.annotated import read_annotated  # it reads every layout, this one too

        annotated = read_annotated(self.paths, self.layout, self.reading)
        notes += annotated.notes
        yield from (Row("test", sentence.words, sorted(sentence.entities)) for sentence in annotated.sentences)
