"""Columns: CoNLL-style files of a word a line, with tags in any scheme."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

from raycner.data.entities import OUTSIDE, split_tag
from raycner.data.layouts.layout import LAYOUTS, RepairLayout, Row, TagLayout, TextFileLayout, filled, from_tags
from raycner.data.sources import RawFile
from raycner.data.tag_notation import OTHER_OUTSIDE, Notation, Tagged
from raycner.errors import InputError
from raycner.hashing import omit_default_from_hash

MOST_WORDS = 200_000
"""Words that a sentence may have."""
HEADER_WORDS = frozenset({"word", "words", "token", "tokens", "form", "text"})
HEADER_TAGS = frozenset(
    {"tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "nertag", "entity", "bio", "iob"}
)
"""What header rows call the columns, in lower case."""

Separator = Literal["detect", "tab", "whitespace"]


@dataclass(frozen=True, kw_only=True)
class ColumnLayout(TextFileLayout, RepairLayout):
    """A layout of a word a line, split into columns."""

    token_column: int = 0
    """The column of the word; negative counts from the end."""
    tag_column: int = -1
    """The column of the tag."""
    comment: str = omit_default_from_hash("")
    """Lines before a sentence that begin with this, such as #, are ignored; a word that is this sign alone is kept."""
    header: bool = omit_default_from_hash(False)
    """Whether the first line of each file names the columns."""
    separator: Separator = omit_default_from_hash("detect")
    """What separates columns. detect: tabs where a line has some, else spaces; whitespace: runs of both."""
    empty_words: Literal["refuse", "drop"] = omit_default_from_hash("refuse")
    """Lines with a tag and no word. drop ignores and counts them, as lenient reading does."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.token_column == self.tag_column:
            raise ValueError(f"token_column and tag_column are both {self.tag_column}: a word is not its own tag")

    @property
    def tag_hint(self) -> str:
        return "set scenario.corpus.token_column and scenario.corpus.tag_column"

    def tag_rows(
        self, files: Sequence[RawFile], notes: list[str], notation: Notation, names: Mapping[str, str] | None = None
    ) -> Iterator[Row]:
        """Rows from the tags of files. `names` maps every type that they may have to its name in the corpus."""
        empty: dict[str, int] = {}
        yield from from_tags(
            lambda: self.tagged(files, empty), notes, notation=notation, repair=self.repair, names=names
        )
        if number := sum(empty.values()):
            notes.append(f"{number} lines without a word were dropped")

    def tagged(self, files: Sequence[RawFile], empty: dict[str, int]) -> Iterator[Tagged | InputError]:
        """The sentences of files, with their tags as they stand there. `empty` receives, by file, how many lines
        without a word were dropped."""
        for file in files:
            empty[file.name] = 0
            has_spaces = self.separator != "whitespace"  # in all words so far
            first = None
            for block in filled(self._blocks(file), file):
                if isinstance(block, InputError):
                    yield block
                    continue
                start, rows = block
                width = len(rows[0])
                token, tag = (column % width for column in self._columns(width, f"{file.name}:{start}"))
                words = tuple([cells[token] for cells in rows])
                tags = [cells[tag] for cells in rows]
                lines: Sequence[int] = range(start, start + len(rows))
                if first is None:
                    first = Tagged(file, lines, words, tags)
                    _refuse_header(first)
                if "" in words:
                    if self.empty_words == "refuse" and self.repair == "strict":
                        yield from _empty_words(file, start, words)
                        continue
                    filled_in = [place for place, word in enumerate(words) if word]
                    empty[file.name] += len(words) - len(filled_in)
                    if not filled_in:
                        continue
                    words = tuple([words[place] for place in filled_in])
                    tags = [tags[place] for place in filled_in]
                    lines = [start + place for place in filled_in]
                has_spaces = has_spaces and all(" " in word.strip() for word in words)
                yield Tagged(file, lines, words, tags)
            if has_spaces and first is not None:
                what = f"every word has a space, such as {first.words[0]!r}; spaces seem to separate columns too"
                hint = "set scenario.corpus.separator=whitespace, and check token_column"
                raise InputError(what, location=first.location(0), hint=hint)

    def fields(self, files: Sequence[RawFile]) -> str:
        for file in files:
            for block in self._blocks(file):
                if isinstance(block, Block):
                    width = len(block.rows[0])
                    token, tag = (column % width + 1 for column in self._columns(width, file.name))
                    return f"words in column {token}, tags in column {tag} of {width}"
        return ""

    def _blocks(self, file: RawFile) -> Iterator["Block | InputError"]:
        return blocks(file, header=self.header, is_comment=self._is_comment, separator=self.separator)

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
        yield from self.tag_rows(files, notes, self.notation)


def _refuse_header(sentence: Tagged) -> None:
    """Raise `InputError` if the first line of a file names the columns."""
    word, tag = sentence.words[0], sentence.tags[0]
    if sentence.lines[0] == 1 and word.lower() in HEADER_WORDS and tag.lower() in HEADER_TAGS:
        what = f"line 1 names the columns: {word}, {tag}"
        raise InputError(what, location=sentence.location(0), hint="set scenario.corpus.header=true")


def _empty_words(file: RawFile, start: int, words: Sequence[str]) -> Iterator[InputError]:
    hint = "write the word, or set scenario.corpus.empty_words=drop to ignore such lines"
    for place, word in enumerate(words):
        if not word:
            yield InputError("a tag without a word", location=f"{file.name}:{start + place}", hint=hint)


class Block(NamedTuple):
    """A sentence in columns: consecutive lines, split into cells."""

    line: int
    """The number of the first."""
    rows: list[list[str]]


def blocks(
    file: RawFile,
    *,
    header: bool = False,
    is_comment: Callable[[str, Sequence[str]], bool] = lambda *_: False,
    separator: Separator = "detect",
) -> Iterator[Block | InputError]:
    """The sentences of a file of columns, and an error in place of one whose lines differ in width.

    `header` ignores its first line; `is_comment` of a line and its cells, lines before a sentence.
    """
    first: tuple[int, str] | None = None
    width = 0
    for start, lines in paragraphs(file, separator):
        if header and start == 1:
            start, lines = 2, lines[1:]
        rows = [line.split("\t") if "\t" in line else line.split(" ") for line in lines]
        skipped = 0
        while skipped < len(rows) and is_comment(lines[skipped], rows[skipped]):
            skipped += 1
        if skipped or not rows:
            start, lines, rows = start + skipped, lines[skipped:], rows[skipped:]
            if not rows:
                continue
        if first is None:
            first, width = (start, lines[0]), len(rows[0])
        if rows[0][0].startswith("# "):
            raise _comment_error(file, start, lines[0])
        if set(map(len, rows)) != {width}:
            place = next(place for place, cells in enumerate(rows) if len(cells) != width)
            if place == 0 and lines[0].startswith("#"):
                raise _comment_error(file, start, lines[0])
            if first[1].startswith("#"):
                raise _comment_error(file, *first)
            what = f"{len(rows[place])} columns where the lines above have {width}: {lines[place]!r}"
            location = f"{file.name}:{start + place}"
            yield InputError(what, location=location, hint="give every line the same columns")
            continue
        yield Block(start, rows)


_BLANK = re.compile("^[ \t]+$", re.MULTILINE)
_PADDING = re.compile("(?<=[^ \t\n]) +(?=\t|$)|^ +(?=[^ \t\n].*\t)|(?<=\t) +(?=[^ \t\n])", re.MULTILINE)
"""Spaces around the words and tags of lines with tabs; a word that is a space stays."""
_SPACE = re.compile("(?<!^)[ \t]+(?!$)", re.MULTILINE)
_WITHOUT_TAB = re.compile("^(?!.*\t).*$", re.MULTILINE)
_DOCUMENT = re.compile(
    r"""^(?:-DOCSTART-.*|(?:.*[ \t])?["']?(?:-DOCSTART-?|DOCSTART-)["']?(?:[ \t].*)?)$""", re.MULTILINE | re.IGNORECASE
)
"""Lines that begin a document."""


def paragraphs(file: RawFile, separator: Separator = "detect") -> Iterator[tuple[int, list[str]]]:
    """Runs of lines that are neither blank nor the beginning of a document, with the number of the first.

    Cells are separated by tabs, or in a line without any by single spaces, whatever separated them in the file.
    Raises `InputError` for a run of more than `MOST_WORDS`, and for carriage returns.
    """
    number, start, run = 1, 1, list[str]()
    for text in file.texts():
        if "\r" in text:
            line = text.count("\n", 0, text.index("\r"))
            refuse_carriage_return(file, number + line, text.split("\n")[line])
        if text[:1] in (" ", "\t") or "\n " in text or "\n\t" in text:
            text = _BLANK.sub("", text)
        if separator == "whitespace":
            text = _SPACE.sub("\t", text)
        if " \t" in text or "\t " in text or text[:1] == " ":
            text = _PADDING.sub("", text)
        if separator == "detect" and ("  " in text or " \n" in text or "\n " in text or " " in (text[:1], text[-1:])):
            text = _WITHOUT_TAB.sub(lambda line: " ".join(filter(None, line[0].split(" "))), text)
        if "docstart" in text.lower():
            text = _DOCUMENT.sub("", text)
        for is_filled, lines in groupby(text.split("\n"), bool):
            if is_filled:
                start = start if run else number
                run += lines
                number = start + len(run)
                if len(run) > MOST_WORDS:
                    what = f"no blank line in {MOST_WORDS:,} lines, so this is one sentence"
                    raise InputError(what, location=f"{file.name}:{start}", hint="put a blank line after each sentence")
            else:
                if run:
                    yield start, run
                    run = []
                number += len(list(lines))
    if run:
        yield start, run


def refuse_carriage_return(file: RawFile, number: int, line: str) -> None:
    """Raise `InputError` for a line that holds a carriage return, as the whole of a file whose lines end in CR does."""
    if "\r" in line:
        what, hint = "a carriage return inside a line", "end lines in LF or CRLF, or set scenario.corpus.line_ends=cr"
        raise InputError(what, location=f"{file.name}:{number}", hint=hint)


def _comment_error(file: RawFile, number: int, line: str) -> InputError:
    hint = "remove such lines, or set scenario.corpus.comment='\"#\"' to ignore them"
    return InputError(f"a line that looks like a comment: {line[:60]!r}", location=f"{file.name}:{number}", hint=hint)
