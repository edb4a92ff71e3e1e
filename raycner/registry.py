"""Registries: families of frozen values, one class per name, such as the methods or the heads.

A hyper-parameter is a field; its only name is the dotted path to it. Values of several kinds (methods, heads, encoders,
layouts, protocols) are registered by name in a `Registry` and carry that name.

A kind may also come from an installed package, by an entry point whose name is the name of the kind:

    [project.entry-points."raycner.methods"]
    my_method = "my_package.my_method"

The module is imported when the name is first looked up.
"""

import dataclasses
import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
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

    def __init__(self, noun: str, group: str = "") -> None:
        super().__init__()
        self.noun = noun
        self.group = group
        """The entry points by which installed packages add kinds; none when empty."""

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

    @property
    def names(self) -> list[str]:
        """The names of all kinds, sorted, those of installed packages included. Imports nothing."""
        return sorted({*self, *self._installed()})

    def find(self, name: object, location: str) -> type[Any]:
        """The kind called `name`. Raises `InputError` with the nearest names."""
        try:
            return self[str(name)]
        except KeyError:
            hint = suggest(str(name), self.names)
            raise InputError(f"no {self.noun} is called {name!r}", location=location, hint=hint) from None

    def __missing__(self, name: str) -> type[Any]:
        """The kind called `name` from an installed package. Raises `InputError` if the package cannot provide it."""
        entry = self._installed().get(name)
        if entry is None:
            raise KeyError(name)
        package = entry.dist.name if entry.dist is not None else entry.value
        try:
            entry.load()
        except Exception as error:
            line = f"{entry.value} cannot be imported ({type(error).__name__}: {error})"
            hint = f"fix or uninstall the package that declares the {self.noun} {name!r}"
            raise InputError(line, location=f"package {package}", hint=hint) from error
        if name not in self:
            line = f"{entry.value} registers no {self.noun} called {name!r}"
            hint = "give the entry point the name that the class is registered under"
            raise InputError(line, location=f"package {package}", hint=hint)
        return self[name]

    def _installed(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=self.group)} if self.group else {}


def suggest(word: str, names: Iterable[str]) -> str:
    """The hint for a misspelt name: the nearest names, or all of them when none is near."""
    names = sorted(names)
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"


def discover(package: str, path: Iterable[str]) -> None:
    """Import every module of a package, so that the classes in it are registered."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
