"""Damage to files: bytes, JSON, YAML, safetensors and Arrow, drawn by a seeded generator.

Every function returns other bytes than it was given, or what still parses with other content: types are exchanged,
numbers are huge or no numbers, keys come twice, texts hold escapes, NUL, lone surrogates and paths, values are nested
deeply, tensors have other shapes and types.
"""

import copy
import io
import json
import struct
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pyarrow as pa
import yaml

TEXTS = [
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\ud800",
        "\x1b]0;x\x07",
        "[/b]",
        "<script>",
        "\u202e",
        "\N{FACE WITH TEARS OF JOY}",
        "%s",
    ),
    *("../../victim/MANIFEST", "/etc/passwd", "file:///etc/passwd", "..", ".", "~", "a/b", "linked", "NaN", "1e999"),
    *("person", "dev", "none", "null", "true", "*", "?", "[a", "x" * 5000, "s3://user:pass@bucket/x", "http://[::1"),
]
NUMBERS = [0, 1, -1, 2, 3, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e308, 5e-324]
NO_NUMBERS = [float("nan"), float("inf"), float("-inf")]
OTHERS: list[Any] = [None, True, False, [], {}, [[]], {"": {}}, [None], {"name": "linear"}, {"a": 1}, [0, 1, 2]]
BYTES = [
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"9" * 5000,
    b"\n",
    b'"',
    b"}",
]


def any_value(random: Random) -> Any:
    """A value that belongs nowhere."""
    kind = random.random()
    if kind < 0.35:
        return random.choice(TEXTS)
    if kind < 0.6:
        return random.choice(NUMBERS)
    if kind < 0.7:
        return random.choice(NO_NUMBERS)
    if kind < 0.75:
        return nested(random.choice([20, 200, 900]), random)
    return copy.deepcopy(random.choice(OTHERS))


def nested(depth: int, random: Random) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if random.random() < 0.5 else {"a": value}
    return value


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a value, with each of its keys."""
    pending = [value]
    while pending:
        container = pending.pop()
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for key, item in items:
            yield container, key
            if isinstance(item, dict | list):
                pending.append(item)


def damage_value(value: Any, random: Random) -> Any:
    """A plain value with one place changed, taken away or added."""
    every = list(places(value)) if isinstance(value, dict | list) else []
    if not every or random.random() < 0.02:
        return any_value(random)
    container, key = random.choice(every)
    kind = random.random()
    if kind < 0.15:
        del container[key]
    elif kind < 0.25:
        other, other_key = random.choice(every)
        container[key] = copy.deepcopy(other[other_key])
    elif kind < 0.32 and isinstance(container, dict):
        container[random.choice(TEXTS)] = container.pop(key)
    elif kind < 0.38 and isinstance(container, dict):
        container[random.choice([*TEXTS, "extra"])] = any_value(random)
    elif kind < 0.42 and isinstance(container, list):
        container[key:key] = [copy.deepcopy(container[key])] * random.choice([1, 2, 100])
    elif kind < 0.6 and isinstance(container[key], int | float) and not isinstance(container[key], bool):
        container[key] = random.choice(
            [container[key] + 1, -container[key], *NUMBERS, *NO_NUMBERS, str(container[key])]
        )
    elif kind < 0.7 and isinstance(container[key], str):
        text = container[key]
        at = random.randint(0, len(text))
        container[key] = random.choice([text.upper(), text[:at], text[:at] + random.choice(TEXTS) + text[at:]])
    else:
        container[key] = any_value(random)
    return value


def damage_bytes(content: bytes, random: Random) -> bytes:
    """Bytes cut, flipped, doubled or replaced."""
    kind = random.random()
    if kind < 0.25:
        return content[: random.randint(0, len(content))]
    if kind < 0.5 and content:
        flipped = bytearray(content)
        for _ in range(random.choice([1, 1, 1, 3, 20])):
            flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
        return bytes(flipped)
    start = random.randint(0, len(content))
    end = min(len(content), start + random.choice([0, 0, 1, 5, 20, len(content)]))
    piece = random.choice([b"", content[start:end] * 2, random.choice(BYTES), bytes(random.choice([1, 100]))])
    return content[:start] + piece + content[end:]


def damage_json(content: bytes, random: Random) -> bytes:
    """JSON that is no JSON, or says something else."""
    kind = random.random()
    if kind < 0.2:
        return damage_bytes(content, random)
    text = json.dumps(_damaged(json.loads(content), random), ensure_ascii=True)
    if kind < 0.25 and '": ' in text:  # a key that comes twice
        at = random.choice([i for i in range(len(text)) if text.startswith('": ', i)])
        key = text[text.rfind('"', 0, at) : at + 3]
        end = text.rfind(key, 0, at + 3)
        text = f"{text[:end]}{key}{json.dumps(any_value(random))}, {text[end:]}"
    return text.encode()


def damage_lines(content: bytes, random: Random) -> bytes:
    """Lines of JSON, one of which is damaged, doubled, moved or left out."""
    lines = content.splitlines(keepends=True)
    at, kind = random.randrange(len(lines)), random.random()
    if kind < 0.2:
        return damage_bytes(content, random)
    if kind < 0.3:
        del lines[at]
    elif kind < 0.4:
        lines.insert(random.randrange(len(lines)), lines[at])
    else:
        lines[at] = damage_json(lines[at], random) + b"\n"
    return b"".join(lines)


def damage_yaml(content: bytes, random: Random) -> bytes:
    """YAML that is no YAML, or says something else."""
    if random.random() < 0.25:
        return damage_bytes(content, random)
    try:
        text = yaml.safe_dump(_damaged(yaml.safe_load(content), random), allow_unicode=random.random() < 0.5)
    except (yaml.YAMLError, RecursionError, ValueError):
        return damage_bytes(content, random)
    if random.random() < 0.1:
        text += "\n" + random.choice(
            [text, "a: &a [*a]\n", "b: !!python/name:os.system\n", "c: 0o777\n", "<<: {d: 1}\n"]
        )
    return text.encode("utf-8", "surrogatepass")


def _damaged(value: Any, random: Random) -> Any:
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        value = damage_value(value, random)
    return value


def damage_safetensors(content: bytes, random: Random) -> bytes:
    """A file of tensors with another header, or with other tensors."""
    if random.random() < 0.3:
        return damage_bytes(content, random)
    (size,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    kind, name = random.random(), random.choice([key for key in header if key != "__metadata__"])
    tensor = header[name]
    if kind < 0.1:
        size = random.choice([0, 1, size - 1, size + 1, 2**31, 2**63, 2**64 - 1])
        return struct.pack("<Q", size) + content[8:]
    if kind < 0.2:
        del header[name]
    elif kind < 0.3:
        tensor["dtype"] = random.choice(["F16", "BF16", "I64", "F64", "I8", "BOOL", "F8_E4M3", "x", 1])
    elif kind < 0.45:
        tensor["shape"] = random.choice(
            [tensor["shape"][::-1], [*tensor["shape"], 1], [2**62, 4], [-1], [0], [], tensor["shape"] * 2]
        )
    elif kind < 0.55:
        header[random.choice([*TEXTS, name + ".more"])] = header.pop(name)
    elif kind < 0.75:  # a tensor of another shape, type or content, in a file that is well formed
        dtype, width = random.choice([("F32", 4), ("F64", 8), ("F16", 2), ("I64", 8), ("U8", 1)])
        shape = random.choice([tensor["shape"], tensor["shape"][::-1], [1], [0], [3, 2], []])
        count = 1
        for length in shape:
            count *= length
        fill = random.choice([b"\x00", b"\xff", b"\x7f", b"\x01"])
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + count * width]}
        data += fill * (count * width)
        return _safetensors(_packed(header, data))
    else:
        _damaged(header, random)
    return _safetensors((header, data))


def _packed(header: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """A header whose tensors lie one after another, as the format demands."""
    packed, at = bytearray(), 0
    for name, tensor in header.items():
        if name != "__metadata__":
            start, end = tensor["data_offsets"]
            packed += data[start:end]
            tensor["data_offsets"] = [at, at := at + end - start]
    return header, bytes(packed)


def _safetensors(file: tuple[Any, bytes]) -> bytes:
    header = json.dumps(file[0]).encode()
    return struct.pack("<Q", len(header)) + header + file[1]


def damage_arrow(content: bytes, random: Random) -> bytes:
    """An Arrow stream with damaged bytes, or with other rows or columns."""
    if random.random() < 0.4:
        return damage_bytes(content, random)
    table = pa.ipc.open_stream(content).read_all()
    rows: list[Any] = table.to_pylist()
    if not rows:
        return damage_bytes(content, random)
    for _ in range(random.choice([1, 1, 3])):
        _damage_row(random.choice(rows), random)
    if random.random() < 0.1:
        rows = rows[: random.choice([0, 1])]
    schema = table.schema if random.random() < 0.8 else None
    try:
        damaged = pa.Table.from_pylist(rows, schema)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return damage_bytes(content, random)
    if random.random() < 0.1:
        damaged = damaged.select(damaged.column_names[: random.randint(0, 3)])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, damaged.schema) as writer:
        writer.write_table(damaged, max_chunksize=random.choice([None, 1, 7]))
    return sink.getvalue()


def _damage_row(row: dict[str, Any], random: Random) -> None:
    kind = random.random()
    if kind < 0.2:
        row[random.choice(sorted(row))] = random.choice([None, [], 0, "x"])
    elif kind < 0.4 or not row.get("entities"):
        row["words"] = random.choice([[], [""], [None], ["a\0b"], [" "], ["\n"], ["x" * 5000], ["word"] * 5000])
    else:
        entity = random.choice(row["entities"]) or {}
        entity[random.choice(["start", "end", "type"])] = random.choice([None, -1, 0, 1, 5, 10**6, 2**31 - 1, "", "x"])


def damage_text(content: bytes, random: Random) -> bytes:
    """A line of text, such as the content of a lock."""
    words = content.split(b" ")
    if random.random() < 0.5:
        return damage_bytes(content, random)
    words[random.randrange(len(words))] = random.choice([*TEXTS, *map(str, NUMBERS)]).encode("utf-8", "replace")
    return b" ".join(words)


DAMAGES: dict[str, Callable[[bytes, Random], bytes]] = {
    ".json": damage_json,
    ".log": damage_lines,
    ".yaml": damage_yaml,
    ".safetensors": damage_safetensors,
    ".arrow": damage_arrow,
    "MANIFEST": damage_json,
}
