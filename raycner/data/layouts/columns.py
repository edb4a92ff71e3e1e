"""Columns: CoNLL-style files of a word a line, in whatever scheme their tags are."""

import re
from collections.abc import Iterator, Sequence

from raycner.data.layouts.layout import ReadingConfig, Row, Tagged, filled, from_tags, layout
from raycner.data.sources import RawFile
from raycner.errors import InputError


@layout("columns")
def columns(files: Sequence[RawFile], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """CoNLL-style: a word a line, its tag in one column, a blank line between sentences, `-DOCSTART-` lines ignored.

    A line with tabs is split at tabs only, any other at ASCII spaces: a word may be a strange Unicode space.
    """
    yield from from_tags(lambda: tagged(files, reading), reading, notes)


def tagged(files: Sequence[RawFile], reading: ReadingConfig) -> Iterator[Tagged]:
    """The sentences of files of columns, with their tags as they stand there."""
    for file in files:
        for block in filled(blocks(file), file):
            lines = [number for number, _ in block]
            width = len(block[0][1])
            token, tag = (column % width for column in _placed(reading, width, f"{file.name}:{lines[0]}"))
            words = tuple(cells[token] for _, cells in block)
            if "" in words:
                where = f"{file.name}:{lines[words.index('')]}"
                raise InputError("a tag without a word", location=where, hint="write the word or remove the line")
            yield Tagged(file, lines, words, [cells[tag].strip(" ") for _, cells in block])


def _placed(reading: ReadingConfig, width: int, where: str) -> tuple[int, int]:
    """The columns of word and tag, as they are configured, when a line of this width has both of them apart."""
    token, tag = reading.token_column, reading.tag_column
    if not (-width <= token < width and -width <= tag < width) or token % width == tag % width:
        found = f"{width} column{'s' * (width > 1)}, too few for a word in column {token} and a tag in column {tag}"
        hint = "columns are parted by tabs or spaces; set reading.token_column and reading.tag_column"
        raise InputError(found, location=where, hint=hint)
    return token, tag


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
            found = f"{len(cells)} columns where the lines above have {width}: {line!r}"
            raise InputError(found, location=f"{file.name}:{number}", hint="give every line the same columns")
        block.append((number, cells))
    if block:
        yield block
