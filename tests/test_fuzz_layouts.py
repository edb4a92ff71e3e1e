"""Damaged files of every layout: each is read or refused in one line, and no word or type appears that it lacks.

A file is drawn from small valid ones and then damaged: bytes are deleted, doubled and replaced, JSON values exchanged,
columns of tables filled with other values.
"""

import copy
import html
import io
import json
import re
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

import msgpack
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from pyarrow import fs

import exports
from raycner.data.entities import flaw
from raycner.data.layouts import LAYOUTS
from raycner.data.layouts.doc_bin import SYMBOLS
from raycner.data.layouts.offsets import TextLayout
from raycner.data.passages import FORMS
from raycner.data.recognition import recognised
from raycner.data.sources import RawFile
from raycner.data.type_names import appearance
from raycner.errors import InputError

TEXT = "Ada Bramson flew\nto New York, 東京 and São Paulo 😂. Then home! Oslo 5mg"
SPANS = [(0, 11, "person"), (20, 28, "place"), (30, 32, "place"), (37, 46, "place"), (61, 65, "place")]
COLUMNS = "Ada\tNNP\tB-PER\nflew\tVBD\tO\nto\tTO\tO\nNew\tNNP\tB-LOC\nYork\tNNP\tI-LOC\n\nOslo\tNNP\tB-LOC\n.\t.\tO\n"
JSONL = exports.jsonl(
    {"tokens": ["Ada", "flew"], "tags": ["B-person", "O"]}, {"tokens": ["Oslo", "東京"], "tags": ["B-x", "I-x"]}
)
JSONL_SPANS = exports.jsonl(
    {"tokens": ["Ada", "flew"], "entities": [{"start": 0, "end": 1, "type": "person"}]},
    {"tokens": ["Oslo", "東京"], "entities": [[0, 2, "place"]]},
)
NUMBERED = exports.jsonl({"tokens": ["Ada", "flew"], "ner_tags": [1, 0]}, {"tokens": ["Oslo"], "ner_tags": [1]})
OFFSETS = exports.jsonl(
    {"text": TEXT, "entities": [{"start": a, "end": b, "type": kind, "text": TEXT[a:b]} for a, b, kind in SPANS]}
)
GLINER = json.dumps([{"tokenized_text": ["to", "New", "York"], "ner": [[1, 2, "place"]]}] * 2)
SPACY = json.dumps([[TEXT, {"entities": SPANS}]] * 2)
I2B2 = (
    "<a><TEXT><![CDATA[Ann Lee was\nin Oslo 2001]]></TEXT><TAGS>"
    '<NAME id="P0" start="0" end="7" text="Ann Lee" TYPE="DOCTOR"/><DATE id="P1" start="20" end="24" TYPE="DATE"/>'
    "</TAGS></a>"
)
CONLL2012 = "\n".join(
    f"doc 0 {i} {word} X (S* - - - - {name} -"
    for i, (word, name) in enumerate([("Ada", "(PERSON*"), ("Lee", "*)"), ("saw", "*"), ("Oslo", "(GPE)")])
)
ANN = "T1\tperson 0 11\tAda Bramson\nT2\tplace 20 28\tNew York\nR1\tIn Arg1:T1 Arg2:T2\nT3\tx 0 3;12 16\tAda flew\n"

Files = tuple[tuple[str, bytes], ...]


def one(*texts: str, name: str = "train.x") -> list[Files]:
    return [((name, text.encode()),) for text in texts]


def table(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def stream(**columns: Any) -> bytes:
    sink, content = io.BytesIO(), pa.table(columns)
    with pa.ipc.new_stream(sink, content.schema) as writer:
        writer.write_table(content)
    return sink.getvalue()


TABLES: list[dict[str, Any]] = [
    {"tokens": [["Ada", "flew"], ["Oslo"]], "ner_tags": [["B-x", "O"], ["B-y"]]},
    {"tokens": [["Ada", "flew"], ["Oslo"]], "entities": [[{"start": 0, "end": 1, "type": "x"}], []]},
]
SEEDS: dict[str, list[Files]] = {
    "bioc": [*one(exports.bioc_json(TEXT, SPANS)), *one(exports.bioc_xml(TEXT, SPANS), name="train.xml")],
    "brat": [(("train.txt", TEXT.encode()), ("train.ann", ANN.encode()))],
    "columns": one(COLUMNS, COLUMNS.replace("\t", " "), "Ada PER\nflew O\nto O\n\nOslo LOC\nis O\nso O\n"),
    "conll2003": one(COLUMNS),
    "conll2012": one(CONLL2012),
    "conllu": one(exports.CONLLU),
    "datasets": [(("train.arrow", stream(**content)),) for content in TABLES],
    "detect": one(COLUMNS, name="train.conll") + one(JSONL, exports.doccano(TEXT, SPANS), GLINER, name="train.json"),
    "doccano": one(exports.doccano(TEXT, SPANS), exports.doccano_relations(TEXT, SPANS)),
    "few_nerd": one("Ada\tperson-actor\nflew\tO\n\nOslo\tlocation-GPE\n.\tO\n"),
    "gliner": one(GLINER, GLINER[1:-1].replace("}, {", "}\n{")),
    "i2b2": one(I2B2, name="train.xml"),
    "jsonl": one(JSONL, JSONL_SPANS, NUMBERED),
    "label_studio": one(exports.label_studio(TEXT, SPANS), exports.label_studio_min(TEXT, SPANS)),
    "offsets": one(OFFSETS),
    "parquet": [(("train.parquet", table(**content)),) for content in TABLES],
    "prodigy": one(exports.prodigy(TEXT, SPANS)),
    "pubtator": one(exports.pubtator(TEXT, SPANS)),
    "spacy": [*one(SPACY), (("train.spacy", exports.DOC_BIN),)],
    "webanno": one(exports.WEBANNO),
    "passages": [*one(COLUMNS, name="columns"), *one(JSONL, OFFSETS, name="jsonl"), *one(TEXT, name="text")],
}
"""Valid files of each layout, and what `predict` reads."""
VARIATIONS: dict[str, list[Any]] = {
    "repair": ["strict", "lenient"],
    "nested": [False, True],
    "cut_words": [False, True],
    "scheme": ["detect", "BIO", "BIOES", "BMES", "IO", "IOB1"],
    "affix": ["prefix", "suffix"],
    "outside": ["O", "_"],
    "comment": ["", "#"],
    "header": [False, True],
    "tag_names": [(), ("O", "B-named", "I-named")],
}
PIECES = [
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80"),
    *(b"\r", b"\r\n", b"\n", b"\n\n", b"\t", b" ", b"\x0c", b"\x1c"),
    *(text.encode() for text in ("\u2028", "\u200b", "\u00a0", "\u0085", "\uff21", "\u0301", "\ufb01", "\u0130")),
    *(text.encode() for text in ("\U0001f602", "\uc11c\uc6b8\uc5d0\uc11c")),
    *rb"""\ " ' { } [ ] [] {} , : | # < > & &lt; ]]> ( ) * *) (X* _ - -1 0 1 1e9 2.5 9999999999999999999""".split(),
    *rb"""null true false NaN "" "x" \ud800 \u0000 <!ENTITY O B- B-x I-y S-x E-x M-x B_x o PER-B O|O I-x|B-y""".split(),
    *rb"""[1] [1]|X *[2] 1-2 1.1 T1 ; |t| |a| -DOCSTART- #Text= NER= NER=B-x id text""".split(),
    *(b"9" * 5000, b"[" * 2000),
]
LEAVES = [None, True, False, -1, 0, 1, 3, 2**60, 2.5, "", "x", "O", "B-x", "\u200b", " ", [], {}, [[]], [0, 1, "x"]]


@dataclass(frozen=True)
class InMemory(RawFile):
    """A file of bytes."""

    content: bytes = b""

    def _opened(self, compression: str | None) -> Any:  # noqa: ARG002
        return io.BytesIO(self.content)

    def seekable(self) -> Any:
        return pa.BufferReader(self.content)


def damaged(content: bytes, name: str, random: Random) -> bytes:
    """The content after some damage, of one of three kinds."""
    kind = random.random()
    if kind < 0.4 and name.endswith((".parquet", ".arrow")):
        return damaged_table(name, random)
    if kind < 0.4 and name.endswith(".spacy"):
        fields = msgpack.unpackb(zlib.decompress(content), strict_map_key=False)
        for _ in range(random.randint(1, 2)):
            exchange(fields, random)
        return zlib.compress(msgpack.packb(fields))
    if kind < 0.5 and content[:1] in b"{[" and content[:1]:
        lines = content.split(b"\n") if content[:1] == b"{" and b"\n{" in content else [content]
        place = random.randrange(len(lines))
        try:
            value = json.loads(lines[place])
        except ValueError:
            return damaged_bytes(content, random)
        for _ in range(random.randint(1, 3)):
            exchange(value, random)
        lines[place] = json.dumps(value, ensure_ascii=random.random() < 0.3).encode("utf-8", "replace")
        return b"\n".join(lines)
    return damaged_bytes(content, random)


def damaged_bytes(content: bytes, random: Random) -> bytes:
    for _ in range(random.choice([0, 1, 1, 1, 2, 3, 8])):
        a = random.randint(0, len(content))
        b = min(len(content), a + random.choice([0, 0, 1, 1, 2, 5, 20, len(content)]))
        piece = random.choice([b"", content[a:b] * 2, random.choice(PIECES), random.choice(PIECES)])
        content = content[:a] + piece + content[b:]
    return content


def exchange(value: Any, random: Random) -> None:
    """Put another value into a place of a JSON value, or take one away."""
    places = list(containers(value))
    if not places:
        return
    container, key = random.choice(places)
    other = random.choice(places)
    choice = random.random()
    if choice < 0.2:
        del container[key]
    elif choice < 0.4 and isinstance(container[key], int):
        container[key] += random.choice([-1, 1, 2, 7])
    elif choice < 0.5 and isinstance(container[key], str | bytes):
        container[key] = container[key][1:] + container[key][:1] * 2
    elif choice < 0.6:
        container[key] = json.loads(json.dumps(other[0][other[1]], default=repr))
    else:
        container[key] = copy.deepcopy(random.choice(LEAVES))


def containers(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from containers(item)


def damaged_table(name: str, random: Random) -> bytes:
    """A table with a column of other values."""
    content = dict(random.choice(TABLES))
    column = random.choice(sorted(content))
    if random.random() < 0.2:
        del content[column]
    else:
        holder = json.loads(json.dumps([content[column]]))
        exchange(holder, random)
        content[column] = holder[0] if holder else []
    try:
        return (table if name.endswith(".parquet") else stream)(**content)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, ValueError, OverflowError):
        return b"PAR1"


@cache
def fields_of(layout: str) -> dict[str, list[Any]]:
    fields = LAYOUTS[layout].__dataclass_fields__
    return {name: values for name, values in VARIATIONS.items() if name in fields}


def read_texts(files: list[InMemory]) -> str:
    """Everything that the files say, as text: raw, unescaped, and the texts that JSON, tables and msgpack hold."""
    texts: list[str] = []
    for file in files:
        raw = file.content
        if file.name.endswith(".spacy"):
            try:
                fields = msgpack.unpackb(zlib.decompressobj().decompress(raw), strict_map_key=False)
                texts += [*SYMBOLS, *(text for text in fields["strings"] if isinstance(text, str))]
            except (ValueError, TypeError, KeyError, zlib.error):
                pass
        elif file.name.endswith((".parquet", ".arrow")):
            content = pq.read_table(file.seekable()) if file.name.endswith("t") else pa.ipc.open_stream(raw).read_all()
            texts += strings_in(content.to_pylist())
        else:
            text = raw.decode("utf-8", "replace")
            texts += [text, html.unescape(text), re.sub(r"\\(.)", r"\1", text)]
            for literal in re.findall(r'"(?:[^"\\]|\\.)*"', text):
                try:
                    texts.append(json.loads(literal, strict=False))
                except ValueError:
                    continue
    return "\n".join(texts)


def strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)


def check(layout: str, number: int) -> None:
    """Damage a file and read it. `number` seeds the damage."""
    random = Random(number)
    files = [
        InMemory(name, "train", fs.LocalFileSystem(), name, content=damaged(content, name, random))
        for name, content in random.choice(SEEDS[layout])
    ]
    options = {name: random.choice(values) for name, values in fields_of(layout).items()} if layout in LAYOUTS else {}
    assert recognised(files[0], files) in (None, *LAYOUTS)
    notes: list[str] = []
    try:
        if layout == "passages":
            sentences = [(words, ()) for p in FORMS[files[0].name](files[0]) for words in p.sentences]
        else:
            read_rows = list(LAYOUTS[layout](path="x", **options).rows(files, notes))
            sentences = [(row.words, row.entities) for row in read_rows]
    except InputError as error:
        assert error.what and "\n" not in str(error), str(error)
        return
    assert all(notes) and not any("\n" in note for note in notes)
    named_types = LAYOUTS[layout].types if layout in LAYOUTS else ()
    texts = "\n".join((read_texts(files), *options.get("tag_names", ()), *named_types))
    seen = cache(lambda: appearance(texts))
    is_text = layout in LAYOUTS and issubclass(LAYOUTS[layout], TextLayout)
    is_text &= not files[0].name.endswith((".spacy", ".xml"))  # whose texts are in pieces
    unspaced = "".join(texts.split()) if is_text else ""
    for words, entities in sentences:
        assert all(words), words
        if layout != "spacy":
            assert all(word in texts for word in words), [word for word in words if word not in texts]
        assert not is_text or "".join("".join(words).split()) in unspaced, words
        assert not flaw(list(entities), len(words), nested=bool(options.get("nested"))), entities
        assert list(entities) == sorted(entities)
        for entity in entities:
            assert entity.type.strip() == entity.type != "" and (
                entity.type in texts or appearance(entity.type) in seen()
            ), entity
            assert not any(unicodedata.category(character) == "Cc" for character in entity.type), entity


def fuzzed(layout: str, examples: int) -> None:
    @seed(20)
    @settings(max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32 - 1))
    def damage(number: int) -> None:
        check(layout, number)

    damage()


def test_every_layout_of_files_has_a_seed_that_is_read() -> None:
    of_files = {name for name in LAYOUTS.names if "path" in LAYOUTS[name].__dataclass_fields__}
    assert of_files <= set(SEEDS)
    for layout in sorted(of_files):
        for content in SEEDS[layout]:
            files = [InMemory(name, "train", fs.LocalFileSystem(), name, content=data) for name, data in content]
            options = {"repair": "lenient", "tag_names": ("O", "B-x")}
            chosen = {name: value for name, value in options.items() if name in fields_of(layout)}
            assert any(row.entities for row in LAYOUTS[layout](path="x", **chosen).rows(files, [])), (layout, content)


@pytest.mark.parametrize("layout", SEEDS)
def test_damaged_files_are_read_or_refused(layout: str) -> None:
    fuzzed(layout, 2000 // len(SEEDS))


@pytest.mark.chaos
@pytest.mark.parametrize("layout", SEEDS)
def test_many_damaged_files_are_read_or_refused(layout: str) -> None:
    fuzzed(layout, 50_000 // len(SEEDS))
