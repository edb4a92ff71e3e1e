"""Documents: dataclasses stored as JSON, read back with every field checked, and never unpickled."""

import json
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from raycner.errors import InputError
from raycner.storage.store import ObjectStore

T = TypeVar("T")


class Document(Generic[T]):
    """One kind of document. `noun` and `hint` are used in the error for a malformed file."""

    def __init__(self, kind: type[T], noun: str, hint: str) -> None:
        self._adapter, self._noun, self._hint = TypeAdapter(kind), noun, hint

    def read(self, store: ObjectStore, key: str) -> T:
        """The document at `key`. Raises FileNotFoundError where there is none, `InputError` where it cannot be read."""
        try:
            return self._adapter.validate_json(store.read(key))
        except ValidationError as error:
            flaw = error.errors(include_url=False)[0]
            where = ".".join(map(str, flaw["loc"]))
            what = f"not a {self._noun} of schema 1 ({where + ': ' if where else ''}{flaw['msg'].lower()})"
            raise InputError(what, location=f"{store}/{key}", hint=self._hint) from None

    def write(self, store: ObjectStore, key: str, value: T) -> None:
        """Write it, in place of an earlier one."""
        content = json.loads(self._adapter.dump_json(value))
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        store.write(key, f"{text}\n".encode())
