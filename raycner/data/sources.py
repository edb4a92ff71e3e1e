"""Sources: where the raw files of a corpus lie, which part each one belongs to, and how its lines are read."""

import codecs
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
from pyarrow import fs

from raycner.addresses import refuse_secret, shown
from raycner.errors import InputError

Part = Literal["train", "dev", "test"]
PARTS: tuple[Part, ...] = ("train", "dev", "test")
LineEnds = Literal["lf", "cr"]
"""What ends a line: LF or CRLF, or with `cr` also a carriage return alone."""
LONGEST = 16 << 20
"""Characters that a line may have."""
LARGEST = 256 << 20
"""Bytes that a document may have which is read as one text."""


@dataclass(frozen=True)
class RawFile:
    """A file of a source: its bytes, and the name by which errors call it."""

    name: str
    part: Part
    filesystem: fs.FileSystem
    path: str
    encoding: str = "utf-8"
    encoding_setting: str = ""
    """The setting that changes the encoding, for hints; none when empty."""
    line_ends: LineEnds = "lf"

    def blocks(self) -> Iterator[bytes]:
        """The bytes as stored, compressed or not, a megabyte at a time."""
        with self._opened(compression=None) as stream:
            while block := stream.read(1 << 20):
                yield block

    def lines(self) -> Iterator[tuple[int, str]]:
        """Numbered lines without their ends (LF or CRLF), decoded, without a byte order mark.

        A compressed file (by its suffix: .gz, .bz2, .zst) is decompressed.
        """
        number = 1
        for text in self.texts():
            lines = text.split("\n")
            yield from enumerate(lines, start=number)
            number += len(lines)

    def texts(self) -> Iterator[str]:
        """Runs of whole lines, about a megabyte each: lines are separated by LF, and the last one has no end.

        Raises `InputError` for bytes that are not text, after the lines before them.
        """
        decoder = codecs.getincrementaldecoder(self._codec)()
        number, rest = 1, ""
        with self._opened(compression="detect") as stream:
            while True:
                block = self._next_block(stream)
                flaw: UnicodeDecodeError | None = None
                try:
                    text = rest + decoder.decode(block, final=not block)
                except UnicodeDecodeError as error:
                    text, flaw = rest + error.object[: error.start].decode(self._codec, errors="ignore"), error
                held = ""
                if self.line_ends == "cr":
                    text, held = (text[:-1], "\r") if block and text.endswith("\r") else (text, "")
                    text = text.replace("\r\n", "\n").replace("\r", "\n")
                lines, end, rest = text.rpartition("\n")
                rest += held
                if end:
                    number += 1 + lines.count("\n")
                    yield lines.removesuffix("\r").replace("\r\n", "\n")
                if flaw is not None:
                    raise self._not_text(flaw, number)
                if len(rest) > LONGEST:
                    what, hint = f"a line of more than {LONGEST >> 20} MiB", "is it the right file? break its lines"
                    raise InputError(what, location=f"{self.name}:{number}", hint=hint)
                if not block:
                    if rest:
                        yield rest.removesuffix("\r")
                    return

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
            return content.decode(self._codec)
        except UnicodeDecodeError as error:
            raise self._not_text(error, 1 + content.count(b"\n", 0, error.start)) from None

    @property
    def _codec(self) -> str:
        """The codec that also reads a byte order mark."""
        return "utf-8-sig" if self.encoding == "utf-8" else self.encoding

    def _next_block(self, stream: Any) -> bytes:
        try:
            return bytes(stream.read(1 << 20))
        except OSError as error:
            raise InputError(f"cannot be read: {error}", location=self.name, hint="is the file complete?") from None

    def _not_text(self, error: UnicodeDecodeError, number: int) -> InputError:
        what = f"byte 0x{error.object[error.start]:02x} is not {self.encoding.upper()}"
        hint = "convert the file to UTF-8"
        if self.encoding_setting:
            likely = "utf-16" if number == 1 and error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
            hint += f", or set {self.encoding_setting}={likely}, or what else it is in"
        return InputError(what, location=f"{self.name}:{number}", hint=hint)

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

    def _next_block(self, stream: Any) -> bytes:
        """What there is, so that a reader need not wait for a megabyte."""
        return bytes(stream.read1(1 << 20) if hasattr(stream, "read1") else stream.read(1 << 20))


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
        inside = _inside(filesystem, base, recursive=True)
    except OSError as error:
        raise InputError(f"cannot be listed: {error}", location=shown(source), hint=hint) from None
    folder = shown(root).rstrip("/")
    names = sorted(name for name in inside if _matches(name, pattern))
    return {name: RawFile(f"{folder}/{name}", "train", filesystem, inside[name]) for name in names}


def _inside(filesystem: fs.FileSystem, folder: str, *, recursive: bool) -> dict[str, str]:
    """The files of a folder: name below it -> path. Raises OSError where it cannot be listed."""
    listed = filesystem.get_file_info(fs.FileSelector(folder, recursive=recursive))
    try:
        return {str(PurePosixPath(info.path).relative_to(folder)): info.path for info in listed if info.is_file}
    except UnicodeDecodeError:
        raise OSError("a name in it is not UTF-8") from None


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
        inside = _inside(filesystem, base, recursive=len(pattern) > 1)
    except OSError as error:
        raise InputError(
            f"cannot be listed: {error}", location=shown(source), hint="set scenario.corpus.path"
        ) from None
    names = _without_extra(sorted(name for name in inside if _matches(name, pattern)), notes)
    parts = {name: part for name in names if (part := part_of(name)) is not None}
    if pattern and not parts:
        parts = dict.fromkeys(names, "train")
    if "train" not in parts.values():
        what = f"no training file among {_listed(names) or 'no files at all'}"
        hint = "set scenario.corpus.path to one file, or scenario.corpus.train, or name files train*, dev*, test*"
        raise InputError(what, location=shown(source), hint=hint)
    others = [name for name in names if name not in parts]
    ambiguous = [name for name in others if len(_parts_in(PurePosixPath(name).name)) > 1]
    if ambiguous:
        notes.append(f"left out, as their names tell several parts: {_listed(ambiguous)}")
    if pattern and len(others) > len(parts):
        what = f"only {len(parts)} of {len(names)} files tell their part by name, such as {min(parts)}"
        hint = "set scenario.corpus.train, dev and test to files, folders or patterns, or narrow the pattern"
        raise InputError(what, location=shown(source), hint=hint)
    suffixes = {PurePosixPath(name).suffix for name in parts}
    unnamed = [name for name in others if name not in ambiguous and (pattern or PurePosixPath(name).suffix in suffixes)]
    if unnamed:
        notes.append(f"left out, as their names are none of train, dev, test: {_listed(unnamed)}")
    ordered = sorted(parts, key=lambda name: (PARTS.index(parts[name]), name))
    return [RawFile(f"{shown(root).rstrip('/')}/{name}", parts[name], filesystem, inside[name]) for name in ordered]


def named_parts(sources: Mapping[Part, Sequence[str]], notes: list[str]) -> list[RawFile]:
    """The files of parts that are given by name, each as files, folders or patterns: by part and then in this order.

    Backups and predictions in folders and patterns are left out and noted. Raises `InputError` for a part without a
    file, and for a file in two parts.
    """
    files: dict[str, RawFile] = {}
    for part in PARTS:
        for source in sources.get(part, ()):
            listed = every(source)
            names = list(listed) if len(listed) == 1 else _without_extra(list(listed), notes)
            if not names:
                hint = f"set scenario.corpus.{part} to a file, a folder or a pattern"
                raise InputError("no file in it", location=shown(source), hint=hint)
            for file in (replace(listed[name], part=part) for name in names):
                other = files.setdefault(file.path, file)
                if other.part != part:
                    what, hint = f"in {other.part} and in {part}", "name each file in one part only"
                    raise InputError(what, location=file.name, hint=hint)
    return list(files.values())


def _parted(source: str) -> tuple[str, list[str]]:
    """A source as the folder or file to start from, and the segments of the pattern below it."""
    if "://" not in source:
        if Path(source).expanduser().exists():
            return source, []
        address, query, wild = source, "", "*?["
    else:
        address, mark, rest = source.partition("?")
        query, wild = mark + rest, "*["
    segments = address.split("/")
    fixed = 0
    while fixed < len(segments) and (
        not set(segments[fixed]) & set(wild) or _is_folder("/".join(segments[: fixed + 1]))
    ):
        fixed += 1
    return ("/".join(segments[:fixed]) or ("/" if fixed else ".")) + query, segments[fixed:]


def _is_folder(address: str) -> bool:
    """Whether a local folder has this very name, brackets and all."""
    return "://" not in address and Path(address).expanduser().is_dir()


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
    return (segments[0] == pattern[0] or fnmatchcase(segments[0], pattern[0])) and _follows(segments[1:], pattern[1:])


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
