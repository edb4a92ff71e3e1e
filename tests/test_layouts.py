"""Layouts of text and of tables: round trips, what lenient reading repairs, and one line for whatever is wrong."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.sax.saxutils import quoteattr

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raycner.data.corpora import Corpus, prepare
from raycner.data.entities import Entity, encode
from raycner.data.layouts import parquet as tables
from raycner.data.layouts.layout import LAYOUTS, Row
from raycner.errors import InputError
from raycner.storage.store import ObjectStore

SENTENCES = [
    (("Ada", "Bramson", "sold", "an", "axolotl", "to", "Apple", "."), [(0, 2, "person"), (6, 7, "organization")]),
    (("\U0001f602", "Jordan", "rested"), [(1, 2, "location")]),
    (("Nobody", "came", "!"), []),
]
Sentences = Sequence[tuple[tuple[str, ...], Sequence[tuple[int, int, str]]]]


def rows(name: str, source: Path | str, notes: list[str] | None = None, **settings: object) -> list[Row]:
    notes = [] if notes is None else notes
    layout = LAYOUTS[name](path=str(source), **settings)
    return list(layout.rows(layout.files(notes), notes))


def plain_rows(read_rows: list[Row]) -> list[tuple[tuple[str, ...], list[tuple[int, int, str]]]]:
    return [(row.words, [(e.start, e.end, e.type) for e in row.entities]) for row in read_rows]


def with_sorted_spans(sentences: Sentences) -> list[tuple[tuple[str, ...], list[tuple[int, int, str]]]]:
    return [(words, sorted(entities)) for words, entities in sentences]


def joined(sentences: Sentences) -> tuple[str, list[tuple[int, int, str]]]:
    """Sentences as lines of one text, and their entities by characters."""
    text, spans = "", []
    for words, entities in sentences:
        starts = []
        for word in words:
            starts.append(len(text))
            text += f"{word} "
        spans += [(starts[a], starts[b - 1] + len(words[b - 1]), kind) for a, b, kind in entities]
        text += "\n"
    return text, spans


def error_line(layout: str, source: Path | str, **reading: object) -> str:
    with pytest.raises(InputError) as error:
        rows(layout, source, **reading)
    line = str(error.value)
    assert "\n" not in line and line.count(str(source).partition("*")[0].rstrip("/")) == 1
    return line


# ---- text with character offsets


def write_offsets(path: Path, *objects: object) -> Path:
    path.write_text("".join(json.dumps(document, ensure_ascii=False) + "\n" for document in objects), encoding="utf-8")
    return path


def test_offsets_are_read_as_words(tmp_path: Path) -> None:
    text, spans = joined(SENTENCES)
    source = write_offsets(tmp_path / "a.jsonl", {"id": 1, "text": text, "entities": spans})
    assert plain_rows(rows("offsets", source)) == with_sorted_spans(SENTENCES)


@st.composite
def worlds(draw: st.DrawFn) -> Sentences:
    """Sentences of words that no rule of text would cut, with flat entities."""
    sentences = []
    for _ in range(draw(st.integers(1, 4))):
        words = tuple(
            draw(st.lists(st.sampled_from(["Ada", "b", "\u00e9t\u00e9", "7", "\u6771", "!", "-"]), min_size=1))
        )
        bounds = sorted(draw(st.sets(st.integers(0, len(words)))))
        spans = [(a, b, draw(st.sampled_from("xy"))) for a, b in zip(bounds[::2], bounds[1::2], strict=False)]
        sentences.append((tuple(w if w != "!" else ";" for w in words), spans))
    return sentences


@given(worlds())
@settings(max_examples=60)
def test_every_layout_gives_back_what_was_written(world: Sentences) -> None:
    text, spans = joined(world)
    with TemporaryDirectory() as place:
        folder = Path(place)
        write_offsets(folder / "a.jsonl", {"text": text, "entities": spans})
        write_brat(folder, "train", text, spans)
        write_i2b2(folder / "train.xml", text, [(a, b, {"x": "AGE", "y": "CITY"}[kind]) for a, b, kind in spans])
        write_parquet(folder / "tags.parquet", world)
        write_parquet(folder / "spans.parquet", world, spelt=False)
        expected = with_sorted_spans(world)
        assert plain_rows(rows("offsets", folder / "a.jsonl")) == expected
        assert plain_rows(rows("brat", f"{folder}/train.*")) == expected
        renamed = [
            (words, [(a, b, {"x": "AGE", "y": "CITY"}[k]) for a, b, k in entities]) for words, entities in expected
        ]
        assert plain_rows(rows("i2b2", folder / "train.xml")) == renamed
        assert plain_rows(rows("parquet", folder / "tags.parquet", scheme="BIO")) == expected
        assert plain_rows(rows("parquet", folder / "spans.parquet")) == expected


@pytest.mark.parametrize(
    ("entity", "expected"),
    [
        ([0, 3, "x"], '0..3 (x) cuts a word: "Oslo"'),
        ([2, 6, "x"], '2..6 (x) cuts a word: "Oslo is"'),
        ([0, 99, "x"], "lies outside the text's 14 characters"),
        ([5, 5, "x"], "lies outside"),
        ([4, 5, "x"], "holds no word"),
        ({"start": 0, "end": 4, "type": "x", "text": "Rome"}, 'should be "Rome", but the text there is "Oslo"'),
        ({"start": 0, "end": "4", "type": "x"}, "entity is"),
        ([0, 4, ""], "entity is"),
        ([True, 4, "x"], "entity is"),
    ],
)
def test_wrong_offsets_are_rejected_at_their_line(entity: object, expected: str, tmp_path: Path) -> None:
    fine = {"text": "Oslo is north.", "entities": [[0, 4, "x"]]}
    source = write_offsets(tmp_path / "a.jsonl", fine, {"text": "Oslo is north.", "entities": [entity]})
    line = error_line("offsets", source)
    assert f"{source}:2: " in line and expected in line


def test_lenient_reading_widens_and_drops(tmp_path: Path) -> None:
    entities = [[1, 3, "x"], [8, 99, "y"], {"start": 8, "end": 13, "type": "y", "text": "south"}]
    source = write_offsets(tmp_path / "a.jsonl", {"text": "Oslo is north.", "entities": entities})
    notes: list[str] = []
    assert plain_rows(rows("offsets", source, notes, repair="lenient")) == [
        (("Oslo", "is", "north", "."), [(0, 1, "x")])
    ]
    assert notes == [
        "1 entities that cut a word were widened to whole words",
        "2 entities that are not in their text were dropped",
    ]


def test_overlapping_entities_are_rejected_or_read_as_nested(tmp_path: Path) -> None:
    source = write_offsets(tmp_path / "a.jsonl", {"text": "New York Times", "entities": [[0, 14, "x"], [0, 8, "y"]]})
    assert "overlap" in error_line("offsets", source)
    assert plain_rows(rows("offsets", source, nested=True))[0][1] == [(0, 2, "y"), (0, 3, "x")]


def test_an_id_that_comes_twice_is_rejected(tmp_path: Path) -> None:
    same = {"id": "a", "text": "Oslo", "entities": []}
    source = write_offsets(tmp_path / "a.jsonl", same, {**same, "id": "b"}, same)
    assert f'{source}:3: id "a" occurs twice' in error_line("offsets", source)


def test_no_sentence_ends_inside_an_entity(tmp_path: Path) -> None:
    text = "He read Where Now! Oslo with joy."
    source = write_offsets(tmp_path / "a.jsonl", {"text": text, "entities": [[8, 23, "book"]]})
    assert len(rows("offsets", source)) == 1
    source = write_offsets(tmp_path / "b.jsonl", {"text": text, "entities": [[19, 23, "city"]]})
    assert [len(row.entities) for row in rows("offsets", source)] == [0, 1]


# ---- brat


def write_brat(folder: Path, name: str, text: str, spans: Sequence[tuple[int, int, str]]) -> None:
    lines = []
    for i, (a, b, kind) in enumerate(spans, start=1):
        lines.append(f"T{i}\t{kind} {a} {b}\t{' '.join(text[a:b].split())}\n")
    (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    (folder / f"{name}.ann").write_text("".join(lines), encoding="utf-8")


def brat(folder: Path, text: str, annotation: str) -> str:
    (folder / "doc.txt").write_text(text, encoding="utf-8")
    (folder / "doc.ann").write_text(annotation, encoding="utf-8")
    return f"{folder}/doc.*"


def test_folders_determine_the_parts_of_brat(tmp_path: Path) -> None:
    text, spans = joined(SENTENCES)
    for part in ("train", "dev", "test"):
        (tmp_path / part).mkdir()
        write_brat(tmp_path / part, "doc1", text, spans)
    read_rows = rows("brat", f"{tmp_path}/**/*.*")
    assert [row.part for row in read_rows] == ["train"] * 3 + ["dev"] * 3 + ["test"] * 3
    assert plain_rows(read_rows) == with_sorted_spans(SENTENCES) * 3


def test_a_line_end_does_not_part_an_entity_and_other_annotations_are_passed_over(tmp_path: Path) -> None:
    other = "R1\tIn Arg1:T1 Arg2:T1\n#1\tAnnotatorNotes T1\tsure\n*\tEquiv T1 T1\n\n"
    source = brat(tmp_path, "in New\nYork today\n", f"T1\tcity 3 6;7 11\tNew York\n{other}")
    assert plain_rows(rows("brat", source)) == [(("in", "New", "York", "today"), [(1, 3, "city")])]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("T1\tcity 3 6;12 17\tNew today\n", "doc.ann:1: entity 3..17 (city) is in several pieces"),
        ("T1\tcity 3 6\tNew\nT1\tcity 7 11\tYork\n", "doc.ann:2: T1 occurs twice"),
        ("T1\tcity 3\tNew\n", "doc.ann:1: not an entity of brat"),
        ("T1 city 3 6 New\n", "doc.ann:1: not an entity of brat"),
        ("T1\tcity 3 6\tOld\n", 'doc.ann:1: entity 3..6 (city) should be "Old", but the text there is "New"'),
        ("T1\tcity 3 60\tNew\n", "doc.ann:1: entity 3..60 (city) lies outside"),
    ],
)
def test_malformed_brat_annotations_are_rejected(annotation: str, expected: str, tmp_path: Path) -> None:
    assert expected in error_line("brat", brat(tmp_path, "in New\nYork today\n", annotation))


def test_lenient_reading_drops_entities_in_pieces(tmp_path: Path) -> None:
    notes: list[str] = []
    source = brat(tmp_path, "in New York today\n", "T1\tcity 3 6;12 17\tNew today\nT2\tcity 7 11\tYork\n")
    assert plain_rows(rows("brat", source, notes, repair="lenient")) == [
        (("in", "New", "York", "today"), [(2, 3, "city")])
    ]
    assert "1 entities in several pieces were dropped" in notes


def test_both_files_of_a_document_are_needed(tmp_path: Path) -> None:
    brat(tmp_path, "Oslo\n", "")
    assert "its text is not in the source" in error_line("brat", f"{tmp_path}/*.ann")
    assert "there is no .ann for it" in error_line("brat", f"{tmp_path}/*.txt")


def test_text_that_is_not_utf8_is_rejected_at_its_line(tmp_path: Path) -> None:
    source = brat(tmp_path, "", "")
    (tmp_path / "doc.txt").write_bytes("fine\ncaf\u00e9".encode("latin-1"))
    assert "doc.txt:2: byte 0xe9 is not UTF-8" in error_line("brat", source)


# ---- i2b2


def write_i2b2(path: Path, text: str, spans: Sequence[tuple[int, int, str]]) -> Path:
    tags = [
        f'<NAME id="P{i}" start="{a}" end="{b}" text={quoteattr(text[a:b])} TYPE="{kind}" comment="" />\n'
        for i, (a, b, kind) in enumerate(spans)
    ]
    body = f"<TEXT><![CDATA[{text}]]></TEXT>\n<TAGS>\n{''.join(tags)}</TAGS>"
    path.write_text(f'<?xml version="1.0" encoding="UTF-8" ?>\n<deIdi2b2>\n{body}\n</deIdi2b2>\n', encoding="utf-8")
    return path


def test_i2b2_keeps_its_sixteen_types(tmp_path: Path) -> None:
    text = "Record date: 2069-04-07\n\nMr. Villegas is seen at DRUMRIGHT clinic by J.\n"
    spans = [(13, 23, "DATE"), (29, 37, "PATIENT"), (49, 58, "HOSPITAL"), (69, 70, "LOCATION-OTHER")]
    notes: list[str] = []
    read_rows = plain_rows(rows("i2b2", write_i2b2(tmp_path / "train.xml", text, spans), notes))
    assert [kind for _, entities in read_rows for *_, kind in entities] == ["DATE", "PATIENT", "HOSPITAL"]
    assert read_rows[0][0][3:] == ("2069", "-", "04", "-", "07") and read_rows[0][1] == [(3, 8, "DATE")]
    assert notes == ["not among the sixteen types, and left out: 1 LOCATION-OTHER"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<deIdi2b2>\n<TEXT>Ann", "train.xml:2: not XML"),
        ("<a/>", "no TEXT and TAGS"),
        ('<a><TEXT>Ann</TEXT><TAGS><NAME id="P0" start="x" end="3" TYPE="DOCTOR"/></TAGS></a>', "not numbers"),
        ('<a><TEXT>Ann</TEXT><TAGS><NAME id="P0" start="0" end="9" TYPE="DOCTOR"/></TAGS></a>', "lies outside"),
        (
            '<a><TEXT>A</TEXT><TAGS><ID id="P" start="0" end="1" TYPE="ZIP"/><ID id="P" start="0" end="1"/></TAGS></a>',
            "P occurs twice",
        ),
    ],
)
def test_malformed_i2b2_files_are_rejected(content: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "train.xml").write_text(content, encoding="utf-8")
    assert expected in error_line("i2b2", tmp_path / "train.xml")


# ---- tables


def table(world: Sentences, *, spelt: bool = True) -> pa.Table:
    tokens = pa.array([list(words) for words, _ in world], pa.list_(pa.string()))
    if spelt:
        tags = [encode([Entity(*entity) for entity in spans], len(words)) for words, spans in world]
        return pa.table({"tokens": tokens, "ner_tags": pa.array(tags, pa.list_(pa.string()))})
    kind = pa.struct([("start", pa.int32()), ("end", pa.int32()), ("type", pa.string())])
    entities = [[dict(zip(("start", "end", "type"), span, strict=True)) for span in spans] for _, spans in world]
    return pa.table({"tokens": tokens, "entities": pa.array(entities, pa.list_(kind))})


def write_parquet(path: Path, world: Sentences, *, spelt: bool = True) -> Path:
    pq.write_table(table(world, spelt=spelt), path, row_group_size=2)
    return path


def test_parquet_is_read_a_few_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_parquet(tmp_path / "train.parquet", SENTENCES * 5)
    monkeypatch.setattr(tables, "BATCH_ROWS", 2)
    assert plain_rows(rows("parquet", source)) == with_sorted_spans(SENTENCES) * 5


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"text": ["a"]}, "its columns are text"),
        ({"tokens": [["a"]], "ner_tags": [["O", "O"]]}, ":1: 1 tokens but 2 tags"),
        ({"tokens": [["a"], ["a"]], "ner_tags": [["O"], None]}, ":2: 1 tokens but no tags"),
        ({"tokens": [["a"], []], "ner_tags": [["O"], []]}, ":2: tokens are []"),
        ({"tokens": ["a"], "ner_tags": [["O"]]}, ':1: tokens are "a"'),
        ({"tokens": [["a"]], "ner_tags": [[3]]}, ":1: tags are numbers without names: [3]"),
        ({"tokens": [["a"]], "ner_tags": [["b_X"]]}, "tag 'b_X' is not"),
        ({"tokens": [["a"]], "entities": [[{"start": 0, "type": "x"}]]}, ":1: entity is"),
        ({"tokens": [["a"]], "entities": [[{"start": 0, "end": 2, "type": "x"}]]}, ":1: span 0..2 (x) lies outside"),
        ({"tokens": pa.array([], pa.list_(pa.string())), "entities": pa.array([], pa.null())}, "no sentence in this"),
    ],
)
def test_malformed_tables_are_rejected(columns: dict[str, object], expected: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    assert expected in error_line("parquet", tmp_path / "train.parquet")


@pytest.mark.parametrize("damage", ["truncated", "text"])
def test_files_that_are_not_parquet_are_rejected(damage: str, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "train.parquet", SENTENCES)
    source.write_bytes(source.read_bytes()[:-9] if damage == "truncated" else b"Oslo\n" * 9)
    assert "cannot be read" in error_line("parquet", source)


def test_datasets_on_disk_are_read_with_the_names_of_their_classes(tmp_path: Path) -> None:
    import datasets as hf

    names = ["O", "B-location", "I-location", "B-organization", "I-organization", "B-person", "I-person"]
    features = hf.Features({"tokens": hf.List(hf.Value("string")), "ner_tags": hf.List(hf.ClassLabel(names=names))})
    given = {
        "tokens": [list(words) for words, _ in SENTENCES],
        "ner_tags": [encode([Entity(*entity) for entity in spans], len(words)) for words, spans in SENTENCES],
    }
    one = hf.Dataset.from_dict(given, features=features)
    hf.DatasetDict({"train": one, "validation": one, "test": one}).save_to_disk(str(tmp_path / "saved"))
    read_rows = rows("datasets", tmp_path / "saved")
    assert [row.part for row in read_rows] == ["train"] * 3 + ["dev"] * 3 + ["test"] * 3
    assert plain_rows(read_rows) == with_sorted_spans(SENTENCES) * 3
    one.to_parquet(str(tmp_path / "train.parquet"))
    assert plain_rows(rows("parquet", tmp_path / "train.parquet")) == with_sorted_spans(SENTENCES)
    one.save_to_disk(str(tmp_path / "alone"))
    assert {row.part for row in rows("datasets", tmp_path / "alone")} == {"train"}
    shard = next((tmp_path / "alone").glob("data*.arrow"))
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    assert "cannot be read" in error_line("datasets", tmp_path / "alone")


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="no such folder, and the hub says") as error:
        LAYOUTS["datasets"](path="nobody/no-such-dataset").files([])
    assert "\n" not in str(error.value)


def test_a_corpus_of_texts_is_written_to_the_store(tmp_path: Path) -> None:
    text, spans = joined(SENTENCES)
    source = tmp_path / "raw"
    source.mkdir()
    for part in ("train", "dev", "test"):
        write_offsets(source / f"{part}.jsonl", {"text": text, "entities": spans})
    corpus = prepare(LAYOUTS["offsets"](path=str(source)), ObjectStore(str(tmp_path / "store")), lambda _: None)
    assert isinstance(corpus, Corpus) and corpus.types == ("location", "organization", "person")
    assert [len(corpus[part]) for part in ("train", "dev", "test")] == [3, 3, 3]
