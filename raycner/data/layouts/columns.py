"""Columns: CoNLL-style files of a word a line, with tags in any scheme."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from raycner.data.entities import OUTSIDE, split_tag
from raycner.data.layouts.layout import LAYOUTS, RepairLayout, Row, TagLayout, filled, from_tags
from raycner.data.sources import RawFile
from raycner.data.tag_notation import OTHER_OUTSIDE, Tagged
from raycner.errors import InputError
from raycner.hashing import omit_default_from_hash

HEADER_WORDS = frozenset({"word", "words", "token", "tokens", "form", "text"})
HEADER_TAGS = frozenset(
    {"tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "nertag", "entity", "bio", "iob"}
)
"""What header rows call the columns, in lower case."""


@dataclass(frozen=True, kw_only=True)
class ColumnLayout(RepairLayout):
    """A layout of a word a line, split into columns."""

    token_column: int = 0
    """The column of the word; negative counts from the end."""
    tag_column: int = -1
    """The column of the tag."""
    comment: str = omit_default_from_hash("")
    """Lines before a sentence that begin with this, such as #, are ignored; a word that is this sign alone is kept."""
    header: bool = omit_default_from_hash(False)
    """Whether the first line of each file names the columns."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.token_column == self.tag_column:
            raise ValueError(f"token_column and tag_column are both {self.tag_column}: a word is not its own tag")

    @property
    def tag_hint(self) -> str:
        return "set scenario.corpus.token_column and scenario.corpus.tag_column"

    def tagged(self, files: Sequence[RawFile]) -> Iterator[Tagged]:
        """The sentences of files, with their tags as they stand there."""
        for file in files:
            for block in filled(blocks(file, header=self.header, is_comment=self._is_comment), file):
                lines = [number for number, _ in block]
                width = len(block[0][1])
                token, tag = (column % width for column in self._columns(width, f"{file.name}:{lines[0]}"))
                words = tuple(cells[token] for _, cells in block)
                if "" in words:
                    location = f"{file.name}:{lines[words.index('')]}"
                    hint = "write the word or remove the line"
                    raise InputError("a tag without a word", location=location, hint=hint)
                tags = [cells[tag].strip(" ") for _, cells in block]
                if lines[0] == 1 and words[0].lower() in HEADER_WORDS and tags[0].lower() in HEADER_TAGS:
                    what = f"line 1 names the columns: {words[0]}, {tags[0]}"
                    raise InputError(what, location=f"{file.name}:1", hint="set scenario.corpus.header=true")
                yield Tagged(file, lines, words, tags)

    def _is_comment(self, line: str, cells: Sequence[str]) -> bool:
        """Whether a line before a sentence is a comment, and not the sign itself as a word with its tag."""
        if not self.comment or not line.startswith(self.comment):
            return False
        is_tagged = -len(cells) <= self.tag_column < len(cells) and self._is_tag(cells[self.tag_column])
        return not (self.comment in cells and is_tagged)

    def _is_tag(self, cell: str) -> bool:
        return cell.lower() in OTHER_OUTSIDE or split_tag(cell)[0] in (OUTSIDE, "B", "I", "E", "S")

    def _columns(self, width: int, location: str) -> tuple[int, int]:
        """The columns of word and tag. Raises `InputError` if a line of this width does not have both."""
        token, tag = self.token_column, self.tag_column
        if not (-width <= token < width and -width <= tag < width) or token % width == tag % width:
            line = f"{width} column{'s' * (width > 1)}, too few for a word in column {token} and a tag in column {tag}"
            raise InputError(line, location=location, hint=f"columns are separated by tabs or spaces; {self.tag_hint}")
        return token, tag


@LAYOUTS.register("columns")
class Columns(ColumnLayout, TagLayout):
    """CoNLL-style: a word a line, its tag in one column, a blank line between sentences, `-DOCSTART-` lines ignored.

    A line with tabs is split at tabs only, any other at ASCII spaces: a word may be an unusual Unicode space.
    """

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        yield from from_tags(lambda: self.tagged(files), notes, notation=self.notation, repair=self.repair)


Block = list[tuple[int, list[str]]]
"""A sentence as numbered lines, split into cells."""


def blocks(
    file: RawFile, *, header: bool = False, is_comment: Callable[[str, Sequence[str]], bool] = lambda *_: False
) -> Iterator[Block]:
    """The sentences of a file of columns. `header` ignores its first line; `is_comment` of a line and its cells, lines
    before a sentence."""
    block: Block = []
    first: tuple[int, str] | None = None
    width = 0
    for number, line in file.lines():
        if header and number == 1:
            continue
        if not line.strip(" \t") or line.startswith("-DOCSTART-"):
            if block:
                yield block
            block = []
            continue
        refuse_carriage_return(file, number, line)
        cells = line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))
        if not block and is_comment(line, cells):
            continue
        if first is None:
            first, width = (number, line), len(cells)
        if len(cells) != width:
            if line.startswith("#") and not block:
                raise _comment_error(file, number, line)
            if first[1].startswith("#"):
                raise _comment_error(file, *first)
            what = f"{len(cells)} columns where the lines above have {width}: {line!r}"
            raise InputError(what, location=f"{file.name}:{number}", hint="give every line the same columns")
        if not block and cells[0].startswith("# "):
            raise _comment_error(file, number, line)
        block.append((number, cells))
    if block:
        yield block


def refuse_carriage_return(file: RawFile, number: int, line: str) -> None:
    """Raise `InputError` for a line that holds a carriage return, as the whole of a file whose lines end in CR does."""
    if "\r" in line:
        what, hint = "a carriage return inside a line", "end lines in LF or CRLF, not in CR alone"
        raise InputError(what, location=f"{file.name}:{number}", hint=hint)


def _comment_error(file: RawFile, number: int, line: str) -> InputError:
    hint = "remove such lines, or set scenario.corpus.comment='\"#\"' to ignore them"
    return InputError(f"a line that looks like a comment: {line[:60]!r}", location=f"{file.name}:{number}", hint=hint)
