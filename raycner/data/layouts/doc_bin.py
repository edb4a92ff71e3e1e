"""DocBin: spaCy's binary form of documents, which is msgpack, compressed by zlib.

A table of 64-bit numbers has a row a word and a column an attribute. A text in it is a hash, MurmurHash64A with seed 1,
whose text is among `strings`; small numbers are symbols, words that spaCy itself uses. `spaces` says which words a
space follows, so the text is whole.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from raycner.data.sources import LARGEST, RawFile
from raycner.errors import InputError

ORTH, ENT_IOB, ENT_TYPE = 65, 77, 78
"""The attributes that are read; the table has them in ascending order."""
MISSING, INSIDE, OUTSIDE, BEGIN = range(4)
"""The values of ENT_IOB."""
SYMBOLS: tuple[str, ...] = (
    *("", "IS_ALPHA", "IS_ASCII", "IS_DIGIT", "IS_LOWER", "IS_PUNCT", "IS_SPACE", "IS_TITLE", "IS_UPPER", "LIKE_URL"),
    *("LIKE_NUM", "LIKE_EMAIL", "IS_STOP", "IS_OOV_DEPRECATED", "IS_BRACKET", "IS_QUOTE", "IS_LEFT_PUNCT"),
    *("IS_RIGHT_PUNCT", "IS_CURRENCY", *(f"FLAG{number}" for number in range(19, 64))),
    *("ID", "ORTH", "LOWER", "NORM", "SHAPE", "PREFIX", "SUFFIX", "LENGTH", "CLUSTER", "LEMMA", "POS", "TAG", "DEP"),
    *("ENT_IOB", "ENT_TYPE", "HEAD", "SENT_START", "SPACY", "PROB", "LANG"),
    *("ADJ", "ADP", "ADV", "AUX", "CONJ", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT"),
    *("SCONJ", "SYM", "VERB", "X", "EOL", "SPACE", *(f"DEPRECATED{number:03}" for number in range(1, 277))),
    *("PERSON", "NORP", "FACILITY", "ORG", "GPE", "LOC", "PRODUCT", "EVENT", "WORK_OF_ART", "LANGUAGE", "LAW", "DATE"),
    *("TIME", "PERCENT", "MONEY", "QUANTITY", "ORDINAL", "CARDINAL"),
    *("acomp", "advcl", "advmod", "agent", "amod", "appos", "attr", "aux", "auxpass", "cc", "ccomp", "complm", "conj"),
    *("cop", "csubj", "csubjpass", "dep", "det", "dobj", "expl", "hmod", "hyph", "infmod", "intj", "iobj", "mark"),
    *("meta", "neg", "nmod", "nn", "npadvmod", "nsubj", "nsubjpass", "num", "number", "oprd", "obj", "obl"),
    *("parataxis", "partmod", "pcomp", "pobj", "poss", "possessive", "preconj", "prep", "prt", "punct", "quantmod"),
    *("relcl", "rcmod", "root", "xcomp", "acl", "ENT_KB_ID", "MORPH", "ENT_ID", "IDX", "_"),
)
"""The texts of the numbers from 0 on, the same since spaCy 3.0."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a DocBin, with entities in characters of its text."""

    number: int
    text: str
    entities: tuple[tuple[int, int, str], ...]
    unannotated: int
    """Words without an annotation: neither in an entity nor outside."""


def documents(file: RawFile) -> Iterator[Document]:
    """The documents of a file. Raises `InputError` for one that is damaged, or is no DocBin."""
    fields = _fields(file)
    texts = _texts(_member(fields, "strings", list, file))
    columns = _member(fields, "attrs", list, file)
    for attribute, name in ((ORTH, "ORTH"), (ENT_IOB, "ENT_IOB"), (ENT_TYPE, "ENT_TYPE")):
        if attribute not in columns:
            raise _damaged(file, f"without the attribute {name}", "save it with attrs that have ENT_IOB and ENT_TYPE")
    table = np.frombuffer(_whole(_member(fields, "tokens", bytes, file), 8 * len(columns), file), "<u8")
    words, iob, types = (table.reshape(-1, len(columns))[:, columns.index(a)] for a in (ORTH, ENT_IOB, ENT_TYPE))
    spaces = np.frombuffer(_member(fields, "spaces", bytes, file), bool)
    lengths = np.frombuffer(_whole(_member(fields, "lengths", bytes, file), 4, file), "<i4")
    if (lengths < 0).any() or not lengths.sum() == len(words) == len(spaces):
        raise _damaged(file, "with words that are not those of its documents")
    start = 0
    for number, length in enumerate(lengths.tolist(), start=1):
        rows = slice(start, start + length)
        start += length
        try:
            yield _document(number, words[rows].tolist(), spaces[rows], iob[rows].tolist(), types[rows].tolist(), texts)
        except KeyError as error:
            raise _damaged(file, f"without the text of {error.args[0]}, in document {number}") from None


def _document(
    number: int, words: list[int], spaces: Any, iob: list[int], types: list[int], texts: Mapping[int, str]
) -> Document:
    pieces, entities = list[str](), list[tuple[int, int, str]]()
    start, previous = 0, OUTSIDE
    for word, space, prefix, kind in zip(words, spaces.tolist(), iob, types, strict=True):
        end = start + len(texts[word])
        if prefix == BEGIN or (prefix == INSIDE and previous not in (BEGIN, INSIDE)):
            entities.append((start, end, texts[kind]))
        elif prefix == INSIDE:
            entities[-1] = (entities[-1][0], end, entities[-1][2])
        pieces.append(texts[word] + " " * space)
        start, previous = end + space, prefix
    return Document(number, "".join(pieces), tuple(entities), iob.count(MISSING))


def _fields(file: RawFile) -> Mapping[str, Any]:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(b"".join(file.blocks()), LARGEST)
        if unpacker.unconsumed_tail:
            what = f"more than {LARGEST >> 20} MiB in it"
            raise InputError(what, location=file.name, hint="save it in several files")
        fields = msgpack.unpackb(content, strict_map_key=False)
    except (zlib.error, ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise _damaged(file, f"({str(error)[:60]})") from None
    if not isinstance(fields, dict):
        raise _damaged(file, "without fields")
    return fields


def _texts(strings: list[Any]) -> dict[int, str]:
    """The texts of a DocBin by their numbers."""
    others = {text for text in strings if isinstance(text, str)} - set(SYMBOLS)
    return dict(enumerate(SYMBOLS)) | {murmur_hash(text.encode()): text for text in others}


def _member(fields: Mapping[str, Any], key: str, kind: type[Any], file: RawFile) -> Any:
    if not isinstance(fields.get(key), kind):
        raise _damaged(file, f"without {key}")
    return fields[key]


def _whole(content: bytes, size: int, file: RawFile) -> bytes:
    """Bytes that are whole rows of this size."""
    if len(content) % size:
        raise _damaged(file, "with a part of a row")
    return content


def _damaged(file: RawFile, what: str, hint: str = "is the file complete, and a DocBin of spaCy 3?") -> InputError:
    return InputError(f"a DocBin {what}", location=file.name, hint=hint)


def murmur_hash(data: bytes, seed: int = 1) -> int:
    """MurmurHash64A by Austin Appleby, as spaCy hashes UTF-8.

    >>> murmur_hash(b"coffee")
    3197928453018144401
    """
    multiplier, mask = 0xC6A4A7935BD1E995, (1 << 64) - 1

    def mixed(value: int) -> int:
        value = value * multiplier & mask
        return (value ^ value >> 47) * multiplier & mask

    result = seed ^ len(data) * multiplier & mask
    whole = len(data) & ~7
    for (block,) in struct.iter_unpack("<Q", data[:whole]):
        result = (result ^ mixed(block)) * multiplier & mask
    if data[whole:]:
        result = (result ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    result = (result ^ result >> 47) * multiplier & mask
    return result ^ result >> 47
