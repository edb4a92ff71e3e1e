"""What every setting is: its dotted name, its type, its default and the docstring under its field."""

import ast
import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from raycner.registry import Registry
from raycner.settings import default_of, field_types, spell, type_in_words

SENTENCE_END = re.compile(r"(?<=[^.]\.)\s+(?=[A-Z`])")


@dataclass(frozen=True)
class SettingDoc:
    """One setting."""

    name: str
    """Dotted."""
    type: str
    """In words."""
    default: str | None
    """As the command line takes it; None if the setting must be set."""
    doc: str
    """What the setting is, as a paragraph; empty where the name says it all."""
    kind: str = ""
    """The method, head, encoder, protocol or layout that has it; empty for a setting of every run."""

    @property
    def summary(self) -> str:
        """The first sentence of the paragraph."""
        return SENTENCE_END.split(self.doc)[0]


def setting_docs(kind: type[Any], path: str = "") -> tuple[SettingDoc, ...]:
    """The settings of a dataclass at or below a dotted path, all of them for "".

    The members of a family (method, head, ...) are listed where the path leads into the family; otherwise only the
    setting that chooses one is.
    """
    docs = _walk(kind, "", path, "")
    return tuple(dict.fromkeys(doc for doc in docs if _is_within(doc.name, path)))


def _walk(kind: Any, where: str, path: str, chosen: str) -> Iterator[SettingDoc]:
    docstrings, types = field_docstrings(kind), field_types(kind)
    for field in dataclasses.fields(kind):
        name, hint, default = f"{where}{field.name}", types[field.name], default_of(field)
        doc = " ".join(docstrings.get(field.name, "").split())
        family = vars(hint).get("family") if isinstance(hint, type) else None
        members = [member for member in typing.get_args(hint) if dataclasses.is_dataclass(member)]
        if isinstance(family, Registry):
            choices = f"one of {', '.join(family.names)}"
            yield SettingDoc(f"{name}.name", choices, getattr(default, "name", None), doc, chosen)
            if _is_within(path, name):
                for member in family.names:
                    yield from _walk(family.find(member, name), f"{name}.", path, member)
        elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from _walk(hint, f"{name}.", path, chosen)
        elif typing.get_origin(hint) is tuple and members:
            yield from _walk(typing.cast(type, members[0]), f"{name}.N.", path, chosen)
        else:
            default_text = None if default is dataclasses.MISSING else spell(default)
            yield SettingDoc(name, type_in_words(hint), default_text, doc, chosen)


def _is_within(name: str, path: str) -> bool:
    """Whether a dotted name is a path or lies below it."""
    return not path or f"{name}.".startswith(f"{path}.")


@cache
def field_docstrings(kind: type[Any]) -> dict[str, str]:
    """The docstrings under the fields of a dataclass and of those it inherits from, read from their source."""
    docstrings: dict[str, str] = {}
    for cls in reversed(kind.__mro__[:-1]):
        if not dataclasses.is_dataclass(cls):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for statement, following in pairwise(body):
            match statement, following:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    docstrings[name] = text
    return docstrings
