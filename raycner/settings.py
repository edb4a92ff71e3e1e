"""Settings as plain data: how they become typed values, and how they are renamed, merged, flattened and spelled."""

import dataclasses
import datetime
import difflib
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from raycner.errors import InputError
from raycner.hashing import Plain, plain
from raycner.registry import Registry, suggest
from raycner.renames import RENAMED
from raycner.synonyms import synonym
from raycner.yaml_text import AmbiguousNumber, YamlError, load

T = TypeVar("T")
LONGEST_SHOWN = 200
"""Characters of a value in an error."""


def renamed(settings: Mapping[str, Plain], note: Callable[[str], object] = str) -> dict[str, Plain]:
    """Nested settings under today's names. `note` receives a phrase for each old name, such as "a is now b.c"."""
    current, replacements = _apart(settings, "", note)
    for name, value in replacements.items():
        current = merge(current, nested(name, value))
    return current


def _apart(
    settings: Mapping[str, Plain], where: str, note: Callable[[str], object]
) -> tuple[dict[str, Plain], dict[str, Plain]]:
    """The settings that keep their names, nested; and the new settings, dotted, that replace the others."""
    current: dict[str, Plain] = {}
    replacements: dict[str, Plain] = {}
    for key, value in settings.items():
        path = _join(where, key)
        new = RENAMED[path].replace(value) if path in RENAMED else None
        if new is not None:
            note(f"{path} is now {RENAMED[path].now}")
            replacements |= new
        elif isinstance(value, Mapping):
            inner, moved_out = _apart(value, path, note)
            replacements |= moved_out
            if inner or not moved_out:
                current[key] = inner
        else:
            current[key] = value
    return current, replacements


def build(kind: type[T], given: Mapping[str, Plain], where: str = "", default: T | None = None) -> T:
    """A value of `kind` from plain data: unknown keys are refused, every leaf is coerced by its annotation.

    `default` supplies the settings that `given` lacks; without it the dataclass defaults do. The key `name` chooses the
    member of a family. Raises `InputError` with the dotted path, the value and a hint.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"expected settings, found {_brief(given)}", location=where, hint=f"write {where}.KEY=VALUE")
    family = vars(kind).get("family")
    if isinstance(family, Registry):
        name = given.get("name", getattr(default, "name", None))
        if name is None:
            hint = f"known: {', '.join(family.names)}"
            raise InputError(f"no {family.noun} is chosen", location=f"{where}.name", hint=hint)
        chosen = family.find(name, f"{where}.name")
        default = default if type(default) is chosen else None
        given = {key: value for key, value in given.items() if key != "name"}
        return typing.cast(T, _fill(chosen, given, where, default))
    return _fill(kind, given, where, default)


def _fill(kind: type[T], given: Mapping[str, Plain], where: str, default: T | None) -> T:
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = field_types(typing.cast(Any, kind))
    for key in given:
        if key not in fields:
            raise _unknown(_join(where, key), given[key], kind, fields)
    values: dict[str, Any] = {}
    for key, field in fields.items():
        fallback = getattr(default, key) if default is not None else default_of(field)
        if key in given:
            values[key] = _coerce(hints[key], given[key], _join(where, key), fallback)
        elif fallback is not dataclasses.MISSING:
            values[key] = fallback
        elif isinstance(hints[key], type) and "family" in vars(hints[key]):
            values[key] = build(hints[key], {}, _join(where, key))
        else:
            raise InputError("missing", location=_join(where, key), hint=f"write {_join(where, key)}=VALUE")
    try:
        return kind(**values)
    except ValueError as error:
        raise InputError(str(error), location=where) from None


def _unknown(location: str, value: Plain, kind: type[Any], fields: Mapping[str, Any]) -> InputError:
    """The error for a setting that does not exist. Its hint is the nearest setting, or all that there are."""
    key = location.rpartition(".")[2]
    name = kind.name if "family" in dir(kind) else ""
    near = difflib.get_close_matches(key, [*fields, "name"] if name else fields, n=3, cutoff=0.6)
    others = [other for other, member in sorted(kind.family.items()) if _has_field(member, key)] if name else []
    leaf = next(iter(flat(nested(location, value))), location)
    if not others and (meant := synonym(key) or (not near and synonym(leaf.rpartition(".")[2]))):
        near = [meant]
    if not near:
        former = [old for old in RENAMED if old.rpartition(".")[0] == leaf.rpartition(".")[0]]
        near = [RENAMED[old].now for old in difflib.get_close_matches(leaf, former, n=1, cutoff=0.8)]
    question = f"did you mean {' or '.join(near)}?" if near else ""
    every = f"{name} has {', '.join(sorted(fields)) or 'no settings'}" if name else ""
    if others and not near:
        every += f"; {', '.join(others)} have it: set {location.removesuffix(key)}name too"
    return InputError("no such setting", location=location, hint=f"{question} {every}".strip() or suggest(key, fields))


def _has_field(kind: type[Any], name: str) -> bool:
    return any(field.name == name for field in dataclasses.fields(kind))


def _coerce(hint: Any, value: Plain, where: str, fallback: Any) -> Any:
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or "family" in vars(hint)):
        if isinstance(value, hint):
            return value
        return build(hint, value, where, None if fallback is dataclasses.MISSING else fallback)
    members = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and dataclasses.is_dataclass(members[0]):
        if not isinstance(value, (list, tuple)):
            raise InputError(f"expected a list, found {_brief(value)}", location=where, hint="write a list of settings")
        return tuple(build(typing.cast(type, members[0]), item, f"{where}.{i}") for i, item in enumerate(value))
    for place, text in _texts(hint, value):
        if isinstance(text, (bool, float, datetime.date)) or (text is None and place):
            what = f"YAML reads a name as {_brief(text)}"
            raise InputError(what, location=f"{where}{place}", hint="put it in quotes as it is written, such as 'NO'")
    try:
        return _adapter(hint).validate_python(value)
    except ValidationError as error:
        message = error.errors()[0]["msg"].lower()
        raise InputError(
            f"{message}, found {_brief(value)}", location=where, hint=f"expected {type_in_words(hint)}"
        ) from None


def _texts(hint: Any, value: Plain) -> Iterator[tuple[str, Plain]]:
    """The values of a setting of text, or of a list of texts, and their places in it."""
    if hint is str:
        yield "", value
    elif hint in (tuple[str, ...], str | tuple[str, ...]) and isinstance(value, (list, tuple)):
        yield from ((f".{place}", text) for place, text in enumerate(value))


def _brief(value: Plain) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The default of a setting; `MISSING` if it must be set."""
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


@cache
def field_types(kind: Any) -> dict[str, Any]:
    """The types of the settings of a dataclass, by name."""
    return {name: _unparametrised(hint) for name, hint in typing.get_type_hints(kind).items()}


def _unparametrised(hint: Any) -> Any:
    """`Method` of `Method[Output]`; any other hint as it is."""
    origin = typing.get_origin(hint)
    return origin if isinstance(origin, type) and "family" in vars(origin) else hint


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(coerce_numbers_to_str=True))


def type_in_words(hint: Any) -> str:
    """A type as errors and lists of settings name it."""
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(str(choice) for choice in typing.get_args(hint))
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join("nothing" if kind is type(None) else type_in_words(kind) for kind in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"a list of {type_in_words(typing.get_args(hint)[0]).removeprefix('a ')}"
    if typing.get_origin(hint) is Mapping:
        return "settings by name"
    nouns = {int: "a whole number", float: "a number", bool: "true or false", str: "text", datetime.date: "a date"}
    return nouns.get(hint, str(hint).replace("typing.", "").replace("collections.abc.", ""))


def flat(settings: Mapping[str, Plain], where: str = "") -> dict[str, Plain]:
    """Nested settings by their dotted names.

    >>> flat({"method": {"name": "dld", "base": {"kd_weight": 2.0}}})
    {'method.name': 'dld', 'method.base.kd_weight': 2.0}
    """
    dotted: dict[str, Plain] = {}
    for key, value in settings.items():
        path = _join(where, key)
        dotted |= flat(value, path) if isinstance(value, Mapping) else {path: value}
    return dotted


def merge(
    base: Mapping[str, Plain], layer: Mapping[str, Plain], where: str = "", note: Callable[[str], object] = str
) -> dict[str, Plain]:
    """`base` overridden by `layer`. Another `name` means another kind, and drops the old kind's settings: `note`
    receives a line that says so.

    >>> merge({"optim": {"lr": 0.1, "epochs": 3}}, {"optim": {"epochs": 5}})
    {'optim': {'lr': 0.1, 'epochs': 5}}
    """
    name = layer.get("name")
    if name is not None and base.get("name", name) != name:
        dropped = [key for key in base if key != "name" and key not in layer]
        if dropped:
            note(f"{where}.name={name} drops {', '.join(dropped)} of {base['name']}")
        base = {}
    merged = dict(base)
    for key, value in layer.items():
        if isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, Mapping) else {}, value, _join(where, key), note)
        else:
            merged[key] = value
    return merged


def nested(path: str, value: Plain) -> dict[str, Plain]:
    """One dotted setting as nested settings."""
    *parents, last = path.split(".")
    layer = {last: value}
    for key in reversed(parents):
        layer = {key: layer}
    return layer


def parse(text: str) -> Plain:
    """The value of a setting as typed on the command line: YAML, or plain text where it is not YAML.

    Raises `InputError` for a number that YAML reads otherwise than people do.
    """
    try:
        return load(text)
    except AmbiguousNumber as error:
        raise InputError(str(error), location=text) from None
    except YamlError:
        return text


def spell(value: Plain) -> str:
    """A value of a setting as the command line takes it: `parse` reads it back.

    >>> [spell(value) for value in (None, True, 1e-07, "person", "null", ["a", "b: c"])]
    ['null', 'true', '1.0e-07', 'person', "'null'", "[a, 'b: c']"]
    """
    value = plain(value)
    if isinstance(value, str) and _is_spelled(value):
        return value
    readable = _flow_yaml(value, allow_unicode=True)
    return readable if parse(readable) == value else _flow_yaml(value, allow_unicode=False)


def _is_spelled(text: str) -> bool:
    """Whether a text is read as it stands."""
    try:
        return bool(parse(text) == text)
    except InputError:
        return False


def _flow_yaml(value: Plain, *, allow_unicode: bool) -> str:
    """A value on one line; PyYAML does not escape every line separator when it may write Unicode."""
    text: str = yaml.safe_dump(
        value, default_flow_style=True, width=math.inf, allow_unicode=allow_unicode, sort_keys=False
    )
    return text.removesuffix("...\n").removesuffix("\n")
