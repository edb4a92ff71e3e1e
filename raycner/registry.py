"""Registries: families of frozen values, one class a name, such as the methods or the heads.

A hyper-parameter is a field, and its one name is the dotted path that leads to it. Values that come in kinds (methods,
heads, encoders) are registered by name in a `Registry`, and carry that name.
"""

import dataclasses
import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol, TypeVar, dataclass_transform

from raycner.errors import InputError

T = TypeVar("T")


class Named(Protocol):
    """A value of a family: it knows the name it was registered under."""

    name: ClassVar[str]


class Registry(dict[str, type[Any]]):
    """The kinds of one abstract value, by name: `METHODS["dld"]`.

    >>> FRUITS = Registry("fruit")
    >>> @FRUITS.register("apple")
    ... class Apple:
    ...     weight: float = 0.2
    >>> FRUITS["apple"](weight=0.3)
    Apple(weight=0.3)
    """

    def __init__(self, noun: str) -> None:
        super().__init__()
        self.noun = noun

    @dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Register a class as the kind `name`, and make it a frozen, keyword-only dataclass."""

        def add(cls: type[T]) -> type[T]:
            if name in self:
                raise TypeError(f"{self.noun} {name!r} is defined twice: {self[name].__module__} and {cls.__module__}")
            cls.name = name  # type: ignore[attr-defined]
            self[name] = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
            return cls

        return add

    def find(self, name: object, where: str) -> type[Any]:
        """The kind called `name`, or a refusal that lists the nearest names."""
        if not isinstance(name, str) or name not in self:
            raise InputError(f"no {self.noun} is called {name!r}", location=where, hint=suggest(str(name), self))
        return self[name]


def suggest(word: str, known: Iterable[str]) -> str:
    """The remedy for a misspelt name: the nearest known ones, or all of them when none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}"


def discover(package: str, path: Iterable[str]) -> None:
    """Import every module of a package, so that what they register is known."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
