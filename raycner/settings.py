"""Settings as plain data: how they become typed values, and how they are merged, flattened and spelled."""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from raycner.errors import InputError
from raycner.hashing import Plain, plain
from raycner.registry import Registry, suggest

T = TypeVar("T")


def build(kind: type[T], given: Mapping[str, Plain], where: str = "", default: T | None = None) -> T:
    """Make a value of `kind` from plain data: unknown keys refused, every leaf coerced by its annotation.

    `default` supplies what `given` does not say; without it the dataclass defaults do. A family's member is chosen by
    the key `name`. Raises `InputError` with the dotted path, the value and the remedy.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"expected settings, found {given!r}", location=where, hint=f"write {where}.KEY=VALUE")
    family = vars(kind).get("family")
    if isinstance(family, Registry):
        name = given.get("name", getattr(default, "name", None))
        if name is None:
            hint = f"known: {', '.join(sorted(family))}"
            raise InputError(f"no {family.noun} is chosen", location=f"{where}.name", hint=hint)
        chosen = family.find(name, f"{where}.name")
        default = default if type(default) is chosen else None
        given = {key: value for key, value in given.items() if key != "name"}
        return typing.cast(T, _fill(chosen, given, where, default))
    return _fill(kind, given, where, default)


def _fill(kind: type[T], given: Mapping[str, Plain], where: str, default: T | None) -> T:
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = _hints(typing.cast(Any, kind))
    for key in given:
        if key not in fields:
            known = [*fields, "name"] if hasattr(kind, "family") else fields
            hint = suggest(str(key), known) if fields else f"{getattr(kind, 'name', kind.__name__)} has no settings"
            raise InputError("no such setting", location=_join(where, key), hint=hint)
    made: dict[str, Any] = {}
    for key, field in fields.items():
        fallback = getattr(default, key) if default is not None else _default(field)
        if key in given:
            made[key] = _coerce(hints[key], given[key], _join(where, key), fallback)
        elif fallback is not dataclasses.MISSING:
            made[key] = fallback
        elif isinstance(hints[key], type) and "family" in vars(hints[key]):
            made[key] = build(hints[key], {}, _join(where, key))
        else:
            raise InputError("missing", location=_join(where, key), hint=f"write {_join(where, key)}=VALUE")
    try:
        return kind(**made)
    except ValueError as error:
        raise InputError(str(error), location=where) from None


def _coerce(hint: Any, value: Plain, where: str, fallback: Any) -> Any:
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or "family" in vars(hint)):
        if isinstance(value, hint):
            return value
        return build(hint, value, where, None if fallback is dataclasses.MISSING else fallback)
    members = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and dataclasses.is_dataclass(members[0]):
        if not isinstance(value, (list, tuple)):
            raise InputError(f"expected a list, found {value!r}", location=where, hint="write a list of settings")
        return tuple(build(typing.cast(type, members[0]), item, f"{where}.{i}") for i, item in enumerate(value))
    try:
        return _adapter(hint).validate_python(value)
    except ValidationError as error:
        found = error.errors()[0]
        hint = f"expected {_say(hint)}"
        raise InputError(f"{found['msg'].lower()}, found {value!r}", location=where, hint=hint) from None


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return {name: _unparametrised(hint) for name, hint in typing.get_type_hints(kind).items()}


def _unparametrised(hint: Any) -> Any:
    """`Method` of `Method[Output]`; any other hint as it is."""
    origin = typing.get_origin(hint)
    return origin if isinstance(origin, type) and "family" in vars(origin) else hint


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(coerce_numbers_to_str=True))


def _say(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(str(choice) for choice in typing.get_args(hint))
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join("nothing" if kind is type(None) else _say(kind) for kind in typing.get_args(hint))
    nouns = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return nouns.get(hint, str(hint).replace("typing.", "").replace("collections.abc.", ""))


def flat(settings: Mapping[str, Plain], where: str = "") -> dict[str, Plain]:
    """Nested settings under their dotted names.

    >>> flat({"method": {"name": "dld", "base": {"kd_weight": 2.0}}})
    {'method.name': 'dld', 'method.base.kd_weight': 2.0}
    """
    named: dict[str, Plain] = {}
    for key, value in settings.items():
        path = f"{where}.{key}" if where else str(key)
        named |= flat(value, path) if isinstance(value, Mapping) else {path: value}
    return named


def merge(
    base: Mapping[str, Plain], layer: Mapping[str, Plain], where: str = "", say: Callable[[str], object] = str
) -> dict[str, Plain]:
    """`base` with `layer` laid over it. Another `name` means another kind, and drops the old kind's settings: `say` is
    told so.

    >>> merge({"optim": {"lr": 0.1, "epochs": 3}}, {"optim": {"epochs": 5}})
    {'optim': {'lr': 0.1, 'epochs': 5}}
    """
    name = layer.get("name")
    if name is not None and base.get("name", name) != name:
        dropped = [key for key in base if key != "name" and key not in layer]
        if dropped:
            say(f"{where}.name={name} drops {', '.join(dropped)} of {base['name']}")
        base = {}
    merged = dict(base)
    for key, value in layer.items():
        path = f"{where}.{key}" if where else key
        if isinstance(value, Mapping):
            under = merged.get(key)
            merged[key] = merge(under if isinstance(under, Mapping) else {}, value, path, say)
        else:
            merged[key] = value
    return merged


Renamed = Mapping[str, Mapping[Any, str]]
"""Old dotted name -> old value -> the setting that replaces it, as KEY=VALUE."""


def refuse_renamed(settings: Mapping[str, Plain], renamed: Renamed, where: str = "") -> None:
    """Raises `InputError`, with the new name, for a setting that has another name now."""
    for key, value in flat(settings).items():
        new = _new_spelling(key, value, renamed)
        if new is not None:
            raise InputError("this setting was renamed", location=f"{where}{key}", hint=f"write {new}")


def with_new_names(settings: Mapping[str, Plain], renamed: Renamed) -> dict[str, Plain]:
    """Settings that an earlier version wrote, in today's names.

    >>> with_new_names({"optim": {"dev": True, "lr": 1.0}}, {"optim.dev": {True: "eval.part=dev"}})
    {'optim': {'lr': 1.0}, 'eval': {'part': 'dev'}}
    """
    current: dict[str, Plain] = plain(settings)
    for key, value in flat(settings).items():
        new = _new_spelling(key, value, renamed)
        if new is not None:
            *parents, last = key.split(".")
            section = current
            for parent in parents:
                section = section[parent]
            del section[last]
            current = merge(current, nested(*new.split("=")))
    return current


def _new_spelling(key: str, value: Plain, renamed: Renamed) -> str | None:
    return next((new for old, new in renamed.get(key, {}).items() if (type(old), old) == (type(value), value)), None)


def nested(path: str, value: Plain) -> dict[str, Plain]:
    """One dotted setting as nested settings."""
    *parents, last = path.split(".")
    layer = {last: value}
    for key in reversed(parents):
        layer = {key: layer}
    return layer


def parse(text: str) -> Plain:
    """The value of a setting as typed on the command line: YAML, or plain text where it is not YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def spell(value: Plain) -> str:
    """A value of a setting as the command line takes it: `parse` reads it back.

    >>> [spell(value) for value in (None, True, 1e-07, "person", "null", ["a", "b: c"])]
    ['null', 'true', '1.0e-07', 'person', "'null'", "[a, 'b: c']"]
    """
    value = plain(value)
    if isinstance(value, str) and parse(value) == value:
        return value
    readable = _flow_yaml(value, allow_unicode=True)
    return readable if parse(readable) == value else _flow_yaml(value, allow_unicode=False)


def _flow_yaml(value: Plain, *, allow_unicode: bool) -> str:
    """A value on one line; PyYAML does not escape every line separator when it may write Unicode."""
    text: str = yaml.safe_dump(
        value, default_flow_style=True, width=math.inf, allow_unicode=allow_unicode, sort_keys=False
    )
    return text.removesuffix("...\n").removesuffix("\n")
