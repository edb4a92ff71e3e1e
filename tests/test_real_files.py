"""Files as they really come: what looks like tags but is none is refused with the setting that reads it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raycner.cli.program import main
from raycner.config import RunConfig
from raycner.data.corpora import Corpus, prepare
from raycner.data.entities import Entity
from raycner.data.layouts.layout import LAYOUTS
from raycner.data.sources import find
from raycner.data.type_names import appearance, visible
from raycner.errors import InputError
from raycner.storage.store import ObjectStore

TIMES = 12
"""Sentences of each part."""


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Corpus]:
    """Reads `text`, repeated, as the three parts of a corpus."""

    def read(text: str, layout: str = "columns", suffix: str = "conll", head: str = "", **settings: object) -> Corpus:
        for part in ("train", "dev", "test"):
            (tmp_path / f"{part}.{suffix}").write_text(head + text * TIMES, encoding="utf-8", newline="")
        return prepare(LAYOUTS[layout](path=str(tmp_path), **settings), ObjectStore(str(tmp_path / "store")))

    return read


def entities(corpus: Corpus) -> list[tuple[tuple[str, ...], tuple[Entity, ...]]]:
    """The distinct sentences of training, in order."""
    rows = corpus["train"]
    return list(dict.fromkeys((rows.words(row), rows.entities(row)) for row in range(len(rows))))


def refusal(read: Callable[[], Corpus]) -> InputError:
    with pytest.raises(InputError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return caught.value


LOOKALIKES = {
    "tag column first": ("O\tshow\nB-ACTOR\ttom\nI-ACTOR\thanks\n\n", 1, "the words look like tags", "swapped"),
    "bare tag column first": ("O x\nO y\nO z\nPER tom\n\n", 1, "the words look like tags", "swapped"),
    "parts of speech": (
        "Anna\tB-PER\tNNP\nran\tO\tVBD\n\n",
        1,
        "tags look like parts of speech (NNP, VBD)",
        "tag_column",
    ),
    "universal parts of speech": (
        "Anna PROPN\nran VERB\n. PUNCT\n\n",
        1,
        "tags look like parts of speech",
        "tag_column",
    ),
    "lemmas": ("Anna anna\nran run\nhome home\n\n", 1, "O is not the commonest tag", "scheme=IO"),
    "zero for outside": ("Anna\tPER\nran\t0\n\n", 2, "no tag is O, and '0' seems to stand for it", "outside='\"0\"'"),
    "underscore for outside": ("Anna\tB-PER\nran\t_\n\n", 2, "no tag is O, and '_' seems", "outside='\"_\"'"),
    "dash for outside": ("Anna PER\nran -\n\n", 2, "no tag is O, and '-' seems", "outside"),
    "lower-case outside": ("Anna B-PER\nran o\n\n", 2, "no tag is O, and 'o' seems", "outside='o'"),
    "a word for outside": ("Anna PER\nran OTHER\n\n", 2, "no tag is O, and 'OTHER' seems", "outside='OTHER'"),
    "suffixes": ("Anna PER-B\nLee PER-I\nran O\n\n", 1, "tags end in their prefix, such as PER-B", "affix=suffix"),
    "suffixes of BIOES": ("Anna LOC-S\nran O\n\n", 1, "tags end in their prefix", "affix=suffix"),
    "a type that looks prefixed": (
        "a@b.c\tE-mail\nran\tO\nBob\tperson\n\n",
        1,
        "'E-mail' looks like a prefix",
        "rename",
    ),
    "another": ("U96 U-boat\nran O\nBob person\nOslo city\n\n", 1, "'U-boat' looks like a prefix", "rename"),
    "numbers": ("Anna 7\nran O\nhome O\n\n", 1, "tag '7' is no name of a type", "scheme=IO"),
    "punctuation": ("Anna PER\nran O\nhome O\nx -\n\n", 4, "tag '-' is no name of a type", "scheme=IO"),
    "an attribute": ("#id\tdomain=en\nAnna\tPER\nran\tO\nx\tO\n\n", 1, "tag 'domain=en' is no name", "scheme=IO"),
    "several types": (
        "Bank ORG\nof O\nx O\nChina ORG|LOC\nA LOC\n\n",
        4,
        "'ORG|LOC' is several types in one",
        "one type",
    ),
    "a comment above BIO": (
        "# id 52\tdomain=en\nAnna _ _ B-PER\nran _ _ O\n\n",
        1,
        "a line that looks like a comment",
        "comment",
    ),
    "a comment above IO": (
        "# id 52\tdomain=en\nAnna\tPER\nran\tO\n\n",
        1,
        "a line that looks like a comment",
        "comment",
    ),
    "a comment of GermEval": (
        "#\thttp://x\t[2009]\n1\tAnna\tB-PER\tO\n\n",
        1,
        "a line that looks like a comment",
        "comment",
    ),
    "a carriage return": ("Anna\tB-PER\rran\tO\r\r", 1, "a carriage return inside a line", "end lines in LF"),
    "a carriage return among lines": ("Anna\tPER\nran\tO\rx\tO\n\n", 2, "a carriage return inside a line", "end lines"),
    "a header": ("word\ttag\nAnna\tPER\nran\tO\nhome\tO\n\n", 1, "line 1 names the columns: word, tag", "header=true"),
    "a header of BIO": (
        "Token Label\nAnna B-PER\nran O\n\n",
        1,
        "line 1 names the columns: Token, Label",
        "header=true",
    ),
    "nested columns in one": (
        "Bank B-ORG\nof I-ORG\nChina I-ORG|B-LOC\n\n",
        3,
        "'I-ORG|B-LOC' is several tags in one",
        "spans",
    ),
    "outside and a tag": ("Bank PER\nof O|B-LOC\nx O\nx O\n\n", 2, "'O|B-LOC' is several tags in one", "spans"),
}


@pytest.mark.parametrize("repair", ["strict", "lenient"])
@pytest.mark.parametrize("case", LOOKALIKES)
def test_what_is_no_tag_of_entities_is_refused(case: str, repair: str, read: Callable[..., Corpus]) -> None:
    text, line, what, hint = LOOKALIKES[case]
    error = refusal(lambda: read(text, repair=repair))
    assert error.what.startswith(what)
    assert error.location.endswith(f"train.conll:{line}")
    assert hint in error.hint


PER = Entity(0, 1, "PER")
READ = {
    "tag column first": ("B-PER Anna\nO ran\n\n", {"token_column": 1, "tag_column": 0}),
    "a tag column in the middle": ("Anna B-PER NNP\nran O VBD\n\n", {"tag_column": 1}),
    "zero for outside": ("Anna PER\nran 0\n\n", {"outside": "0"}),
    "a dash for outside of BIO": ("Anna B-PER\nran -\n\n", {"outside": "-"}),
    "suffixes": ("Anna PER-B\nran O\n\n", {"affix": "suffix"}),
    "suffixes of BIOES": ("Anna PER-S\nran O\n\n", {"affix": "suffix"}),
    "BMEWO": ("Anna W-PER\nran O\n\n", {"scheme": "BMES"}),
    "comments": ("# id 52\tdomain=en\nAnna\tPER\nran\tO\n\n", {"comment": "#"}),
    "comments of other widths": ("#\thttp://x\t[2009]\nAnna B-PER\nran O\n\n", {"comment": "#"}),
    "bare types without O": ("Anna PER\nran VBD\n\n", {"scheme": "IO"}),
}


@pytest.mark.parametrize("case", READ)
def test_a_setting_reads_what_detection_refuses(case: str, read: Callable[..., Corpus]) -> None:
    text, settings = READ[case]
    ((words, spans),) = entities(read(text, **settings))
    assert words == ("Anna", "ran") and spans[0] == PER


def test_comments_of_conll_u_are_ignored_and_hashes_are_words(read: Callable[..., Corpus]) -> None:
    text = "# sent_id = w-1\n# text = Anna #\n1\tAnna\tB-PER\t-\n2\t#\tO\t-\n\n# x\n1\t#\tO\t-\n2\tran\tB-X\t-\n\n"
    settings = {"token_column": 1, "tag_column": 2}
    assert "'# sent_id = w-1'" in refusal(lambda: read(text, **settings)).what
    expected = [(("Anna", "#"), (PER,)), (("#", "ran"), (Entity(1, 2, "X"),))]
    assert entities(read(text, comment="#", **settings)) == expected
    assert entities(read("#\t_\nAnna\tPER\n\n", comment="#", outside="_")) == [(("#", "Anna"), (Entity(1, 2, "PER"),))]


def test_a_header_is_ignored_where_it_is_set(read: Callable[..., Corpus]) -> None:
    assert entities(read("Anna\tPER\nran\tO\n\n", head="word\ttag\n", header=True)) == [(("Anna", "ran"), (PER,))]


def test_bmes_is_detected(read: Callable[..., Corpus]) -> None:
    corpus = read("a B-NAME\nb M-NAME\nc E-NAME\nd O\ne S-LOC\n\n")
    assert entities(corpus) == [(tuple("abcde"), (Entity(0, 3, "NAME"), Entity(4, 5, "LOC")))]
    assert corpus.notes[0] == "tags read as BMES (detected)"
    again = read("a B-NAME\nb M-NAME\nc E-NAME\nd O\ne W-LOC\n\n", scheme="BMES")
    assert entities(again) == entities(corpus)


def test_prefix_like_types_are_types_of_io_where_no_tag_is_bare(read: Callable[..., Corpus]) -> None:
    assert entities(read("Anna I-E-mail\nran O\n\n")) == [(("Anna", "ran"), (Entity(0, 1, "E-mail"),))]


def test_the_hint_of_outside_is_a_setting_as_it_stands(tmp_path: Path) -> None:
    words = ["scenario.corpus.name=columns", f"scenario.corpus.path={tmp_path}", 'scenario.corpus.outside="0"']
    assert RunConfig.load(words).scenario.corpus.outside == "0"  # type: ignore[attr-defined]


# ---- names of types


@pytest.mark.parametrize("other", ["PER\u00a0", "PER\u200b", "\ufeffPER", "\uff30ER", "P\u200dER", "PER\u0007"])
def test_types_that_look_alike_are_one(other: str, read: Callable[..., Corpus]) -> None:
    corpus = read(f"Anna\tB-PER\nran\tO\n\nBob\tB-{other}\nran\tO\n\n")
    assert corpus.types == ("PER",)
    assert any(ascii(other)[1:-1] in note and note.endswith("PER") for note in corpus.notes)


@pytest.mark.parametrize("other", [" PER", "PER\t", "PER\u3000", "\u2028PER"])
def test_types_of_spans_that_look_alike_are_one(other: str, read: Callable[..., Corpus]) -> None:
    lines = [{"tokens": ["Anna", "x"], "entities": [[0, 1, kind]]} for kind in ("PER", other)]
    corpus = read("".join(json.dumps(line) + "\n" for line in lines), "jsonl", "jsonl")
    assert corpus.types == ("PER",)
    assert corpus.notes[0] == f"type {other!a} is read as PER"


def test_an_outside_tag_with_an_invisible_character_is_no_type(read: Callable[..., Corpus]) -> None:
    assert read("Anna PER\nran O\nhome O\u00a0\n\n").types == ("PER",)


def test_a_type_that_nobody_sees_is_refused(read: Callable[..., Corpus]) -> None:
    line = json.dumps({"tokens": ["Anna"], "entities": [[0, 1, "\u200b"]]})
    assert refusal(lambda: read(f"{line}\n", "jsonl", "jsonl")).what == "a type without a visible character"


def test_case_and_spaces_inside_make_other_types(read: Callable[..., Corpus]) -> None:
    lines = [{"tokens": ["Anna"], "entities": [[0, 1, kind]]} for kind in ("new type", "New type", "newtype")]
    corpus = read("".join(json.dumps(line) + "\n" for line in lines), "jsonl", "jsonl")
    assert corpus.types == ("New type", "new type", "newtype")
    assert visible("\u7ec4\u7ec7\uff08\u516c\u53f8\uff09") == "\u7ec4\u7ec7\uff08\u516c\u53f8\uff09"
    assert appearance("a\u00a0b") == appearance("a b")


# ---- what people read


@pytest.mark.parametrize("kind", ["[/PER]", "[bold]PER", "[link=x]", "a[/]b"])
def test_names_are_printed_as_they_are(kind: str, read: Callable[..., Corpus], tmp_path: Path, capsys: Any) -> None:
    read(f"Anna\tB-{kind}\nran\tO\n\n")
    words = ["scenario.corpus.name=columns", f"scenario.corpus.path={tmp_path}", f"store={tmp_path / 'store'}"]
    assert main(["prepare", *words]) == 0
    assert f" {kind} " in capsys.readouterr().out


def test_a_path_is_printed_as_it_is(tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "[old]" / "[/old]"
    folder.mkdir(parents=True)
    for part in ("train", "dev", "test"):
        (folder / f"{part}.conll").write_text("Anna B-PER\nran O\n")
    words = ["scenario.corpus.name=columns", f"scenario.corpus.path={folder}", f"store={tmp_path / 'store'}"]
    assert main(["prepare", *words]) == 0
    assert "[old]/[/old]" in capsys.readouterr().out.replace("\n", "")


# ---- which files


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        ("train.conll train.conll~ dev.conll test.conll", "train dev test"),
        ("train.conll train.conll.bak dev.orig.conll test.conll", "train test"),
        ("train.conll #train.conll# dev.conll", "train dev"),
        ("train.conll dev.conll test.conll test.pred dev_predictions.conll", "train dev test"),
        ("train.conll train-dev.conll test.conll", "train test"),
        ("train.conll device.conll testimony.conll latest.conll", "train"),
        ("contest_train.conll contest_dev.conll", "train dev"),
        ("trainData.txt testData.txt eng.testA", "train dev test"),
        ("trainset.txt devset.txt testset.txt", "train dev test"),
        ("train.conll devel.conll val.conll", "train dev dev"),
    ],
)
def test_backups_predictions_and_other_words_are_no_parts(names: str, parts: str, tmp_path: Path) -> None:
    for name in names.split():
        (tmp_path / name).touch()
    notes: list[str] = []
    assert [file.part for file in find(str(tmp_path), notes)] == parts.split()
    used = len(parts.split())
    assert bool(notes) == (used < len(names.split()))


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("train.conll~", "left out, as backups or predictions: train.conll~"),
        ("test.pred", "left out, as backups or predictions: test.pred"),
        ("train-dev.conll", "left out, as their names tell several parts: train-dev.conll"),
        ("TrainTest.conll", "left out, as their names tell several parts: TrainTest.conll"),
        ("device.conll", "left out, as their names are none of train, dev, test: device.conll"),
    ],
)
def test_what_is_left_out_is_noted(name: str, note: str, tmp_path: Path) -> None:
    for file in ("train.conll", name):
        (tmp_path / file).touch()
    notes: list[str] = []
    find(str(tmp_path), notes)
    assert notes == [note]


def test_a_pattern_in_which_few_names_tell_a_part_is_refused(tmp_path: Path) -> None:
    for name in ("doc1", "device", "testimony", "training_plan"):
        (tmp_path / f"{name}.txt").touch()
        (tmp_path / f"{name}.ann").touch()
    error = refusal(lambda: find(f"{tmp_path}/**/*.*", []))
    assert error.what == "only 2 of 8 files tell their part by name, such as training_plan.ann"
    (tmp_path / "training_plan.txt").unlink()
    (tmp_path / "training_plan.ann").unlink()
    assert {file.part for file in find(f"{tmp_path}/**/*.*", [])} == {"train"}


# ---- what is noted of the parts


def write(folder: Path, **parts: str) -> Corpus:
    for part, text in parts.items():
        (folder / f"{part}.conll").write_text(text)
    return prepare(LAYOUTS["columns"](path=str(folder)), ObjectStore(str(folder / "store")), str)


def test_sentences_of_two_parts_are_noted(tmp_path: Path) -> None:
    train = "".join(f"w{i} B-PER\nran O\n\n" for i in range(9)) + "Yes O\n\n"
    corpus = write(
        tmp_path, train=train, dev="w0 B-PER\nran O\n\nBob B-PER\nran O\n\n", test="Yes O\n\nEve B-PER\nsat O\n\n"
    )
    assert corpus.notes[1:] == ("1 of 2 dev sentences are also in train",)


def test_sentences_of_other_words_or_order_are_not_shared(tmp_path: Path) -> None:
    corpus = write(tmp_path, train="Bob B-PER\nran O\n\n", dev="ran O\nBob B-PER\n\n", test="Bob\u00a0ran B-PER\nx O\n")
    assert corpus.notes[1:] == ()


@pytest.mark.parametrize("part", ["dev", "test"])
def test_types_that_a_part_lacks_are_noted(part: str, tmp_path: Path) -> None:
    texts = {name: f"{name} B-PER\nOslo B-LOC\n\n" for name in ("train", "dev", "test")}
    corpus = write(tmp_path, **texts | {part: "Rome B-LOC\nis O\n\n"})
    assert corpus.notes[1:] == (f"not in {part}, so no score of it counts them: PER",)


def test_a_file_without_blank_lines_is_noted(tmp_path: Path) -> None:
    long = "".join(f"w{i} O\n" for i in range(700)) + "Oslo B-LOC\n"
    corpus = write(tmp_path, train=long, dev="Rome B-LOC\nis O\n", test="x O\n" + long)
    assert [note.partition(";")[0] for note in corpus.notes[1:]] == [
        "train: 1 sentences of more than 500 words, the longest of 701",
        "test: 1 sentences of more than 500 words, the longest of 702",
    ]


def test_no_entity_at_all_blames_what_the_layout_has(read: Callable[..., Corpus]) -> None:
    assert "scenario.corpus.tag_column" in refusal(lambda: read("Anna O\nran O\n\n")).hint
    error = refusal(lambda: read('{"text": "Anna ran.", "entities": []}\n', "offsets", "jsonl"))
    assert "tag" not in error.hint


# ---- texts and tables


@pytest.mark.parametrize("repair", ["strict", "lenient"])
def test_offsets_that_count_cr_and_lf_as_one_are_read(repair: str, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"Hi all.\r\nAnna saw Rome.\r\n" * 4)
    marks = "".join(
        f"T{2 * i}\tPER {8 + 23 * i} {12 + 23 * i}\tAnna\nT{2 * i + 1}\tLOC {17 + 23 * i} {21 + 23 * i}\tRome\n"
        for i in range(4)
    )
    (tmp_path / "train.ann").write_text(marks)
    layout = LAYOUTS["brat"](path=f"{tmp_path}/train.*", repair=repair)
    notes: list[str] = []
    rows = list(layout.rows(layout.files(notes), notes))
    spans = [(row.words[entity.start], entity.type) for row in rows for entity in row.entities]
    assert spans == [("Anna", "PER"), ("Rome", "LOC")] * 4
    assert notes == ["1 texts whose offsets count a line end of CR and LF as one character"]


def test_offsets_that_count_cr_and_lf_as_two_are_read_as_they_are(tmp_path: Path) -> None:
    line = {"text": "Hi.\r\nAnna saw.\r\n", "entities": [{"start": 5, "end": 9, "type": "PER", "text": "Anna"}]}
    short = {"text": "Hi.\r\nAnna saw.\r\n", "entities": [{"start": 4, "end": 8, "type": "PER", "text": "Anna"}]}
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(item) + "\n" for item in (line, short)))
    layout = LAYOUTS["offsets"](path=str(tmp_path / "train.jsonl"))
    notes: list[str] = []
    rows = [row for row in layout.rows(layout.files(notes), notes) if row.entities]
    assert [row.words[row.entities[0].start] for row in rows] == ["Anna", "Anna"]
    assert notes == ["1 texts whose offsets count a line end of CR and LF as one character"]


def test_offsets_of_texts_without_mentions_are_not_moved(tmp_path: Path) -> None:
    line = {"text": "Hi.\r\nAnna saw.\r\n", "entities": [[4, 9, "PER"]]}
    (tmp_path / "train.jsonl").write_text(json.dumps(line) + "\n")
    layout = LAYOUTS["offsets"](path=str(tmp_path / "train.jsonl"))
    assert len([row for row in layout.rows(layout.files([]), []) if row.entities]) == 1


def parquet(folder: Path, **columns: list[str]) -> None:
    rows = {"tokens": [["Anna", "ran"]] * 12, **{name: [tags] * 12 for name, tags in columns.items()}}
    pq.write_table(pa.table(rows), folder / "train.parquet")


def test_two_columns_of_tags_are_refused_until_one_is_set(tmp_path: Path) -> None:
    parquet(tmp_path, tags=["NNP", "VBD"], labels=["B-PER", "O"])
    store = ObjectStore(str(tmp_path / "store"))
    error = refusal(lambda: prepare(LAYOUTS["parquet"](path=str(tmp_path)), store, str))
    assert (error.what, error.hint) == (
        "several columns may hold the tags: tags, labels",
        "set scenario.corpus.tags=labels, or another",
    )
    assert prepare(LAYOUTS["parquet"](path=str(tmp_path), tags="labels"), store, str).types == ("PER",)
    assert (
        "no column 'ner'"
        in refusal(lambda: prepare(LAYOUTS["parquet"](path=str(tmp_path), tags="ner"), store, str)).what
    )


def test_a_column_of_ner_tags_goes_first_and_the_others_are_noted(tmp_path: Path) -> None:
    parquet(tmp_path, labels=["x", "y"], ner_tags=["B-PER", "O"], tags=["NNP", "VBD"])
    corpus = prepare(LAYOUTS["parquet"](path=str(tmp_path)), ObjectStore(str(tmp_path / "store")), str)
    assert corpus.types == ("PER",)
    assert corpus.notes[0] == "column ner_tags read; not read: tags, labels"


def test_any_column_of_tags_can_be_set(tmp_path: Path) -> None:
    parquet(tmp_path, tags=["NNP", "VBD"], bio=["B-PER", "O"])
    layout = LAYOUTS["parquet"](path=str(tmp_path))
    store = ObjectStore(str(tmp_path / "store"))
    assert "parts of speech" in refusal(lambda: prepare(layout, store, str)).what
    assert prepare(LAYOUTS["parquet"](path=str(tmp_path), tags="bio"), store, str).types == ("PER",)
