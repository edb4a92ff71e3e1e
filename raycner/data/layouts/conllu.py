"""CoNLL-U: the ten columns of Universal Dependencies, with the tags of entities in MISC."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from raycner.data.layouts.columns import refuse_carriage_return
from raycner.data.layouts.layout import LAYOUTS, Row, TagLayout, TextFileLayout, filled, from_tags
from raycner.data.sources import RawFile
from raycner.data.tag_notation import Tagged
from raycner.errors import InputError
from raycner.hashing import omit_default_from_hash

ID, FORM, MISC, WIDTH = 0, 1, 9, 10
KEYS = ("NER", "ner", "NE", "NamedEntity", "name", "entity", "Entity")
"""Keys that treebanks and taggers give the tag."""
SAMPLE = 1000
"""Sentences whose keys are looked at."""
_NUMBER = re.compile(r"\d{1,15}(?:(-)\d{1,15}|(\.)\d{1,15})?", re.ASCII)

Token = tuple[int, str, dict[str, str]]
"""Line, form, and MISC by key."""


@LAYOUTS.register("conllu")
class Conllu(TextFileLayout, TagLayout):
    """A word a line, whose tag is in MISC, such as `NER=B-PER` or `name=B-PER|SpaceAfter=No`; words without are
    outside. A multiword token with a tag is one word; of any other, its syntactic words are read. Empty nodes and
    comments are ignored."""

    key: str = omit_default_from_hash("")
    """The key of the tag in MISC; when empty, the first of NER, ner, NE, NamedEntity, name, entity, Entity that is
    there."""

    @property
    def tag_hint(self) -> str:
        return "set scenario.corpus.key to the key of the tag in MISC"

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        key = self.key or _key(files)
        if not self.key:
            notes.append(f"tags read from {key} in MISC")
        yield from from_tags(lambda: self._tagged(files, key), notes, notation=self.notation, repair=self.repair)

    def _tagged(self, files: Sequence[RawFile], key: str) -> Iterator[Tagged | InputError]:
        for file in files:
            for sentence in filled(_sentences(file, key), file):
                if isinstance(sentence, InputError):
                    yield sentence
                    continue
                tags = [misc.get(key, self.outside) for _, _, misc in sentence]
                for (line, _, _), tag in zip(sentence, tags, strict=True):
                    if tag.startswith("(") or tag.endswith(")"):
                        what, hint = f"{key} has brackets, not tags: {tag[:40]!r}", self.tag_hint
                        raise InputError(what, location=f"{file.name}:{line}", hint=hint)
                yield Tagged(file, [line for line, _, _ in sentence], tuple(form for _, form, _ in sentence), tags)


def _key(files: Sequence[RawFile]) -> str:
    """The key of the tags. Raises `InputError` where there is none."""
    for file in files:
        sample = list(islice(_sentences(file, ""), SAMPLE))
        sentences = [sentence for sentence in sample if not isinstance(sentence, InputError)]
        present = {key for sentence in sentences for _, _, misc in sentence for key in misc}
        if key := next((key for key in KEYS if key in present), None):
            return key
        if errors := [error for error in sample if isinstance(error, InputError)]:
            raise errors[0]
    what = f"no tag in MISC: none of {', '.join(KEYS)} in the first {SAMPLE} sentences"
    raise InputError(what, location=files[0].name, hint="set scenario.corpus.key to the key of the tag in MISC")


def _sentences(file: RawFile, key: str) -> Iterator[list[Token] | InputError]:
    """The words of each sentence; a multiword token stands for its words where it has `key`. The errors of its lines
    are in place of a sentence that has some."""
    sentence: list[Token] = []
    errors: list[InputError] = []
    merged = 0  # the last word of the multiword token that was read as one word
    for number, line in chain(file.lines(), [(0, "")]):
        if not line.strip():
            if sentence or errors:
                yield InputError.together(errors) if errors else sentence
            sentence, errors, merged = [], [], 0
            continue
        if line.startswith("#") and not sentence:
            continue
        refuse_carriage_return(file, number, line)
        cells = line.split("\t")
        location = f"{file.name}:{number}"
        match = _NUMBER.fullmatch(cells[ID])
        if len(cells) != WIDTH or not match or not cells[FORM]:
            what = f"not a line of CoNLL-U, which has {WIDTH} columns with tabs between them: {line[:40]!r}"
            errors.append(InputError(what, location=location, hint="is it another layout? (scenario.corpus.name)"))
            continue
        misc = dict(pair.split("=", 1) for pair in cells[MISC].split("|") if "=" in pair)
        if match[1]:
            if key in misc:
                merged = int(cells[ID].partition("-")[2])
                sentence.append((number, cells[FORM], misc))
            elif not key and misc:
                sentence.append((number, cells[FORM], misc))
        elif not match[2] and int(cells[ID]) > merged:
            sentence.append((number, cells[FORM], misc))
