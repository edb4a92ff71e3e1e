"""JSON values of a file: one a line, or one document, whose outermost array stands for its items."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from raycner.data.layouts.jsonl import Object
from raycner.data.layouts.layout import brief, filled
from raycner.data.sources import RawFile
from raycner.errors import InputError

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
HINT = "write one JSON object a line, or one array of objects"


class Value(NamedTuple):
    """A JSON value, and the line where it begins."""

    file: RawFile
    line: int
    value: Any


def every_item(files: Sequence[RawFile]) -> Iterator[Object | InputError]:
    """The objects of files, each of which must have some, and an error in place of what is none."""
    for file in files:
        yield from filled(_objects(file), file)


def _objects(file: RawFile) -> Iterator[Object | InputError]:
    for value in values(file):
        try:
            yield value if isinstance(value, InputError) else as_object(value)
        except InputError as error:
            yield error


def as_object(value: Value) -> Object:
    """A value that is an object. Raises `InputError` for any other."""
    if not isinstance(value.value, dict):
        raise InputError(f"found {brief(value.value)}", location=f"{value.file.name}:{value.line}", hint=HINT)
    return Object(value.file, value.line, value.value)


def values(file: RawFile) -> Iterator[Value | InputError]:
    """The values of a file. A file whose first line is a whole object is read line by line, with an error in place of a
    line that is not JSON; any other is read at once. Raises `InputError` for one that is not JSON."""
    if not _begins_with_a_whole_object(file):
        yield from _of_document(file)
        return
    for number, line in file.lines():
        if line.strip():
            try:
                yield Value(file, number, _parsed(line, file, number))
            except InputError as error:
                yield error


def _parsed(text: str, file: RawFile, line: int) -> Any:
    """The value that a line is. Raises `InputError`."""
    value, end = _decoded(text, _space(text, 0), file, line)
    if _space(text, end) < len(text):
        what = f"not JSON: extra text at character {end + 1}"
        raise InputError(what, location=f"{file.name}:{line}", hint=HINT)
    return value


def _begins_with_a_whole_object(file: RawFile) -> bool:
    try:
        first = next((line for _, line in file.lines() if line.strip()), "")
        return first.lstrip().startswith("{") and isinstance(json.loads(first), dict)
    except (InputError, ValueError, RecursionError):
        return False


def _of_document(file: RawFile) -> Iterator[Value]:
    text = file.text()
    in_array = text.startswith("[", _space(text, 0))
    position = _space(text, _space(text, 0) + in_array)
    line, counted = 1, 0
    closed = not in_array
    while position < len(text):
        if in_array and text[position] == "]":
            closed, position = True, _space(text, position + 1)
            break
        line, counted = line + text.count("\n", counted, position), position
        value, position = _decoded(text, position, file, line)
        yield Value(file, line, value)
        position = _space(text, position)
        if in_array and text.startswith(",", position):
            position = _space(text, position + 1)
        elif in_array and not text.startswith("]", position):
            break
    if position < len(text) or not closed:
        what = "extra text after the array" if closed else "an array that is not closed"
        raise InputError(f"not JSON: {what}", location=f"{file.name}:{line}", hint="is the file complete?")


def _decoded(text: str, position: int, file: RawFile, line: int) -> tuple[Any, int]:
    location = f"{file.name}:{line}"
    try:
        value, end = _DECODER.raw_decode(text, position)
        if text.find("\\u", position, end) >= 0:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        hint = "write the character itself, in UTF-8"
        raise InputError("an escape names half a character", location=location, hint=hint) from None
    except json.JSONDecodeError as error:
        number = line + text.count("\n", position, error.pos)
        what = f"not JSON: {error.msg} at character {error.pos - text.rfind(chr(10), 0, error.pos)}"
        raise InputError(what, location=f"{file.name}:{number}", hint=HINT) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", location=location, hint=HINT) from None
    return value, end


def _space(text: str, position: int) -> int:
    """The position of the first character from `position` on that is no space."""
    match = _SPACE.match(text, position)
    return match.end() if match else position
