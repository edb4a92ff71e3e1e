"""Recognition: the layout that the name and the first lines of a file tell.

    .conll .bio .iob .tsv .txt    columns; webanno or pubtator by their first line; brat for a .txt with an .ann
    .jsonl .ndjson .json          jsonl, offsets, doccano, label_studio, prodigy, spacy, gliner or bioc, by their keys
    .xml                          bioc or i2b2, by the outermost element
    .conllu  .spacy  .ann         conllu, spacy, brat
    .parquet  .arrow  _conll      parquet, datasets, conll2012

A suffix of compression is ignored.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from raycner.data.layouts.json_values import Value, values
from raycner.data.layouts.webanno import FORMAT
from raycner.data.sources import RawFile
from raycner.errors import InputError

COMPRESSED = (".gz", ".bz2", ".zst")
OF_SUFFIX = {
    **dict.fromkeys((".conll", ".bio", ".iob", ".iob2", ".tsv", ".txt"), "columns"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    ".ann": "brat",
    ".pubtator": "pubtator",
    ".conllu": "conllu",
    ".spacy": "spacy",
    ".parquet": "parquet",
    ".arrow": "datasets",
    ".xml": "i2b2",
}
BY_CONTENT = frozenset(
    {"bioc", "conllu", "doccano", "gliner", "label_studio", "offsets", "prodigy", "pubtator", "spacy", "webanno"}
)
"""Layouts that are recognised by what a file says, and not by its name alone."""
FIRST_LINES = 50
"""Lines that are looked at."""
_PUBTATOR = re.compile(r"[^|\t]+\|t\|")
_CONLLU = re.compile(r"(?:1|1-\d+)(?:\t[^\t]+){9}", re.ASCII)
_BIOC = re.compile("<collection[\\s>]|BioC\\.dtd")


def recognised(file: RawFile, files: Sequence[RawFile] = ()) -> str | None:
    """The layout of a file, None where neither name nor content tells it. `files` are its neighbours: a .txt with an
    .ann of its name among them is brat's."""
    path = PurePosixPath(file.name.lower())
    while path.suffix in COMPRESSED:
        path = path.with_suffix("")
    if path.name.endswith("_conll"):
        return "conll2012"
    annotations = file.name.removesuffix(".txt") + ".ann"
    if path.suffix == ".txt" and any(other.name == annotations for other in files):
        return "brat"
    layout = OF_SUFFIX.get(path.suffix)
    if layout in ("columns", None):
        return _of_lines(file) or layout
    if layout == "jsonl":
        return _of_json(file) or layout
    return "bioc" if layout == "i2b2" and any(map(_BIOC.search, _first_lines(file))) else layout


def _of_lines(file: RawFile) -> str | None:
    lines = _first_lines(file)
    if lines and lines[0].startswith(FORMAT):
        return "webanno"
    if lines and _PUBTATOR.match(lines[0]):
        return "pubtator"
    return "conllu" if any(map(_CONLLU.fullmatch, lines)) else None


def _first_lines(file: RawFile) -> list[str]:
    try:
        return [line for _, line in islice(file.lines(), FIRST_LINES) if line.strip()]
    except InputError:
        return []


def _of_json(file: RawFile) -> str | None:
    try:
        first = next(values(file), None)
    except InputError:
        return None
    value = first.value if isinstance(first, Value) else None
    if isinstance(value, list):
        return "spacy" if len(value) == 2 and isinstance(value[0], str) else None
    return _of_keys(value) if isinstance(value, Mapping) else None


def _of_keys(fields: Mapping[str, Any]) -> str | None:
    """The layout of JSON objects with these fields."""
    keys = fields.keys()
    if "tokenized_text" in keys:
        return "gliner"
    if "tokens" in keys and not {"text", "answer"} <= keys and "ents" not in keys:
        return "jsonl"
    if "documents" in keys or "PubTator3" in keys or "passages" in keys:
        return "bioc"
    if ("data" in keys and {"annotations", "completions", "predictions"} & keys) or _has_member("labels", fields):
        return "label_studio"
    if "ents" in keys:
        return "spacy"
    if "answer" in keys or "spans" in keys:
        return "prodigy"
    if {"label", "labels"} & keys or _has_member("start_offset", fields):
        return "doccano"
    return "offsets" if "text" in keys else None


def _has_member(key: str, fields: Mapping[str, Any]) -> bool:
    """Whether a list of the fields has an object with this key."""
    items = (item for value in fields.values() if isinstance(value, list) for item in value)
    return any(isinstance(item, Mapping) and key in item for item in items)
