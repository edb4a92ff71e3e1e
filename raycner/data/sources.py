"""Sources: where the raw files of a corpus lie, which part each one belongs to, and how its lines are read."""

import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
from pyarrow import fs

from raycner.addresses import refuse_secret, shown
from raycner.errors import InputError

Part = Literal["train", "dev", "test"]
PARTS: tuple[Part, ...] = ("train", "dev", "test")
LONGEST = 16 << 20
"""Bytes that a line may have."""
LARGEST = 256 << 20
"""Bytes that a document may have which is read as one text."""


@dataclass(frozen=True)
class RawFile:
    """A file of a source: its bytes, and the name by which errors call it."""

    name: str
    part: Part
    filesystem: fs.FileSystem
    path: str

    def blocks(self) -> Iterator[bytes]:
        """The bytes as stored, compressed or not, a megabyte at a time."""
        with self._opened(compression=None) as stream:
            while block := stream.read(1 << 20):
                yield block

    def lines(self) -> Iterator[tuple[int, str]]:
        """Numbered lines without their ends (LF or CRLF), from UTF-8 with or without a byte order mark.

        A compressed file (by its suffix: .gz, .bz2, .zst) is decompressed.
        """
        with self._opened(compression="detect") as stream:
            numbered = enumerate(iter(partial(io.BufferedReader(stream).readline, LONGEST + 1), b""), start=1)
            while True:
                try:
                    number, line = next(numbered)
                except StopIteration:
                    return
                except OSError as error:
                    raise InputError(
                        f"cannot be read: {error}", location=self.name, hint="is the file complete?"
                    ) from None
                if len(line) > LONGEST:
                    what, hint = f"a line of more than {LONGEST >> 20} MiB", "is it the right file? break its lines"
                    raise InputError(what, location=f"{self.name}:{number}", hint=hint)
                try:
                    text = line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").decode()
                except UnicodeDecodeError as error:
                    where, hint = f"{self.name}:{number}", "convert the file to UTF-8"
                    raise InputError(
                        f"byte 0x{line[error.start]:02x} is not UTF-8", location=where, hint=hint
                    ) from None
                yield number, text.removesuffix("\n").removesuffix("\r")

    def text(self) -> str:
        """The whole file as one text, whose line ends are kept as they are, so that offsets hold."""
        with self._opened(compression="detect") as stream:
            try:
                content: bytes = stream.read(LARGEST + 1)
            except OSError as error:
                raise InputError(f"cannot be read: {error}", location=self.name, hint="is the file complete?") from None
        if len(content) > LARGEST:
            raise InputError(f"more than {LARGEST >> 20} MiB in one document", location=self.name, hint="is it text?")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            number = 1 + content.count(b"\n", 0, error.start)
            what = f"byte 0x{content[error.start]:02x} is not UTF-8"
            raise InputError(what, location=f"{self.name}:{number}", hint="convert the file to UTF-8") from None

    def seekable(self) -> Any:
        """The file, open for whoever reads it here and there."""
        try:
            return self.filesystem.open_input_file(self.path)
        except OSError as error:
            raise InputError(f"cannot be opened: {error}", location=self.name, hint="check its permissions") from None

    def _opened(self, compression: str | None) -> Any:
        try:
            return self.filesystem.open_input_stream(self.path, compression=compression)
        except OSError as error:
            raise InputError(f"cannot be opened: {error}", location=self.name, hint="check its permissions") from None


@dataclass(frozen=True)
class Piped(RawFile):
    """Standard input, which can be read once."""

    def _opened(self, compression: str | None) -> Any:  # noqa: ARG002
        return sys.stdin.buffer


def single(address: str) -> RawFile:
    """One file, local or a URI, of whatever name; `-` is standard input."""
    if address == "-":
        return Piped("standard input", "train", fs.LocalFileSystem(), address)
    filesystem, path = _filesystem(address, address)
    if not filesystem.get_file_info(path).is_file:
        raise InputError("no such file", location=shown(address), hint="name a file, or - for standard input")
    return RawFile(shown(address), "train", filesystem, path)


def every(source: str) -> dict[str, RawFile]:
    """All files of a source, by their names below it: one file, a folder with its folders, or a pattern; local, or a
    URI. Those whose names begin with . or _ are left out."""
    root, pattern = _parted(source)
    filesystem, base = _filesystem(root, source)
    hint = "name a file, a folder or a pattern"
    try:
        kind = filesystem.get_file_info(base).type
        if kind == fs.FileType.File:
            return {PurePosixPath(base).name: RawFile(shown(root), "train", filesystem, base)}
        if kind != fs.FileType.Directory:
            raise InputError("no such file or folder", location=shown(source), hint=hint)
        listed = filesystem.get_file_info(fs.FileSelector(base, recursive=True))
    except OSError as error:
        raise InputError(f"cannot be listed: {error}", location=shown(source), hint=hint) from None
    inside = {str(PurePosixPath(info.path).relative_to(base)): info.path for info in listed if info.is_file}
    folder = shown(root).rstrip("/")
    names = sorted(name for name in inside if _matches(name, pattern))
    return {name: RawFile(f"{folder}/{name}", "train", filesystem, inside[name]) for name in names}


def find(source: str, notes: list[str]) -> list[RawFile]:
    """The files of a source, by part and then by name.

    `source` is a file (which is all training), a folder, or a pattern such as `news/*.conll`; local, or a URI. In a
    pattern, `**` stands for any folders. In folders and patterns a file's name gives its part: train, dev (valid,
    testa), test (testb), as a whole word; where it does not, the nearest folder's that does. A folder's other files are
    none of the corpus's; a pattern that matches no telling name is all training. Backups, predictions and files whose
    names tell several parts are left out and noted. Raises `InputError` where most files of a pattern tell no part.
    """
    root, pattern = _parted(source)
    filesystem, base = _filesystem(root, source)
    try:
        kind = filesystem.get_file_info(base).type
        if kind == fs.FileType.File:
            return [RawFile(shown(root), "train", filesystem, base)]
        if kind != fs.FileType.Directory:
            raise InputError("no such file or folder", location=shown(source), hint="set scenario.corpus.path")
        listed = filesystem.get_file_info(fs.FileSelector(base, recursive=len(pattern) > 1))
    except OSError as error:
        raise InputError(
            f"cannot be listed: {error}", location=shown(source), hint="set scenario.corpus.path"
        ) from None
    inside = {str(PurePosixPath(info.path).relative_to(base)): info.path for info in listed if info.is_file}
    names = _without_extra(sorted(name for name in inside if _matches(name, pattern)), notes)
    parts = {name: part for name in names if (part := part_of(name)) is not None}
    if pattern and not parts:
        parts = dict.fromkeys(names, "train")
    if "train" not in parts.values():
        what = f"no training file among {_listed(names) or 'no files at all'}"
        hint = "name files train*, dev*, test*, or give one file as scenario.corpus.path"
        raise InputError(what, location=shown(source), hint=hint)
    others = [name for name in names if name not in parts]
    ambiguous = [name for name in others if len(_parts_in(PurePosixPath(name).name)) > 1]
    if ambiguous:
        notes.append(f"left out, as their names tell several parts: {_listed(ambiguous)}")
    if pattern and len(others) > len(parts):
        what = f"only {len(parts)} of {len(names)} files tell their part by name, such as {min(parts)}"
        hint = "put the files into folders train, dev and test, or narrow the pattern"
        raise InputError(what, location=shown(source), hint=hint)
    suffixes = {PurePosixPath(name).suffix for name in parts}
    unnamed = [name for name in others if name not in ambiguous and (pattern or PurePosixPath(name).suffix in suffixes)]
    if unnamed:
        notes.append(f"left out, as their names are none of train, dev, test: {_listed(unnamed)}")
    ordered = sorted(parts, key=lambda name: (PARTS.index(parts[name]), name))
    return [RawFile(f"{shown(root).rstrip('/')}/{name}", parts[name], filesystem, inside[name]) for name in ordered]


def _parted(source: str) -> tuple[str, list[str]]:
    """A source as the folder or file to start from, and the segments of the pattern below it."""
    if "://" not in source:
        if Path(source).exists():
            return source, []
        address, query, wild = source, "", "*?["
    else:
        address, mark, rest = source.partition("?")
        query, wild = mark + rest, "*["
    segments = address.split("/")
    fixed = next((i for i, segment in enumerate(segments) if set(segment) & set(wild)), len(segments))
    return ("/".join(segments[:fixed]) or ("/" if fixed else ".")) + query, segments[fixed:]


def _filesystem(root: str, source: str) -> tuple[fs.FileSystem, str]:
    if "://" not in root:
        return fs.LocalFileSystem(), Path(root).expanduser().absolute().as_posix()
    refuse_secret(source)
    try:
        return fs.FileSystem.from_uri(root)  # type: ignore[no-any-return]
    except (pa.ArrowInvalid, OSError) as error:
        hint = "set scenario.corpus.path to a path or a URI that pyarrow.fs opens"
        raise InputError(f"cannot be opened: {error}", location=shown(source), hint=hint) from None


def _matches(name: str, pattern: list[str]) -> bool:
    segments = name.split("/")
    if segments[-1].startswith((".", "_")):
        return False
    if not pattern:
        return True
    return _follows(segments, pattern)


def _follows(segments: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern or not segments:
        return not segments and all(one == "**" for one in pattern)
    if pattern[0] == "**":
        return _follows(segments, pattern[1:]) or _follows(segments[1:], pattern)
    return fnmatchcase(segments[0], pattern[0]) and _follows(segments[1:], pattern[1:])


_NAMES: Mapping[Part, str] = {
    "dev": "dev(?:el(?:opment)?)?|val(?:id(?:ation)?)?|testa",
    "test": "test(?:ing|b)?",
    "train": "train(?:ing)?",
}
_NAME = "|".join(f"(?P<{part}>{names})" for part, names in _NAMES.items())
_PART = re.compile(f"(?<![a-z])(?:{_NAME})(?:set|data|file|split)?(?![a-z])")
"""The words that name a part: whole ones, so that neither `device` nor `latest` names any."""
_BACKUP = re.compile(r"~$|^#.*#$|\.(?:bak|orig|old|save|swp|tmp|rej)(?=$|\.)| (?:- )?copy(?=$|\.)")
_PREDICTIONS = re.compile(r"(?<![a-z])pred(?:s|icted|ictions?)?(?![a-z])")


def part_of(name: str) -> Part | None:
    """The part in the name of a file, or else of its nearest folder that names one.

    >>> part_of("train/doc_1.txt"), part_of("eng.testa"), part_of("device.txt"), part_of("train-dev.txt")
    ('train', 'dev', None, None)
    """
    for segment in reversed(PurePosixPath(name).parts):
        if parts := _parts_in(segment):
            return parts[0] if len(parts) == 1 else None
    return None


def _parts_in(segment: str) -> list[Part]:
    """The parts that a name names, in the order of `PARTS`; `trainData` is two words."""
    words = re.sub("(?<=[a-z])(?=[A-Z][a-z])", "_", segment).lower()
    named = {match.lastgroup for match in _PART.finditer(words)}
    return [part for part in PARTS if part in named]


def _is_extra(name: str) -> bool:
    """Whether the name is that of a backup or of predictions."""
    file = PurePosixPath(name.lower()).name
    return bool(_BACKUP.search(file) or _PREDICTIONS.search(file))


def _without_extra(names: Sequence[str], notes: list[str]) -> list[str]:
    """The names without backups and predictions, which are noted."""
    extra = [name for name in names if _is_extra(name)]
    if extra:
        notes.append(f"left out, as backups or predictions: {_listed(extra)}")
    return [name for name in names if name not in set(extra)]


def _listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more
