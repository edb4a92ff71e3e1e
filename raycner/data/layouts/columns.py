"""Columns: CoNLL-style files of a word a line, with tags in any scheme."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

from raycner.data.column_guess import are_numbers, guess_columns
from raycner.data.entities import OUTSIDE, split_tag
from raycner.data.layouts.layout import LAYOUTS, RepairLayout, Row, TagLayout, TextFileLayout, filled, from_tags
from raycner.data.sources import RawFile
from raycner.data.tag_notation import SAMPLE, Notation, Tagged
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
        try:
            yield from from_tags(
                lambda: self.tagged(files, empty), notes, notation=notation, repair=self.repair, names=names
            )
        except InputError as error:
            guessed = self._guessed_setting(files) if self.tag_hint in error.hint else ""
            raise error.with_hint(error.hint.replace(self.tag_hint, guessed or self.tag_hint)) from None
        if number := sum(empty.values()):
            notes.append(f"{number} lines without a word were dropped")

    def tagged(self, files: Sequence[RawFile], empty: dict[str, int]) -> Iterator[Tagged | InputError]:
        """The sentences of files, with their tags as they stand there. `empty` receives, by file, how many lines
        without a word were dropped."""
        for file in files:
            empty[file.name] = 0
            token = tag = 0
            first: Tagged | None = None
            suspicion = _Suspicion(self.separator)
            for block in filled(self._blocks(file), file):
                if isinstance(block, InputError):
                    yield block
                    continue
                if first is None:
                    token, tag = self._columns(block.width, f"{file.name}:{block.line}")
                words = block.column(token)
                sentence = Tagged(file, range(block.line, block.line + len(words)), words, block.column(tag))
                if first is None:
                    first = sentence
                    _refuse_header(first)
                    self._refuse_empty_tags(first, tag)
                if "" in words:
                    if self.empty_words == "refuse" and self.repair == "strict":
                        yield from _empty_words(sentence)
                        continue
                    sentence = _without_empty_words(sentence)
                    empty[file.name] += len(words) - len(sentence.words)
                    if not sentence.words:
                        continue
                suspicion.observe(sentence.words)
                yield sentence
            if first is not None:
                suspicion.refuse(first, self.tag_hint)

    def _refuse_empty_tags(self, sentence: Tagged, tag_column: int) -> None:
        """Raise `InputError` where the column of tags is empty, as when lines end in a tab."""
        if not any(sentence.tags):
            what = f"column {tag_column + 1}, that of the tags, is empty"
            raise InputError(what, location=sentence.location(0), hint=self.tag_hint)

    def fields(self, files: Sequence[RawFile]) -> str:
        for file in files:
            for block in self._blocks(file):
                if isinstance(block, Block):
                    token, tag = self._columns(block.width, file.name)
                    return f"words in column {token + 1}, tags in column {tag + 1} of {block.width}"
        return ""

    def _guessed_setting(self, files: Sequence[RawFile]) -> str:
        """The hint that names the columns that look like words and tags; empty where that is what is set."""
        blocks = (block for block in self._blocks(files[0]) if isinstance(block, Block))
        sentences = ([block.column(place) for place in range(block.width)] for block in islice(blocks, SAMPLE))
        guessed = guess_columns(sentences)
        if guessed is None:
            return ""
        width = next(block.width for block in self._blocks(files[0]) if isinstance(block, Block))
        current = self._columns(width, files[0].name)
        names = ("token_column", "tag_column")
        changed = [
            f"scenario.corpus.{name}={new}"
            for name, new, old in zip(names, guessed, current, strict=True)
            if new != old
        ]
        return f"set {' and '.join(changed)}" if changed else ""

    def _blocks(self, file: RawFile) -> Iterator["Block | InputError"]:
        return blocks(
            file, header=self.header, is_comment=self._is_comment if self.comment else None, separator=self.separator
        )

    def _is_comment(self, line: str, cells: Sequence[str]) -> bool:
        """Whether a line before a sentence is a comment, and not the sign itself as a word with its tag."""
        if not self.comment or not line.startswith(self.comment):
            return False
        is_tagged = -len(cells) <= self.tag_column < len(cells) and self._is_tag(cells[self.tag_column])
        return not (self.comment in cells and is_tagged)

    def _is_tag(self, cell: str) -> bool:
        outside = self.outside if isinstance(self, TagLayout) else OUTSIDE
        return cell == outside or split_tag(cell)[0] in (OUTSIDE, "B", "I", "E", "S")

    def _columns(self, width: int, location: str) -> tuple[int, int]:
        """The columns of word and tag, from 0. Raises `InputError` if a line of this width does not have both."""
        token, tag = self.token_column, self.tag_column
        if not (-width <= token < width and -width <= tag < width) or token % width == tag % width:
            line = f"{width} column{'s' * (width > 1)}, too few for a word in column {token} and a tag in column {tag}"
            raise InputError(line, location=location, hint=f"columns are separated by tabs or spaces; {self.tag_hint}")
        return token % width, tag % width


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


def _empty_words(sentence: Tagged) -> Iterator[InputError]:
    """An error for each line of a sentence that has no word."""
    hint = "write the word, or set scenario.corpus.empty_words=drop to ignore such lines"
    for place, word in enumerate(sentence.words):
        if not word:
            yield InputError("a tag without a word", location=sentence.location(place), hint=hint)


def _without_empty_words(sentence: Tagged) -> Tagged:
    """The lines of a sentence that have a word; there may be none."""
    lines = [line for line in zip(sentence.lines, sentence.words, sentence.tags, strict=True) if line[1]]
    numbers, words, tags = zip(*lines, strict=True) if lines else ((), (), ())
    return Tagged(sentence.file, numbers, words, tags)


class _Suspicion:
    """What all words of a file have in common that words do not have."""

    def __init__(self, separator: Separator) -> None:
        self._have_spaces, self._are_numbers = separator != "whitespace", True

    def observe(self, words: Sequence[str]) -> None:
        self._have_spaces = self._have_spaces and all(" " in word.strip() for word in words)
        self._are_numbers = self._are_numbers and are_numbers(words)

    def refuse(self, first: Tagged, column_hint: str) -> None:
        """Raise `InputError` for a file without words. `first` is its first sentence."""
        if self._have_spaces:
            what = f"every word has a space, such as {first.words[0]!r}; spaces seem to separate columns too"
            hint = "set scenario.corpus.separator=whitespace, and check token_column"
            raise InputError(what, location=first.location(0), hint=hint)
        if self._are_numbers and len(first.words) > 1:
            what = f"the words are the numbers of the lines, such as {first.words[0]}, {first.words[1]}"
            raise InputError(what, location=first.location(0), hint=column_hint)


class Block(NamedTuple):
    """A sentence in columns: consecutive lines of the same width."""

    line: int
    """The number of the first."""
    width: int
    cells: list[str]
    """Line after line, with a line end between two."""

    def column(self, place: int) -> tuple[str, ...]:
        """The cells of a column, from 0."""
        return tuple(self.cells[place :: self.width + 1])


def blocks(
    file: RawFile,
    *,
    header: bool = False,
    is_comment: Callable[[str, Sequence[str]], bool] | None = None,
    separator: Separator = "detect",
) -> Iterator[Block | InputError]:
    """The sentences of a file of columns, and an error in place of one whose lines differ in width.

    `header` ignores its first line; `is_comment` of a line and its cells, lines before a sentence.
    """
    first: tuple[int, str] | None = None
    width = 0
    for start, text in paragraphs(file, separator):
        if header and start == 1:
            start, text = 2, text.partition("\n")[2]
        while is_comment and text and is_comment(line := text.partition("\n")[0], split(line)):
            start, text = start + 1, text.partition("\n")[2]
        if not text:
            continue
        if first is None:
            first = start, text.partition("\n")[0]
            width = len(split(first[1]))
        if text[0] == "#":
            _refuse_comment(file, start, text.partition("\n")[0], width)
        cells = _cells(text, width)
        if cells is None:
            if first[1].startswith("#"):
                raise _comment_error(file, *first)
            yield _mismatch(file, start, text, width)
        else:
            yield Block(start, width, cells)


def split(line: str) -> list[str]:
    """The cells of a line: tabs separate them where there are some, else single spaces.

    >>> split("New York\\tB-LOC"), split("Anna B-PER")
    (['New York', 'B-LOC'], ['Anna', 'B-PER'])
    """
    return line.split("\t" if "\t" in line else " ")


def _cells(text: str, width: int) -> list[str] | None:
    """The cells of lines, with a line end between two lines; None unless all lines have this width."""
    mark = "\t" if "\t" in text else " "
    cells = text.replace("\n", f"{mark}\n{mark}").split(mark)
    ends = cells[width :: width + 1]
    if len(cells) == (len(ends) + 1) * (width + 1) - 1 and ends.count("\n") == text.count("\n") == len(ends):
        return cells
    rows = [split(line) for line in text.split("\n")]
    if any(len(row) != width for row in rows):
        return None
    return [cell for row in rows for cell in ("\n", *row)][1:]


def _mismatch(file: RawFile, start: int, text: str, width: int) -> InputError:
    """The error for a sentence whose lines differ in width."""
    lines = text.split("\n")
    place, line = next((place, line) for place, line in enumerate(lines) if len(split(line)) != width)
    what = f"{len(split(line))} columns where the lines above have {width}: {line!r}"
    return InputError(what, location=f"{file.name}:{start + place}", hint="give every line the same columns")


def _refuse_comment(file: RawFile, number: int, line: str, width: int) -> None:
    """Raise `InputError` for the first line of a sentence if it begins with # and is not the word #."""
    if split(line)[0].startswith("# ") or len(split(line)) != width:
        raise _comment_error(file, number, line)


_BLANK = re.compile("^[ \t]+$", re.MULTILINE)
_PADDING = re.compile("(?<=[^ \t\n]) +(?=\t|$)|^ +(?=[^ \t\n].*\t)|(?<=\t) +(?=[^ \t\n])", re.MULTILINE)
"""Spaces around the words and tags of lines with tabs; a word that is a space stays."""
_SPACE = re.compile("(?<!^)[ \t]+(?!$)", re.MULTILINE)
_WITHOUT_TAB = re.compile("^(?!.*\t).*$", re.MULTILINE)
_DOCUMENT = re.compile(
    r"""^(?:-DOCSTART-.*|(?:.*[ \t])?["']?(?:-DOCSTART-?|DOCSTART-)["']?(?:[ \t].*)?)$""", re.MULTILINE | re.IGNORECASE
)
"""Lines that begin a document."""


def paragraphs(file: RawFile, separator: Separator = "detect") -> Iterator[tuple[int, str]]:
    """The number and the text of each run of lines that are neither blank nor the beginning of a document.

    Cells are separated by tabs, or in a line without any by single spaces, whatever separated them in the file.
    Raises `InputError` for a run of more than `MOST_WORDS`, and for carriage returns.
    """
    number, start, run = 1, 1, ""
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
        for place, chunk in enumerate(text.split("\n\n")):
            if place:
                if run:
                    yield start, run
                    run = ""
                number += 1
            lines = chunk.strip("\n")
            if run and chunk[:1] in ("", "\n"):
                yield start, run
                run = ""
            if not lines:
                number += len(chunk) + 1
                continue
            number += chunk.index(lines[0])
            start, run = (start, f"{run}\n{lines}") if run else (number, lines)
            number += lines.count("\n") + 1
            if chunk[-1] == "\n":
                yield start, run
                run, number = "", number + len(chunk) - len(chunk.rstrip("\n"))
            if len(run) > MOST_WORDS and run.count("\n") >= MOST_WORDS:
                what = f"no blank line in {MOST_WORDS:,} lines, so this is one sentence"
                raise InputError(what, location=f"{file.name}:{start}", hint="put a blank line after each sentence")
    if run:
        yield start, run


def refuse_carriage_return(file: RawFile, number: int, line: str) -> None:
    """Raise `InputError` for a line that holds a carriage return, as the whole of a file whose lines end in CR does."""
    if "\r" in line:
        hint = "end lines in LF or CRLF"
        if file.encoding_setting:
            hint += ", or set scenario.corpus.line_ends=cr"
        what = "a carriage return inside a line"
        raise InputError(what, location=f"{file.name}:{number}", hint=hint)


def _comment_error(file: RawFile, number: int, line: str) -> InputError:
    hint = "remove such lines, or set scenario.corpus.comment='\"#\"' to ignore them"
    return InputError(f"a line that looks like a comment: {line[:60]!r}", location=f"{file.name}:{number}", hint=hint)
