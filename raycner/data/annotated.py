"""Annotated files: sentences with gold entities, from any file that a layout reads, outside any corpus.

The layout of a file follows from its name and its first lines (`data/recognition.py`). Of a folder or a pattern in
which names tell a test part, only that part is read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pyarrow import fs

from raycner.data.entities import Entity
from raycner.data.layouts import LAYOUTS
from raycner.data.layouts.datasets import Datasets
from raycner.data.layouts.layout import FileLayout, Layout, Row, build_layout
from raycner.data.recognition import recognised
from raycner.data.sources import RawFile, every, part_of
from raycner.errors import InputError
from raycner.hashing import Plain


@dataclass(frozen=True, slots=True)
class GoldSentence:
    """A sentence as annotators left it."""

    words: tuple[str, ...]
    entities: frozenset[Entity]


@dataclass(frozen=True, slots=True)
class AnnotatedFiles:
    """What was read."""

    names: tuple[str, ...]
    sentences: tuple[GoldSentence, ...]
    notes: tuple[str, ...]
    """What reading had to decide, such as the tag scheme."""

    @property
    def types(self) -> tuple[str, ...]:
        """The annotated types, in alphabetical order."""
        return tuple(sorted({entity.type for sentence in self.sentences for entity in sentence.entities}))


def read_annotated(
    sources: Sequence[str], layout: str | None = None, settings: Mapping[str, Plain] | None = None
) -> AnnotatedFiles:
    """The sentences of files, folders or patterns, local or by URI.

    `layout` reads all of them, whatever their names are; `settings` are the layout's, such as `tag_column`. Raises
    `InputError` where a file cannot be read, where there is no sentence, and where no sentence has an entity.
    """
    if layout is not None:
        LAYOUTS.find(layout, "--layout")
    notes: list[str] = []
    files = _unique(file for source in sources for file in _files(source, layout, notes))
    groups: dict[str, list[RawFile]] = {}
    for file in files:
        groups.setdefault(layout or layout_of(file, files), []).append(file)
    sentences = [
        GoldSentence(row.words, frozenset(row.entities))
        for name, members in groups.items()
        for row in _rows(build_layout({"name": name, **(settings or {})}, "reading"), members, notes)
    ]
    names = tuple(file.name for file in files)
    where = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if not sentences:
        raise InputError("no sentence in it", location=where, hint="is it the right file?")
    if not any(sentence.entities for sentence in sentences):
        hint = "give annotated files; for columns, check tag_column"
        raise InputError("no gold entity in it", location=where, hint=hint)
    return AnnotatedFiles(names, tuple(sentences), tuple(notes))


def _rows(layout: Layout, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
    return layout.rows(layout.decoded(files) if isinstance(layout, FileLayout) else files, notes)


def layout_of(file: RawFile, files: Sequence[RawFile] = ()) -> str:
    """The layout that a file is recognised to have. Raises `InputError` where neither name nor content tells it."""
    layout = recognised(file, files)
    if layout is None:
        hint = f"add --layout with one of {', '.join(LAYOUTS.names)}"
        raise InputError("its layout is not clear from its name", location=file.name, hint=hint)
    return layout


def _files(source: str, layout: str | None, notes: list[str]) -> Iterator[RawFile]:
    """The files of a source, those of its test part if it has one."""
    if layout == "datasets" or _is_saved_dataset(source):
        files = {file.name: file for file in Datasets(path=source).files(notes)}
        parts = {name: file.part for name, file in files.items()}
    else:
        files = every(source)
        parts = {name: part for name in files if (part := part_of(name)) is not None}
    if not files:
        raise InputError("no file in it", location=source, hint="name a file, a folder or a pattern")
    test = [name for name in files if parts.get(name) == "test"]
    if len(files) > 1 and test:
        notes.append(f"{source}: its test part, {len(test)} of {len(files)} files")
        files = {name: files[name] for name in test}
    for file in files.values():
        yield from _with_text(file)


def _is_saved_dataset(source: str) -> bool:
    return any(Path(source, name).is_file() for name in ("dataset_dict.json", "dataset_info.json"))


def _with_text(file: RawFile) -> Iterator[RawFile]:
    """A file and, for annotations of brat, the text that belongs to it."""
    yield file
    if file.name.endswith(".ann"):
        text = file.path.removesuffix(".ann") + ".txt"
        if file.filesystem.get_file_info(text).type == fs.FileType.File:
            yield replace(file, name=file.name.removesuffix(".ann") + ".txt", path=text)


def _unique(files: Iterable[RawFile]) -> list[RawFile]:
    return list({file.path: file for file in files}.values())
