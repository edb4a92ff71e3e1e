"""Canonical form and fingerprints of frozen values: what is hashed, and what is left out."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from raycner.errors import InputError

Plain = Any
"""What JSON can say: None, bool, int, float, str, lists and string-keyed dicts of these."""


def not_hashed(**options: Any) -> Any:
    """A field that does not determine any weight (where a thing lies, not what it is): left out of fingerprints."""
    return dataclasses.field(**options, metadata={"hashed": False})


def omit_default_from_hash(default: Any) -> Any:
    """A field that came when stores held steps already, and whose default means "as before": at it, the field is left
    out of fingerprints, so that nothing loses its name."""
    return dataclasses.field(default=default, metadata={"unsaid": default})


def plain(value: Any, *, hashed: bool = False) -> Plain:
    """A value as JSON can say it; `hashed=True` leaves out fields declared `not_hashed`, and unused
    `omit_default_from_hash` ones."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = [field for field in dataclasses.fields(value) if not hashed or _is_hashed(field, value)]
        said = {field.name: plain(getattr(value, field.name), hashed=hashed) for field in kept}
        return {"name": value.name, **said} if "family" in dir(value) else said  # type: ignore[attr-defined]
    if isinstance(value, Mapping):
        return {str(key): plain(item, hashed=hashed) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, hashed=hashed) for item in value]
    return value


def _is_hashed(field: dataclasses.Field[Any], value: Any) -> bool:
    told = field.metadata
    return told.get("hashed", True) and not ("unsaid" in told and getattr(value, field.name) == told["unsaid"])


def canonical(value: Any) -> str:
    """The one spelling of a value that is hashed: sorted keys, no spaces, only what determines weights.

    Raises `InputError` for numbers that JSON cannot say.
    """
    try:
        return json.dumps(plain(value, hashed=True), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise InputError("a setting is infinite or not a number", hint="give every setting a finite value") from None


def fingerprint(value: Any) -> str:
    """The first 16 hexadecimal digits of the sha256 of a value's canonical spelling."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]
