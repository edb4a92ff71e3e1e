"""Values: the frozen dataclasses that configurations, fingerprints and ledgers are made of.

A hyper-parameter is a field, and its one name is the dotted path that leads to it. Values that come in kinds (methods,
heads, encoders) form a `Family` and carry the name of their kind; everything else is told by its fields alone.
"""

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, ClassVar, Protocol, TypeVar, dataclass_transform

from pydantic import ConfigDict, TypeAdapter, ValidationError

from raycner.errors import Refusal

T = TypeVar("T")
Plain = Any
"""What JSON can say: None, bool, int, float, str, lists and string-keyed dicts of these."""


class Named(Protocol):
    """A value of a family: it knows the name it was registered under."""

    name: ClassVar[str]


class Family(dict[str, type[Any]]):
    """The kinds of one abstract value, by name: `METHODS["dld"]`.

    >>> FRUITS = Family("fruit")
    >>> @FRUITS.kind("apple")
    ... class Apple:
    ...     weight: float = 0.2
    >>> FRUITS["apple"](weight=0.3)
    Apple(weight=0.3)
    """

    def __init__(self, noun: str) -> None:
        super().__init__()
        self.noun = noun

    @dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
    def kind(self, name: str) -> Callable[[type[T]], type[T]]:
        """Register a class as the kind `name`, and make it a frozen, keyword-only dataclass."""

        def register(cls: type[T]) -> type[T]:
            if name in self:
                raise TypeError(f"{self.noun} {name!r} is defined twice: {self[name].__module__} and {cls.__module__}")
            cls.name = name  # type: ignore[attr-defined]
            self[name] = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
            return cls

        return register

    def find(self, name: object, where: str) -> type[Any]:
        """The kind called `name`, or a refusal that lists the nearest names."""
        if not isinstance(name, str) or name not in self:
            raise Refusal(f"no {self.noun} is called {name!r}", where=where, remedy=suggest(str(name), self))
        return self[name]


def suggest(word: str, known: Iterable[str]) -> str:
    """The remedy for a misspelt name: the nearest known ones, or all of them when none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}"


def unhashed(**options: Any) -> Any:
    """A field that does not determine any weight (where a thing lies, not what it is): left out of fingerprints."""
    return dataclasses.field(**options, metadata={"hashed": False})


def younger(default: Any) -> Any:
    """A field that came when stores held steps already, and whose default means "as before": at it, the field is left
    out of fingerprints, so that nothing loses its name."""
    return dataclasses.field(default=default, metadata={"unsaid": default})


def build(kind: type[T], given: Mapping[str, Plain], where: str = "", default: T | None = None) -> T:
    """Make a value of `kind` from plain data: unknown keys refused, every leaf coerced by its annotation.

    `default` supplies what `given` does not say; without it the dataclass defaults do. A family's member is chosen by
    the key `name`. Raises `Refusal` with the dotted path, the value and the remedy.
    """
    if not isinstance(given, Mapping):
        raise Refusal(f"expected settings, found {given!r}", where=where, remedy=f"write {where}.KEY=VALUE")
    family = vars(kind).get("family")
    if isinstance(family, Family):
        name = given.get("name", getattr(default, "name", None))
        if name is None:
            remedy = f"known: {', '.join(sorted(family))}"
            raise Refusal(f"no {family.noun} is chosen", where=f"{where}.name", remedy=remedy)
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
            remedy = suggest(str(key), known) if fields else f"{getattr(kind, 'name', kind.__name__)} has no settings"
            raise Refusal("no such setting", where=_join(where, key), remedy=remedy)
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
            raise Refusal("missing", where=_join(where, key), remedy=f"write {_join(where, key)}=VALUE")
    try:
        return kind(**made)
    except ValueError as error:
        raise Refusal(str(error), where=where) from None


def _coerce(hint: Any, value: Plain, where: str, fallback: Any) -> Any:
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or "family" in vars(hint)):
        if isinstance(value, hint):
            return value
        return build(hint, value, where, None if fallback is dataclasses.MISSING else fallback)
    members = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and dataclasses.is_dataclass(members[0]):
        if not isinstance(value, (list, tuple)):
            raise Refusal(f"expected a list, found {value!r}", where=where, remedy="write a list of settings")
        return tuple(build(typing.cast(type, members[0]), item, f"{where}.{i}") for i, item in enumerate(value))
    try:
        return _adapter(hint).validate_python(value)
    except ValidationError as error:
        found = error.errors()[0]
        remedy = f"expected {_say(hint)}"
        raise Refusal(f"{found['msg'].lower()}, found {value!r}", where=where, remedy=remedy) from None


def plain(value: Any, *, hashed: bool = False) -> Plain:
    """A value as JSON can say it; `hashed=True` leaves out fields declared `unhashed`, and `younger` ones unused."""
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

    Raises `Refusal` for numbers that JSON cannot say.
    """
    try:
        return json.dumps(plain(value, hashed=True), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise Refusal("a setting is infinite or not a number", remedy="give every setting a finite value") from None


def fingerprint(value: Any) -> str:
    """The first 16 hexadecimal digits of the sha256 of a value's canonical spelling."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


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
