"""Manifests: the files of a committed directory, each with its size and its sha256."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from raycner.errors import InputError
from raycner.hashing import plain

MANIFEST = "MANIFEST"
"""The file that a manifest is written to, in its directory."""
PIECE = 8 << 20
"""Bytes moved at a time: an object store answers each piece with one request."""


def is_key(name: str) -> bool:
    """Whether `name` can be a key: segments of letters, digits, '.', '_' and '-', none of them '.' or '..'."""
    return all(re.fullmatch(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]+", segment) for segment in name.split("/"))


@dataclass(frozen=True)
class Stored:
    """The entry of a manifest for one file."""

    size: int
    sha256: str

    @classmethod
    def measure(cls, pieces: Iterable[bytes], sink: Callable[[bytes], object] | None = None) -> "Stored":
        """The entry of a file that consists of these pieces, each of which is passed to `sink`."""
        size, sha256 = 0, hashlib.sha256()
        for piece in pieces:
            size += len(piece)
            sha256.update(piece)
            if sink:
                sink(piece)
        return cls(size, sha256.hexdigest())


@dataclass(frozen=True)
class Manifest:
    """The files of a committed directory, by name."""

    files: Mapping[str, Stored]
    schema: Literal[1] = 1

    def __post_init__(self) -> None:
        for name in self.files:
            if not is_key(name):
                raise ValueError(f"{name!r} cannot be the name of a stored file")

    @classmethod
    def of(cls, files: Mapping[str, Path]) -> "Manifest":
        """The manifest of these files, by name."""
        return cls({name: Stored.measure(pieces_of(path)) for name, path in sorted(files.items())})

    @classmethod
    def parse(cls, content: bytes | FileNotFoundError | InputError) -> "Manifest | None":
        """A manifest as it was read: None where it is missing or malformed.

        Raises the `InputError` of a store that did not answer.
        """
        if isinstance(content, InputError):
            raise content
        try:
            return _MANIFESTS.validate_json(content) if isinstance(content, bytes) else None
        except ValidationError:
            return None

    def spell(self) -> bytes:
        """What `parse` reads back."""
        return (json.dumps(plain(self), indent=1, sort_keys=True) + "\n").encode()


_MANIFESTS = TypeAdapter(Manifest)


def files_in(directory: Path) -> dict[str, Path]:
    """The files below a directory by their names in a manifest, an earlier manifest left out."""
    files = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
    files.pop(MANIFEST, None)
    return files


def pieces_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file."""
    with path.open("rb") as source:
        yield from iter(partial(source.read, PIECE), b"")
