"""Canonical form and fingerprints of frozen values: what is hashed, and what is left out."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from raycner.errors import InputError

Plain = Any
"""A JSON value: None, bool, int, float, str, or lists and string-keyed dicts of these."""


def not_hashed(**options: Any) -> Any:
    """A field that does not determine the result, such as where a file lies: left out of fingerprints."""
    return dataclasses.field(**options, metadata={"hashed": False})


def omit_default_from_hash(default: Any) -> Any:
    """A field added after steps had been stored, whose default means "as before".

    At its default it is left out of fingerprints, so that stored steps keep their names.
    """
    return dataclasses.field(default=default, metadata={"omitted": default})


def plain(value: Any, *, hashed: bool = False) -> Plain:
    """A value as plain data. `hashed=True` keeps only what is fingerprinted: no `not_hashed` field, and no
    `omit_default_from_hash` field at its default."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if not hashed or _is_hashed(field, value)]
        settings = {name: plain(getattr(value, name), hashed=hashed) for name in names}
        return {"name": value.name, **settings} if "family" in dir(value) else settings  # type: ignore[attr-defined]
    if isinstance(value, Mapping):
        return {str(key): plain(item, hashed=hashed) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, hashed=hashed) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    return value


def _is_hashed(field: dataclasses.Field[Any], value: Any) -> bool:
    marks = field.metadata
    return marks.get("hashed", True) and not ("omitted" in marks and getattr(value, field.name) == marks["omitted"])


def canonical(value: Any) -> str:
    """The text that is hashed: JSON with sorted keys and no spaces, of what `plain(hashed=True)` keeps.

    Raises `InputError` for numbers that JSON does not have (infinity, NaN).
    """
    try:
        return json.dumps(plain(value, hashed=True), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise InputError("a setting is infinite or not a number", hint="give every setting a finite value") from None


def fingerprint(value: Any) -> str:
    """The first 16 hexadecimal digits of the sha256 of a value's canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]
