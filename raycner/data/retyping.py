"""Retyping: other types for a model that is not trained again. Types are dropped, renamed and merged.

Retyping(drop=("date",), rename={"PER": "person"}, merge={"place": ("city", "country")})
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from raycner.errors import InputError
from raycner.registry import suggest


@dataclass(frozen=True, kw_only=True)
class Retyping:
    """How a model's types change."""

    drop: tuple[str, ...] = ()
    """Types that are predicted no more."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Old name -> new name."""
    merge: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """New type -> the types that it is made of: an entity of any of them is one of the new type."""

    def __bool__(self) -> bool:
        return bool(self.drop or self.rename or self.merge)

    @property
    def lines(self) -> list[str]:
        """What is done, for people."""
        dropped = [f"without {', '.join(self.drop)}"] if self.drop else []
        renamed = [f"{old} is called {new}" for old, new in self.rename.items()]
        merged = [f"{', '.join(parts)} are merged into {new}" for new, parts in self.merge.items()]
        return [*dropped, *renamed, *merged]

    def names(self, types: Sequence[str]) -> dict[str, str]:
        """The new name of each type that remains, in the order of the old ones.

        Raises `InputError` for a type that is not there or named twice, for a name that another type has, and where
        none remains.
        """
        self._require_types(types)
        merged = {part: new for new, parts in self.merge.items() for part in parts}
        changes = {**self.rename, **merged}
        names = {name: changes.get(name, name) for name in types if name not in self.drop}
        if not names:
            raise InputError("no type is left", location="--drop", hint="drop fewer types")
        for new in self.merge:
            _require_free(new, [name for name in names if name not in merged], names, "--merge")
        for old, new in self.rename.items():
            _require_free(new, [name for name in names if name != old], names, "--rename")
        return names

    def _require_types(self, types: Sequence[str]) -> None:
        named: set[str] = set()
        parts = [part for parts in self.merge.values() for part in parts]
        for option, chosen in (("--drop", self.drop), ("--rename", [*self.rename]), ("--merge", parts)):
            for name in chosen:
                if name not in types:
                    raise InputError(f"the model has no type {name!r}", location=option, hint=suggest(name, types))
                if name in named:
                    raise InputError(f"{name!r} is named twice", location=option, hint="do one thing with each type")
                named.add(name)
        for new, parts_of_one in self.merge.items():
            if len(parts_of_one) < 2:
                what = f"{new!r} is made of fewer than two types"
                raise InputError(what, location="--merge", hint="write --merge city,country=place")


def _require_free(new: str, others: Collection[str], names: Mapping[str, str], option: str) -> None:
    if new in {names[name] for name in others}:
        what = f"another type is called {new!r}"
        raise InputError(what, location=option, hint="choose another name, or --merge both")
