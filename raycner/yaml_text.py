"""YAML as data of bounded size: no key twice in a mapping, no reference to itself, no document that aliases inflate."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from raycner.errors import InputError
from raycner.hashing import Plain
from raycner.shipped import local_or_shipped

LONGEST = 1 << 20
"""Characters of a document."""
MOST_NODES = 100_000
"""Nodes of a document, each counted as often as aliases repeat it."""
DEEPEST = 50
LONGEST_NUMBER = 100
"""Characters of a number."""


DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
"""How a whole number is written."""


class YamlError(yaml.YAMLError):
    """Text that is not YAML, or not a document that settings need; one line says why."""


class AmbiguousNumber(YamlError):
    """A number that YAML reads otherwise than people do, such as 010, which is 8."""


def load(text: str) -> Plain:
    """The value of a document. Raises `YamlError`."""
    if len(text) > LONGEST:
        raise YamlError(f"more than {LONGEST:,} characters")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node)
        return loader.construct_document(node)
    except YamlError:
        raise
    except RecursionError:
        raise YamlError(f"nested deeper than {DEEPEST} levels") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise YamlError(" ".join(str(error).split())) from None


def load_file(path: str, hint: str) -> Plain:
    """The value of a file, local or shipped. Raises `InputError` with `hint` where it is no document to read."""
    try:
        with Path(local_or_shipped(path)).open("rb") as file:
            content = file.read(LONGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read it ({reason})", location=path, hint=hint) from None
    try:
        return load(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        what = f"not YAML: more than {LONGEST:,} bytes" if len(content) > LONGEST else f"not YAML: {error}"
        raise InputError(what, location=path, hint="correct the file") from None
    except YamlError as error:
        raise InputError(f"not YAML: {error}", location=path, hint="correct the file") from None


def _check(root: yaml.Node) -> None:
    """Walk through a document as whoever reads it does: by every alias."""
    nodes, remaining = 0, [(root, 1)]
    while remaining:
        node, depth = remaining.pop()
        nodes += 1
        if depth > DEEPEST:
            raise YamlError(f"nested deeper than {DEEPEST} levels, or a reference to itself")
        if nodes > MOST_NODES:
            raise YamlError(f"more than {MOST_NODES:,} values, counting those that aliases repeat")
        remaining += [(child, depth + 1) for child in _children(node)]


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    match node:
        case yaml.MappingNode(value=pairs):
            keys: set[tuple[str, str]] = set()
            for key, value in pairs:
                if isinstance(key, yaml.ScalarNode):
                    if (key.tag, key.value) in keys:
                        raise YamlError(f"the key {key.value!r} comes twice, on line {key.start_mark.line + 1}")
                    keys.add((key.tag, key.value))
                yield from (key, value)
        case yaml.SequenceNode(value=items):
            yield from items
        case yaml.ScalarNode(tag=tag, value=text):
            if re.search(":(int|float)$", tag) and len(text) > LONGEST_NUMBER:
                raise YamlError(f"a number of {len(text):,} characters, on line {node.start_mark.line + 1}")
            if node.style is None and tag.endswith(":int") and not DECIMAL.fullmatch(text):
                number = yaml.SafeLoader("").construct_yaml_int(node)
                raise AmbiguousNumber(f"YAML reads {text} as {number}: put it in quotes, '{text}', or write {number}")
