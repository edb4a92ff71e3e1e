"""Columns: CoNLL-style files of a word a line, with tags in any scheme."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from raycner.data.layouts.layout import LAYOUTS, RepairLayout, Row, Tagged, TagLayout, filled, from_tags
from raycner.data.sources import RawFile
from raycner.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ColumnLayout(RepairLayout):
    """A layout of a word a line, split into columns."""

    token_column: int = 0
    """The column of the word; negative counts from the end."""
    tag_column: int = -1
    """The column of the tag."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.token_column == self.tag_column:
            raise ValueError(f"token_column and tag_column are both {self.tag_column}: a word is not its own tag")

    def tagged(self, files: Sequence[RawFile]) -> Iterator[Tagged]:
        """The sentences of files, with their tags as they stand there."""
        for file in files:
            for block in filled(blocks(file), file):
                lines = [number for number, _ in block]
                width = len(block[0][1])
                token, tag = (column % width for column in self._columns(width, f"{file.name}:{lines[0]}"))
                words = tuple(cells[token] for _, cells in block)
                if "" in words:
                    location = f"{file.name}:{lines[words.index('')]}"
                    hint = "write the word or remove the line"
                    raise InputError("a tag without a word", location=location, hint=hint)
                yield Tagged(file, lines, words, [cells[tag].strip(" ") for _, cells in block])

    def _columns(self, width: int, location: str) -> tuple[int, int]:
        """The columns of word and tag. Raises `InputError` if a line of this width does not have both."""
        token, tag = self.token_column, self.tag_column
        if not (-width <= token < width and -width <= tag < width) or token % width == tag % width:
            line = f"{width} column{'s' * (width > 1)}, too few for a word in column {token} and a tag in column {tag}"
            settings = "scenario.corpus.token_column and scenario.corpus.tag_column"
            raise InputError(line, location=location, hint=f"columns are separated by tabs or spaces; set {settings}")
        return token, tag


@LAYOUTS.register("columns")
class Columns(ColumnLayout, TagLayout):
    """CoNLL-style: a word a line, its tag in one column, a blank line between sentences, `-DOCSTART-` lines ignored.

    A line with tabs is split at tabs only, any other at ASCII spaces: a word may be an unusual Unicode space.
    """

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        yield from from_tags(lambda: self.tagged(files), notes, scheme=self.scheme, repair=self.repair)


def blocks(file: RawFile) -> Iterator[list[tuple[int, list[str]]]]:
    """The sentences of a file of columns: each a list of numbered lines, split into cells."""
    block: list[tuple[int, list[str]]] = []
    width = 0
    for number, line in file.lines():
        if not line.strip(" \t") or line.startswith("-DOCSTART-"):
            if block:
                yield block
            block = []
            continue
        cells = line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))
        width = width or len(cells)
        if len(cells) != width:
            what = f"{len(cells)} columns where the lines above have {width}: {line!r}"
            raise InputError(what, location=f"{file.name}:{number}", hint="give every line the same columns")
        block.append((number, cells))
    if block:
        yield block
