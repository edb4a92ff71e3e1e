"""Exports of annotation tools and other layouts: read as they come, recognised, and refused in one line."""

import json
import zlib
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exports import (
    CONLLU,
    DOC_BIN,
    WEBANNO,
    Spans,
    bioc_json,
    bioc_xml,
    doccano,
    doccano_relations,
    jsonl,
    label_studio,
    label_studio_min,
    prodigy,
    pubtator,
)
from raycner.__main__ import main
from raycner.data.entities import Entity, encode
from raycner.data.layouts.doc_bin import documents
from raycner.data.layouts.layout import LAYOUTS, Row
from raycner.data.recognition import recognised
from raycner.data.sources import single
from raycner.errors import InputError

TEXT = "Ada Bramson flew\nto New York."
SPANS = [(0, 11, "person"), (20, 28, "place")]
ROWS = [(("Ada", "Bramson", "flew"), [(0, 2, "person")]), (("to", "New", "York", "."), [(1, 3, "place")])]


def rows(name: str, source: Path | str, notes: list[str] | None = None, **settings: object) -> list[Row]:
    notes = [] if notes is None else notes
    layout = LAYOUTS[name](path=str(source), **settings)
    return list(layout.rows(layout.files(notes), notes))


def plain_rows(read_rows: list[Row]) -> list[tuple[tuple[str, ...], list[tuple[int, int, str]]]]:
    return [(row.words, [(e.start, e.end, e.type) for e in row.entities]) for row in read_rows]


def error_line(name: str, source: Path | str, **settings: object) -> str:
    with pytest.raises(InputError) as error:
        rows(name, source, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


TEXT_TOOLS = {
    "doccano": [("a.jsonl", doccano), ("a.jsonl", doccano_relations)],
    "label_studio": [("a.json", label_studio), ("a.json", label_studio_min)],
    "prodigy": [("a.jsonl", prodigy)],
    "bioc": [("a.json", bioc_json), ("a.xml", bioc_xml)],
    "pubtator": [("a.txt", pubtator)],
}
TEXT_FILES = [(name, file, write) for name, files in TEXT_TOOLS.items() for file, write in files]


@pytest.mark.parametrize(("name", "file", "write"), TEXT_FILES)
def test_texts_are_read_and_recognised(name: str, file: str, write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source = tmp_path / file
    source.write_text(write(TEXT, SPANS), encoding="utf-8")
    assert plain_rows(rows(name, source)) == ROWS
    assert recognised(single(str(source))) == name
    notes: list[str] = []
    assert plain_rows(rows("detect", source, notes)) == ROWS and f"read as {name} (detected)" in notes


@pytest.mark.parametrize(("name", "file", "write"), TEXT_FILES)
def test_an_entity_that_cuts_a_word_is_refused_widened_or_cuts_it(name: str, file: str, write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source = tmp_path / file
    source.write_text(write("서울에서 5mg\nx", [(0, 2, "place"), (6, 8, "unit")]), encoding="utf-8")
    assert "cuts a word" in error_line(name, source) and "scenario.corpus.cut_words=true" in error_line(name, source)
    notes: list[str] = []
    assert plain_rows(rows(name, source, notes, cut_words=True))[0] == (
        ("서울", "에서", "5", "mg"),
        [(0, 1, "place"), (3, 4, "unit")],
    )
    assert any(note.startswith("2 words were cut") for note in notes)
    assert plain_rows(rows(name, source, repair="lenient"))[0] == (
        ("서울에서", "5mg"),
        [(0, 1, "place"), (1, 2, "unit")],
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[str, list[tuple[int, int, str]]]:
    """A text of two lines, and flat entities of whole words."""
    words = [
        draw(st.lists(st.sampled_from(["Ada", "é", "東", "<&>", '"', "😂", "O|x"]), min_size=1, max_size=5))
        for _ in range(2)
    ]
    text, spans = "", []
    for line in words:
        text += "\n" * bool(text)
        for word in line:
            if draw(st.booleans()):
                spans.append((len(text), len(text) + len(word), draw(st.sampled_from(["x", "y z"]))))
            text += f"{word} "
        text = text.rstrip(" ")
    return text, spans


@given(worlds())
@settings(max_examples=25)
def test_every_tool_gives_what_offsets_give(tmp_path_factory: pytest.TempPathFactory, world: tuple[str, Spans]) -> None:
    folder = tmp_path_factory.getbasetemp()
    text, spans = world
    entities = [{"start": a, "end": b, "type": kind} for a, b, kind in spans]
    (folder / "offsets.jsonl").write_text(jsonl({"text": text, "entities": entities}), encoding="utf-8")
    expected = plain_rows(rows("offsets", folder / "offsets.jsonl"))
    for name, file, write in TEXT_FILES:
        if name == "label_studio" and "min" in write.__name__ and not spans:
            continue
        (folder / file).write_text(write(text, spans), encoding="utf-8")
        assert plain_rows(rows(name, folder / file)) == expected, name


# ---- what is special to one tool


def test_label_studio_reads_the_ground_truth_and_leaves_out_the_unannotated(tmp_path: Path) -> None:
    def annotation(kind: str, **extra: object) -> dict[str, object]:
        return {"result": [{"type": "labels", "value": {"start": 0, "end": 4, "labels": [kind]}}], **extra}

    tasks = [
        {"data": {"body": "Oslo"}, "annotations": [annotation("x"), annotation("y", ground_truth=True)]},
        {"data": {"body": "Oslo"}, "annotations": [annotation("x", was_cancelled=True), annotation("y")]},
        {"data": {"body": "Rome"}, "annotations": [], "predictions": [annotation("z")]},
    ]
    (tmp_path / "a.json").write_text(json.dumps(tasks), encoding="utf-8")
    notes: list[str] = []
    assert plain_rows(rows("label_studio", tmp_path / "a.json", notes)) == [(("Oslo",), [(0, 1, "y")])] * 2
    assert notes == [
        "1 tasks without an annotation were left out",
        "1 tasks have several annotations: the ground truth or first one was read",
    ]


def test_offsets_that_count_utf16_units_are_read_where_the_texts_agree(tmp_path: Path) -> None:
    value = {"start": 3, "end": 7, "text": "Oslo", "labels": ["x"]}
    task = {"data": {"text": "😂 Oslo"}, "annotations": [{"result": [{"type": "labels", "value": value}]}]}
    (tmp_path / "a.json").write_text(json.dumps([task]), encoding="utf-8")
    notes: list[str] = []
    assert plain_rows(rows("label_studio", tmp_path / "a.json", notes))[0][1] == [(1, 2, "x")]
    assert notes == ["1 texts whose offsets count characters beyond the 16-bit range as two"]


def test_prodigy_leaves_out_what_was_not_accepted(tmp_path: Path) -> None:
    span = {"start": 0, "end": 4, "label": "x"}
    answers = ("accept", "reject", "ignore")
    texts = [{"text": "Oslo", "spans": [span], "answer": answer} for answer in answers]
    (tmp_path / "a.jsonl").write_text(jsonl(*texts, {"text": "Rome"}), encoding="utf-8")
    notes: list[str] = []
    assert plain_rows(rows("prodigy", tmp_path / "a.jsonl", notes)) == [(("Oslo",), [(0, 1, "x")]), (("Rome",), [])]
    assert notes == [f"1 texts with the answer {answer} were left out" for answer in answers[1:]]


def test_bioc_entities_in_pieces_are_refused_or_counted(tmp_path: Path) -> None:
    locations = [{"offset": 0, "length": 4}, {"offset": 9, "length": 6}]
    annotation = {"infons": {"kind": "x"}, "text": "left kidney", "locations": locations}
    passage = {"offset": 0, "text": "left and kidney", "annotations": [annotation]}
    (tmp_path / "a.json").write_text(json.dumps({"documents": [{"passages": [passage]}]}), encoding="utf-8")
    assert "set scenario.corpus.type_key to one of kind" in error_line("bioc", tmp_path / "a.json")
    assert "is in several pieces" in error_line("bioc", tmp_path / "a.json", type_key="kind")
    notes: list[str] = []
    assert plain_rows(rows("bioc", tmp_path / "a.json", notes, type_key="kind", repair="lenient"))[0][1] == []
    assert notes == ["1 entities in several pieces were dropped"]


@pytest.mark.parametrize(
    "entity", ['<!ENTITY lol "lol">', '<!ENTITY lol SYSTEM "file:///etc/hostname">', '<!ENTITY % lol SYSTEM "x">']
)
@pytest.mark.parametrize("name", ["bioc", "i2b2"])
def test_xml_declares_no_entities(name: str, entity: str, tmp_path: Path) -> None:
    text = f"<!DOCTYPE a [\n{entity}]><a><TEXT>Ann</TEXT><TAGS/></a>"
    (tmp_path / "train.xml").write_text(text, encoding="utf-8")
    assert "train.xml:2: an entity of its own, 'lol'" in error_line(name, tmp_path / "train.xml")


def test_xml_refers_to_no_entity_that_it_does_not_declare(tmp_path: Path) -> None:
    text = bioc_xml(TEXT, SPANS).replace("flew", "&flew;")
    (tmp_path / "train.xml").write_text(text, encoding="utf-8")
    assert "an entity of its own, 'flew'" in error_line("bioc", tmp_path / "train.xml")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("doccano", {"text": "Oslo", "label": ["pos"]}, 'label is "pos"'),
        ("doccano", {"text": "Oslo"}, "label is missing"),
        ("doccano", {"text": " ", "label": []}, 'text is " "'),
        ("label_studio", {"data": {"a": "x", "b": "y"}, "annotations": [{"result": []}]}, "text_key to one of a, b"),
        ("label_studio", {"data": {"text": "x"}, "annotations": [{"result": 3}]}, "result is 3"),
        ("label_studio", {"data": {"text": "x"}, "annotations": [{"result": [{"value": 3}]}]}, "value is 3"),
        (
            "label_studio",
            {"data": {"text": "x"}, "annotations": [{"result": [{"type": "hypertextlabels"}]}]},
            "labels of HTML",
        ),
        ("prodigy", {"text": "x", "answer": "maybe"}, 'answer is "maybe"'),
        ("prodigy", {"text": "x", "spans": [{"start": 0}]}, "span is"),
        ("gliner", {"tokenized_text": ["a"], "ner": [[0, "1", "x"]]}, "entity is"),
        ("gliner", {"tokenized_text": ["a"], "ner": [[0, 1, "x"]]}, "span 0..2 (x) lies outside"),
        ("gliner", {"tokenized_text": [], "ner": []}, "tokenized_text is []"),
        ("bioc", {"documents": 3}, "documents are 3"),
        ("bioc", {"documents": [3]}, "id is 3"),
        ("bioc", {"documents": [{"passages": [{"text": "x"}]}]}, "offset is missing"),
    ],
)
def test_malformed_objects_are_refused_at_their_line(name: str, content: object, expected: str, tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(jsonl(content), encoding="utf-8")
    line = error_line(name, tmp_path / "train.json")
    assert f"{tmp_path}/train.json:1: " in line and expected in line


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[OBJECT", "an array that is not closed"),
        ("[OBJECT,\n\n{]", ":3: not JSON"),
        ("[\n\nOBJECT,\n3]", ":4: found 3"),
        ("[OBJECT] x", "extra text after the array"),
        ('[{"a": "\\ud800"}]', "half a character"),
        ("[3]", "found 3"),
        ("[" * 100_000, "not JSON"),
        ("", "no sentence in this file"),
        ("[]", "no sentence in this file"),
    ],
)
def test_documents_that_are_not_json_are_refused(content: str, expected: str, tmp_path: Path) -> None:
    content = content.replace("OBJECT", '{"tokenized_text": ["a"], "ner": []}')
    (tmp_path / "train.json").write_text(content, encoding="utf-8")
    assert expected in error_line("gliner", tmp_path / "train.json")


def test_all_errors_of_an_export_are_listed_and_lenient_reading_counts_them(tmp_path: Path) -> None:
    texts = [{"text": "Oslo is here", "label": [[0, end, "x"]]} for end in (4, 3, 99)]
    source = tmp_path / "train.jsonl"
    source.write_text(jsonl(*texts) + "{\n" + jsonl({"text": "Rome"}), encoding="utf-8")
    with pytest.raises(InputError) as error:
        rows("doccano", source)
    lines = [error.value, *error.value.others]
    assert [line.location.rpartition(":")[2] for line in lines] == ["2", "3", "4", "5"]
    notes: list[str] = []
    assert len(rows("doccano", source, notes, repair="lenient")) == 3
    assert notes == [
        f"2 sentences that cannot be read were dropped, the first at {source}:4",
        "1 entities that cut a word were widened to whole words",
        "1 entities that are not in their text were dropped",
    ]


def test_gliner_ends_are_inclusive(tmp_path: Path) -> None:
    content = [{"tokenized_text": ["to", "New", "York"], "ner": [[1, 2, "place"]]}]
    for name, text in (("a.json", json.dumps(content, indent=1)), ("b.jsonl", jsonl(*content))):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert plain_rows(rows("gliner", tmp_path / name)) == [(("to", "New", "York"), [(1, 3, "place")])]
        assert recognised(single(str(tmp_path / name))) == "gliner"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("13\t0\t1\tx\ty", ":3: no text for '13'"),
        ("12\t0\tx", ":3: not an entity of PubTator"),
        ("12\t0\t3\tEve\tx", 'should be "Eve"'),
        ("12\t0\t99\tAda\tx", "lies outside"),
    ],
)
def test_malformed_pubtator_is_refused(line: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"12|t|Ada ran\n12|a|home.\n{line}\n", encoding="utf-8")
    assert expected in error_line("pubtator", tmp_path / "a.txt")


# ---- spaCy

DOCUMENTS = [
    ("Ada Bramson flew to New York, det case PERSON 5mg. 😂 Oslo  here", [(0, 11, "PERSON"), (20, 28, "place")]),
    ("Nothing here", []),
]


def test_a_doc_bin_of_spacy_is_read_without_spacy(tmp_path: Path) -> None:
    (tmp_path / "a.spacy").write_bytes(DOC_BIN)
    read_documents = documents(single(str(tmp_path / "a.spacy")))
    assert [(document.text, list(document.entities)) for document in read_documents] == DOCUMENTS
    notes: list[str] = []
    read_rows = plain_rows(rows("detect", tmp_path / "a.spacy", notes))
    assert read_rows[0][1] == [(0, 2, "PERSON"), (4, 6, "place")] and read_rows[-1] == (("Nothing", "here"), [])
    assert notes[1:] == ["2 words without any annotation are read as outside"]


def test_json_of_spacy_is_read(tmp_path: Path) -> None:
    objects = [
        {"text": text, "ents": [{"start": a, "end": b, "label": kind} for a, b, kind in spans], "tokens": []}
        for text, spans in DOCUMENTS
    ]
    pairs = [[text, {"entities": spans}] for text, spans in DOCUMENTS]
    expected = [(0, 2, "PERSON"), (4, 6, "place")]
    for text in (jsonl(*objects), json.dumps(objects, indent=1), json.dumps(pairs), json.dumps(objects[0], indent=1)):
        (tmp_path / "a.json").write_text(text, encoding="utf-8")
        assert plain_rows(rows("spacy", tmp_path / "a.json"))[0][1] == expected
        assert recognised(single(str(tmp_path / "a.json"))) == "spacy"
    (tmp_path / "a.json").write_text(json.dumps([{"id": 0, "paragraphs": []}]), encoding="utf-8")
    assert "the training JSON of spaCy 2" in error_line("spacy", tmp_path / "a.json")


def doc_bin(**changes: object) -> bytes:
    fields = msgpack.unpackb(zlib.decompress(DOC_BIN))
    return zlib.compress(msgpack.packb({**fields, **changes}))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (DOC_BIN[:-20], "a DocBin ("),
        (b"Oslo", "a DocBin ("),
        (zlib.compress(msgpack.packb([3])), "a DocBin without fields"),
        (doc_bin(strings=["Ada"]), "a DocBin without the text of"),
        (doc_bin(attrs=[65, 77]), "without the attribute ENT_TYPE"),
        (doc_bin(tokens=b"123"), "a DocBin with a part of a row"),
        (doc_bin(lengths=b"\xff" * 8), "with words that are not those of its documents"),
        (doc_bin(lengths=None), "a DocBin without lengths"),
    ],
)
def test_damaged_doc_bins_are_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "a.spacy").write_bytes(content)
    assert expected in error_line("spacy", tmp_path / "a.spacy")


# ---- words a line


def test_conllu_has_tags_in_misc(tmp_path: Path) -> None:
    (tmp_path / "a.conllu").write_text(CONLLU, encoding="utf-8")
    notes: list[str] = []
    expected = (("Ada", "Bramson", "sah", "zu", "dem", "AmMond"), [(0, 2, "PER"), (5, 6, "LOC")])
    assert plain_rows(rows("conllu", tmp_path / "a.conllu", notes)) == [expected]
    assert notes == ["tags read from NER in MISC", "tags read as BIO (detected)"]
    (tmp_path / "b.txt").write_text(CONLLU, encoding="utf-8")
    assert recognised(single(str(tmp_path / "b.txt"))) == "conllu"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (CONLLU.replace("NER=", "tag="), "set scenario.corpus.key"),
        (CONLLU.replace("B-PER", "(PER-1)"), ":2: NER has brackets"),
        (CONLLU.replace("3\tsah\t_", "3\tsah"), ":5: not a line of CoNLL-U"),
        (CONLLU.replace("3\tsah", "x\tsah"), ":5: not a line of CoNLL-U"),
        ("", "no tag in MISC"),
    ],
)
def test_malformed_conllu_is_refused(content: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "a.conllu").write_text(content, encoding="utf-8")
    assert expected in error_line("conllu", tmp_path / "a.conllu")


def test_webanno_spans_are_read_from_their_layer(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(WEBANNO, encoding="utf-8")
    first = ("Ada", "Bramson", "saw", "New", "York", "."), [(0, 2, "PER"), (3, 5, "LOC_x")]
    assert plain_rows(rows("webanno", tmp_path / "a.tsv")) == [first, (("Oslo",), [(0, 1, "LOC")])]
    assert recognised(single(str(tmp_path / "a.tsv"))) == "webanno"
    stacked = WEBANNO.replace("Ada\tNNP\t_\tPER[1]", "Ada\tNNP\t_\tPER[1]|ORG")
    (tmp_path / "a.tsv").write_text(stacked, encoding="utf-8")
    assert "overlap" in error_line("webanno", tmp_path / "a.tsv")
    assert plain_rows(rows("webanno", tmp_path / "a.tsv", nested=True))[0][1][0] == (0, 1, "ORG")


def test_webanno_parts_of_words_and_values_that_lack(tmp_path: Path) -> None:
    part = "1-3.1\t12-13\ts\t_\t_\tPER\t_\t_\t\n"
    text = WEBANNO.replace("1-4\t", part + "1-4\t").replace("Oslo\tNNP\t_\tLOC", "Oslo\tNNP\t_\t*[7]")
    (tmp_path / "a.tsv").write_text(text, encoding="utf-8")
    assert "one of the spans over a part of a word: 's'" in error_line("webanno", tmp_path / "a.tsv")
    notes: list[str] = []
    read_rows = plain_rows(rows("webanno", tmp_path / "a.tsv", notes, repair="lenient"))
    assert (2, 3, "PER") in read_rows[0][1] and read_rows[1][1] == []
    assert notes == ["1 spans over a part of a word were widened to it", "1 spans without a value were dropped"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("#FORMAT=WebAnno", "#FORMAT=Other", "the first line is not"),
        ("ner.type.NamedEntity", "custom.Other", "set scenario.corpus.layer"),
        ("identifier|value", "identifier|class", "set scenario.corpus.feature"),
        ("saw\tVBD\t_\t_\t_\t_\t", "saw\tVBD", "columns, too few"),
        ("1-3\t12-15", "1-x\t12-15", "not a line of WebAnno TSV 3"),
        ("1-3\t12-15\tsaw", "1-3\t12-15\t", "not a line of WebAnno TSV 3"),
        ("saw\tVBD\t_\t_", "saw\tVBD\t_\tPER[1", "not an annotation of WebAnno"),
        ("York\tNNP\t_\tLOC\\_x[2]", "York\tNNP\t_\tPER[1]", "span [1] is not in one piece"),
        ("Oslo\tNNP\t_\tLOC", "Oslo\tNNP\t_\tPER[1]", "span [1] is not in one piece"),
    ],
)
def test_malformed_webanno_is_refused(old: str, new: str, expected: str, tmp_path: Path) -> None:
    assert old in WEBANNO
    (tmp_path / "a.tsv").write_text(WEBANNO.replace(old, new), encoding="utf-8")
    assert expected in error_line("webanno", tmp_path / "a.tsv")


def test_datasets_written_as_json_are_read_with_names_of_tags(tmp_path: Path) -> None:
    import datasets as hf

    names = ("O", "B-person", "I-person", "B-place", "I-place")
    words = [list(words) for words, _ in ROWS]
    tags = [encode([Entity(*entity) for entity in entities], len(words)) for words, entities in ROWS]
    features = hf.Features({"tokens": hf.List(hf.Value("string")), "ner_tags": hf.List(hf.ClassLabel(names=names))})
    numbered = hf.Dataset.from_dict({"tokens": words, "ner_tags": tags}, features=features)
    numbered.to_json(str(tmp_path / "numbers.jsonl"))
    hf.Dataset.from_dict({"tokens": words, "ner_tags": tags}).to_json(str(tmp_path / "texts.jsonl"))
    assert plain_rows(rows("jsonl", tmp_path / "texts.jsonl")) == ROWS
    assert "set scenario.corpus.tag_names" in error_line("jsonl", tmp_path / "numbers.jsonl")
    assert plain_rows(rows("jsonl", tmp_path / "numbers.jsonl", tag_names=names)) == ROWS


def test_parquet_features_may_be_lists_of_class_labels(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    label = {"names": ["O", "B-x"], "_type": "ClassLabel"}
    metadata = {"huggingface": json.dumps({"info": {"features": {"ner_tags": [label]}}})}
    table = pa.table({"tokens": [["a", "b"]], "ner_tags": [[0, 1]]}).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "train.parquet")
    assert plain_rows(rows("parquet", tmp_path / "train.parquet")) == [(("a", "b"), [(1, 2, "x")])]
    pq.write_table(table.replace_schema_metadata(None), tmp_path / "train.parquet")
    assert "set scenario.corpus.tag_names" in error_line("parquet", tmp_path / "train.parquet")
    assert len(rows("parquet", tmp_path / "train.parquet", tag_names=("O", "B-y"))[0].entities) == 1


# ---- as a new user tries it


def prepared(capsys: pytest.CaptureFixture[str], *settings: str) -> tuple[int, str]:
    status = main(["prepare", *settings])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def test_a_folder_of_exports_is_read_with_the_setting_that_the_error_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for part in ("train", "dev", "test"):
        (corpus / f"{part}.jsonl").write_text(doccano(f"{TEXT} {part}", SPANS), encoding="utf-8")
    own = (f"store={tmp_path}/store", f"scenario.corpus.path={corpus}")
    status, output = prepared(capsys, *own)
    assert status == 2 and "doccano, " in output and "detect" in output and "set scenario.corpus.name too" in output
    status, output = prepared(capsys, *own, "scenario.corpus.name=jsonl")
    assert status == 2 and "it looks like doccano: set scenario.corpus.name=doccano" in output
    status, output = prepared(capsys, *own, "scenario.corpus.name=doccano")
    assert status == 0 and "sentences 2 2 2" in " ".join(output.split())
    assert "person" in output and "place" in output
    status, output = prepared(capsys, *own, "scenario.corpus.name=detect")
    assert status == 0 and "read as doccano (detected)" in output
