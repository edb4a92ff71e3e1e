"""WebAnno TSV 3: what WebAnno and INCEpTION export, a word a line, with a column for each feature of a layer."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from raycner.data.entities import Entity
from raycner.data.layouts.layout import (
    LAYOUTS,
    REPAIR_HINT,
    Row,
    SpanLayout,
    Spanned,
    TextFileLayout,
    filled,
    from_spans,
)
from raycner.data.sources import RawFile
from raycner.errors import InputError
from raycner.hashing import omit_default_from_hash

FORMAT = "#FORMAT=WebAnno TSV 3"
FIXED = 3
"""Columns before those of layers: number, offsets, word."""
_HEADER = re.compile("#T_(SP|CH|RL)=(.*)")
_TOKEN = re.compile(r"(\d+)-(\d+)(\.\d+)?\t\d+-\d+\t[^\t]+(?:\t.*)?", re.ASCII | re.DOTALL)
_STACKED = re.compile(r"(?:\\.|[^|])+", re.DOTALL)
_VALUE = re.compile(r"((?:\\.|[^\[\]\\])*)(?:\[(\d+)\])?", re.ASCII | re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@LAYOUTS.register("webanno")
class Webanno(TextFileLayout, SpanLayout):
    """WebAnno TSV 3. The entities are the spans of one layer, their types the values of one of its features.

    A span over a part of a word is refused, or widened to the word and counted if `repair` is lenient; a span without
    a value is refused, or dropped and counted.
    """

    layer: str = omit_default_from_hash("")
    """The layer of entities; when empty, the one called NamedEntity, or else the only layer of spans."""
    feature: str = omit_default_from_hash("")
    """The feature that is the type; when empty, `value`, or else the layer's only one."""

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        tally = Counter[str]()
        spanned = (sentence for file in files for sentence in filled(self._sentences(file, tally), file))
        yield from from_spans(spanned, notes, repair=self.repair, nested=self.nested)
        notes += [f"{number} {what}" for what, number in sorted(tally.items())]

    def _sentences(self, file: RawFile, tally: Counter[str]) -> Iterator[Spanned | InputError]:
        """The sentences of a file, and the errors of its lines in place of one that has some."""
        column = self._column(file)
        block: list[_Token] = []
        errors: list[InputError] = []
        ended: set[str] = set()  # the numbers of spans in earlier sentences
        for number, line in chain(file.lines(), [(0, "")]):
            if token := _TOKEN.fullmatch(line):
                cells = line.split("\t")
                if len(cells) <= column:
                    what = f"{len(cells)} columns, too few for the feature in column {column}"
                    errors.append(InputError(what, location=f"{file.name}:{number}", hint="is the file complete?"))
                    continue
                block.append(_Token(number, cells[2], token[3] is not None, cells[column]))
            elif line.strip() and not line.startswith("#"):
                what, hint = f"not a line of WebAnno TSV 3: {line[:40]!r}", "write number, offsets, word, features"
                errors.append(InputError(what, location=f"{file.name}:{number}", hint=hint))
            elif block or errors:
                try:
                    yield InputError.together(errors) if errors else self._sentence(file, block, ended, tally)
                except InputError as error:
                    yield error
                block, errors = [], []

    def _column(self, file: RawFile) -> int:
        """The column of the feature. Raises `InputError` where the header does not tell it."""
        layers: dict[str, dict[str, int]] = {}
        width = FIXED
        for number, line in file.lines():
            if number == 1 and not line.startswith(FORMAT):
                hint = "is it another layout? (scenario.corpus.name)"
                raise InputError(f"the first line is not {FORMAT}", location=f"{file.name}:1", hint=hint)
            if header := _HEADER.fullmatch(line):
                name, *features = header[2].split("|")
                if header[1] == "SP":
                    layers[name] = {feature: width + place for place, feature in enumerate(features)}
                width += len(features)
            elif _TOKEN.fullmatch(line):
                break
        named = [name for name in layers if name.rpartition(".")[2] == "NamedEntity"]
        layer = self.layer or next(iter(named), next(iter(layers)) if len(layers) == 1 else "")
        if layer not in layers:
            hint = f"set scenario.corpus.layer to one of {', '.join(layers) or 'none: there is no layer of spans'}"
            raise InputError(f"which layer has the entities? {layer}", location=file.name, hint=hint)
        features_of_layer = layers[layer]
        only = next(iter(features_of_layer)) if len(features_of_layer) == 1 else "value"
        feature = self.feature or ("value" if "value" in features_of_layer else only)
        if feature not in features_of_layer:
            hint = f"set scenario.corpus.feature to one of {', '.join(features_of_layer)}"
            raise InputError(f"layer {layer} has no feature {feature!r}", location=file.name, hint=hint)
        return features_of_layer[feature]

    def _sentence(self, file: RawFile, block: "Sequence[_Token]", ended: set[str], tally: Counter[str]) -> Spanned:
        words: list[str] = []
        spans: list[Entity] = []
        open_spans: dict[str, Entity] = {}
        for token in block:
            location = f"{file.name}:{token.line}"
            if not token.is_part:
                words.append(token.form)
            elif not words:
                raise InputError("a part of a word before the word", location=location, hint="fix the file")
            word = len(words) - 1
            for kind, number in _annotations(token.cell, location):
                if not kind or token.is_part:
                    what = "spans over a part of a word" if kind else "spans without a value"
                    if self.repair == "strict":
                        raise InputError(f"one of the {what}: {token.form!r}", location=location, hint=REPAIR_HINT)
                    tally[f"{what} were {'widened to it' if kind else 'dropped'}"] += 1
                if not kind:
                    continue
                before = open_spans.get(number) if number else None
                if number in ended or (before and (before.type != kind or before.end < word)):
                    what, hint = f"span [{number}] is not in one piece", "is it over the end of a sentence? join them"
                    raise InputError(what, location=location, hint=hint)
                entity = Entity(before.start if before else word, word + 1, kind)
                if number:
                    open_spans[number] = entity
                else:
                    spans.append(entity)
        ended.update(open_spans)
        return Spanned(file, block[0].line, tuple(words), [*spans, *open_spans.values()])


@dataclass(frozen=True, slots=True)
class _Token:
    """A word, or a part of the word before it, with the cell of its annotations."""

    line: int
    form: str
    is_part: bool
    cell: str


def _annotations(cell: str, location: str) -> Iterator[tuple[str, str]]:
    """The type and the number of each annotation in a cell; both may be empty."""
    if cell in ("", "_"):
        return
    for stacked in _STACKED.findall(cell):
        value = _VALUE.fullmatch(stacked)
        if not value:
            hint = "write a value, or a value and a number, such as PER[1]"
            raise InputError(f"not an annotation of WebAnno: {stacked[:40]!r}", location=location, hint=hint)
        kind, number = value.groups(default="")
        yield ("" if kind in ("*", "_") else _ESCAPE.sub(r"\1", kind)), number
