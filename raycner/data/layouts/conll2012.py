"""CoNLL-2012: OntoNotes 5 as the shared task encodes it, `*_gold_conll` files with names in brackets.

A line has document, part, number, word, part of speech, parse, lemma, frame, sense, speaker, name, arguments and
coreference; how many arguments, differs from sentence to sentence. A name opens as `(PERSON*`, closes as `*)`;
a name of one word is `(GPE)`. Lines that begin with # stand between documents.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from raycner.data.entities import Entity
from raycner.data.layouts.columns import refuse_carriage_return
from raycner.data.layouts.layout import LAYOUTS, Row, SpanLayout, Spanned, TextFileLayout, filled, from_spans, tried
from raycner.data.sources import RawFile
from raycner.errors import InputError

WORD, NAME = 3, 10
SKELETON = "[WORD]"
"""What stands for every word in files that are still to be filled from the licensed corpus."""
_BRACKETS = re.compile(r"(\([^()*]+)+\)*|(\([^()*]+)*\*\)*")


@LAYOUTS.register("conll2012")
class Conll2012(TextFileLayout, SpanLayout):
    """OntoNotes 5 in CoNLL-2012 form; a path such as `conll-2012/v4/data/**/*_gold_conll` matches its files."""

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        sentences = tried(_spanned, (block for file in files for block in filled(_blocks(file), file)))
        yield from from_spans(sentences, notes, repair=self.repair, nested=self.nested)


class _Block(NamedTuple):
    """A sentence: numbered lines, split into cells."""

    file: RawFile
    lines: list[tuple[int, list[str]]]


def _blocks(file: RawFile) -> Iterator[_Block | InputError]:
    """The sentences of a file, and the errors of its lines in place of one that has some."""
    block: list[tuple[int, list[str]]] = []
    errors: list[InputError] = []
    for number, line in chain(file.lines(), [(0, "")]):
        refuse_carriage_return(file, number, line)
        cells = re.split("[ \t]+", line.strip(" \t"))
        if cells != [""] and not line.startswith("#"):
            if len(cells) <= NAME + 1:
                what = f"{len(cells)} columns, too few for CoNLL-2012: {line[:40]!r}"
                hint = "is it another layout? (scenario.corpus.name)"
                errors.append(InputError(what, location=f"{file.name}:{number}", hint=hint))
            elif block and len(cells) != len(block[0][1]):
                what = f"{len(cells)} columns where the lines above have {len(block[0][1])}"
                hint = "give a sentence's lines the same columns"
                errors.append(InputError(what, location=f"{file.name}:{number}", hint=hint))
            else:
                block.append((number, cells))
        elif block or errors:
            yield InputError.together(errors) if errors else _Block(file, block)
            block, errors = [], []


def _spanned(sentence: _Block) -> Spanned:
    """A sentence with the names that its brackets enclose."""
    file, block = sentence
    spans: list[Entity] = []
    unclosed: list[tuple[int, str]] = []
    for word, (number, cells) in enumerate(block):
        if not _BRACKETS.fullmatch(cells[NAME]):
            what, hint = f"name {cells[NAME]!r} is not in brackets", "write (TYPE*, *, *) or (TYPE)"
            raise InputError(what, location=f"{file.name}:{number}", hint=hint)
        if cells[WORD] == SKELETON:
            what, hint = "no words, only their places", "fill the skeletons with the shared task's script first"
            raise InputError(what, location=f"{file.name}:{number}", hint=hint)
        unclosed += [(word, kind) for kind in cells[NAME].rstrip("*)").split("(")[1:]]
        for _ in range(cells[NAME].count(")")):
            if not unclosed:
                what, hint = "a bracket closes that was never opened", "fix the file"
                raise InputError(what, location=f"{file.name}:{number}", hint=hint)
            start, kind = unclosed.pop()
            spans.append(Entity(start, word + 1, kind))
    if unclosed:
        start, kind = unclosed[-1]
        line = f"({kind} is never closed in its sentence"
        raise InputError(line, location=f"{file.name}:{block[start][0]}", hint="fix the file; is it complete?")
    return Spanned(file, block[0][0], tuple(cells[WORD] for _, cells in block), spans)
