"""Documents: dataclasses stored as JSON, read back with every field checked, and never unpickled."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from raycner.errors import InputError
from raycner.storage.store import ObjectStore

T = TypeVar("T")


class Document(Generic[T]):
    """One kind of document. `noun` and `hint` are used in the error for a malformed file.

    `key_of` tells the key at which a document belongs, if it names one; at another it is malformed.
    """

    def __init__(self, kind: type[T], noun: str, hint: str, key_of: Callable[[T], str] | None = None) -> None:
        self._adapter, self._noun, self._hint, self._key_of = TypeAdapter(kind), noun, hint, key_of

    def read(self, store: ObjectStore, key: str) -> T:
        """The document at `key`. Raises FileNotFoundError where there is none, `InputError` where it cannot be read."""
        return self.parse(store, key, store.read(key))

    def read_many(self, store: ObjectStore, keys: Sequence[str]) -> "Iterator[T | FileNotFoundError | InputError]":
        """The documents at several keys, in their order; in place of one that cannot be read, its error."""
        for key, content in zip(keys, store.read_many(keys), strict=True):
            if not isinstance(content, bytes):
                yield content
                continue
            try:
                yield self.parse(store, key, content)
            except InputError as error:
                yield error

    def read_valid(self, store: ObjectStore, keys: Sequence[str]) -> Iterator[T]:
        """The documents at several keys, in their order; one that cannot be read is left out with a warning."""
        for document in self.read_many(store, keys):
            if isinstance(document, FileNotFoundError | InputError):
                logging.getLogger(__name__).warning("ignored: %s", document)
            else:
                yield document

    def parse(self, store: ObjectStore, key: str, content: bytes) -> T:
        """The document with this content, which lies at `key`. Raises `InputError` where it cannot be read."""
        try:
            document = self._adapter.validate_json(content)
        except ValidationError as error:
            flaw = error.errors(include_url=False)[0]
            where = ".".join(map(str, flaw["loc"]))
            what = f"not a {self._noun} of schema 1 ({where + ': ' if where else ''}{flaw['msg'].lower()})"
            raise InputError(what, location=f"{store}/{key}", hint=self._hint) from None
        if self._key_of is not None and self._key_of(document) != key:
            raise InputError(f"the {self._noun} of another place", location=f"{store}/{key}", hint=self._hint)
        return document

    def write(self, store: ObjectStore, key: str, value: T) -> None:
        """Write it, in place of an earlier one."""
        content = json.loads(self._adapter.dump_json(value))
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        store.write(key, f"{text}\n".encode())
