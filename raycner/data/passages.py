"""Passages: the input of a trained network, which need not be annotated.

text      a passage a line; its entities are reported by characters
jsonl     an object a line, with `tokens`, whose entities are reported by words, or `text`, as above
columns   a word a line, blank lines between passages; only the column of words is read
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from raycner.data.layouts.columns import blocks
from raycner.data.layouts.jsonl import Object, objects
from raycner.data.layouts.layout import brief
from raycner.data.sources import RawFile, every, single
from raycner.data.words import Place, sentences, spelt, words
from raycner.errors import InputError
from raycner.hashing import Plain


@dataclass(frozen=True, slots=True)
class Passage:
    """Some sentences that belong together."""

    fields: Mapping[str, Plain]
    """What is repeated in the output, next to the entities: the text or the tokens, and other keys of an object."""
    sentences: tuple[tuple[str, ...], ...]
    text: str | None = None
    """None for a passage that was given as words."""
    places: tuple[tuple[Place, ...], ...] = ()
    """The characters of each word of each sentence in the text."""

    @classmethod
    def of_words(cls, tokens: Sequence[str], fields: Mapping[str, Plain] | None = None) -> "Passage":
        """One sentence, in words."""
        return cls({"tokens": list(tokens)} if fields is None else fields, (tuple(tokens),))

    @classmethod
    def of_text(cls, text: str, fields: Mapping[str, Plain] | None = None) -> "Passage":
        """Text, cut into sentences and words by `data/words.py`."""
        places = tuple(tuple((a + c, a + d) for c, d in words(text[a:b])) for a, b in sentences(text))
        return cls({"text": text} if fields is None else fields, tuple(spelt(text, p) for p in places), text, places)


def passages(file: RawFile, form: str, *, named: bool = False) -> Iterator[Passage]:
    """The passages of a file, one at a time; if `named`, `file` is among their fields.

    Raises `InputError` at the line that cannot be read.
    """
    for passage in FORMS[form](file):
        yield replace(passage, fields={**passage.fields, "file": file.name}) if named else passage


def with_forms(sources: Sequence[str], form: str | None = None) -> list[tuple[RawFile, str]]:
    """The files of sources with their forms, by their names where `form` is None; `-` is standard input.

    Of a folder or a pattern, files whose names tell no form are left out. Raises `InputError` where none is left.
    """
    files: dict[str, tuple[RawFile, str]] = {}
    for source in sources:
        files.update((file.path, (file, form_of_file)) for file, form_of_file in _forms(source, form))
    return list(files.values())


def _forms(source: str, form: str | None) -> list[tuple[RawFile, str]]:
    if source == "-":
        return [(single(source), form or form_of(source))]
    files = list(every(source).values())
    if len(files) == 1:
        return [(files[0], form or form_of(files[0].name))]
    telling = [(file, form or form_or_none(file.name)) for file in files]
    forms = [(file, form_of_file) for file, form_of_file in telling if form_of_file is not None]
    if not forms:
        what = f"no file whose name ends in one of {', '.join(_SUFFIXES)}" if files else "no file in it"
        raise InputError(what, location=source, hint=f"add --form with one of {', '.join(FORMS)}")
    return forms


def form_or_none(name: str) -> str | None:
    """The form that a name tells, if it tells any."""
    try:
        return form_of(name)
    except InputError:
        return None


def form_of(name: str) -> str:
    """The form of a file, by its suffix before any suffix of compression; standard input is text."""
    if name == "-":
        return "text"
    suffixes = [s for s in PurePosixPath(name.lower()).suffixes if s not in (".gz", ".bz2", ".zst")]
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in _SUFFIXES:
        hint = f"add --form with one of {', '.join(FORMS)}"
        raise InputError(f"the name ends in none of {', '.join(_SUFFIXES)}", location=name, hint=hint)
    return _SUFFIXES[suffix]


def _text(file: RawFile) -> Iterator[Passage]:
    return (Passage.of_text(line) for _, line in file.lines())


def _jsonl(file: RawFile) -> Iterator[Passage]:
    return map(_object, objects(file))


def _object(item: Object) -> Passage:
    if "tokens" in item.fields:
        return Passage.of_words(item.words(), item.fields)
    text = item.fields.get("text")
    if not isinstance(text, str):
        raise item.error(f"text is {brief(text)}", 'write "tokens": a list of words, or "text": a text')
    return Passage.of_text(text, item.fields)


def _columns(file: RawFile) -> Iterator[Passage]:
    for block in blocks(file):
        if isinstance(block, InputError):
            raise block
        tokens = block.column(0)
        if "" in tokens:
            location = f"{file.name}:{block.line + tokens.index('')}"
            raise InputError("no word in the first column", location=location, hint="write the word first")
        yield Passage.of_words(tokens)


FORMS: dict[str, Callable[[RawFile], Iterator[Passage]]] = {"text": _text, "jsonl": _jsonl, "columns": _columns}
_SUFFIXES: dict[str, str] = {
    **dict.fromkeys((".txt", ".text"), "text"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    **dict.fromkeys((".conll", ".tsv", ".bio", ".iob"), "columns"),
}
