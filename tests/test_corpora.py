"""Corpora: every layout on a small excerpt, every error at its file and line, and a store that stays clean."""

import gzip
import json
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from raycner.data import corpora, sentence_table
from raycner.data.arrow_files import FILE_MAGIC, map_table
from raycner.data.corpora import PARTS, Corpus, prepare
from raycner.data.entities import Entity, decode, encode
from raycner.data.layouts import layout as layouts
from raycner.data.layouts.demo import Demo
from raycner.data.layouts.few_nerd import FINE, TYPES
from raycner.data.layouts.layout import LAYOUTS, FileLayout, Row, build_layout
from raycner.data.scenarios.scenario import Split
from raycner.data.sources import find
from raycner.errors import InputError
from raycner.storage.store import ObjectStore

EXCERPT = """\
Ada\tB-person
Bramson\tI-person
sold\tO
an\tO
axolotl\tB-animal
to\tO
Apple\tB-organization
.\tO

\u00a0\tO
\U0001f602\tO
Jordan\tB-location
in\tO
May\tB-date
1990\tI-date

Jordan\tB-person
Paris\tB-person
!\tO
"""
SENTENCES = [
    (
        ("Ada", "Bramson", "sold", "an", "axolotl", "to", "Apple", "."),
        (Entity(0, 2, "person"), Entity(4, 5, "animal"), Entity(6, 7, "organization")),
    ),
    (("\u00a0", "\U0001f602", "Jordan", "in", "May", "1990"), (Entity(2, 3, "location"), Entity(4, 6, "date"))),
    (("Jordan", "Paris", "!"), (Entity(0, 1, "person"), Entity(1, 2, "person"))),
]
Sentences = Sequence[tuple[Sequence[str], Sequence[Entity]]]


def shared(sentences: int) -> tuple[str, ...]:
    """The notes on parts of so many sentences that are all the same."""
    return tuple(f"{sentences} of {sentences} {part} sentences are also in train" for part in ("dev", "test"))


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(str(tmp_path / "store"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A source with the excerpt as all three parts."""
    place = tmp_path / "raw"
    place.mkdir()
    for part in PARTS:
        (place / f"{part}.conll").write_text(EXCERPT, encoding="utf-8")
    return place


def quiet(ignored: str) -> None:
    pass


def read(source: Path | str, store: ObjectStore, layout: str = "columns", **settings: object) -> Corpus:
    return prepare(LAYOUTS[layout](path=str(source), **settings), store, quiet)


def sentences_of(corpus: Corpus, part: corpora.Part = "train") -> list[tuple[tuple[str, ...], tuple[Entity, ...]]]:
    rows = corpus[part]
    return [(rows.words(row), rows.entities(row)) for row in range(len(rows))]


def as_columns(sentences: Sentences, scheme: layouts.Scheme = "BIO", parting: str = "\t") -> str:
    blocks = []
    for words, entities in sentences:
        tags = encode(entities, len(words), scheme)
        blocks.append("".join(f"{word}{parting}{tag}\n" for word, tag in zip(words, tags, strict=True)))
    return "\n".join(blocks)


def as_tags(sentences: Sentences) -> str:
    lines = ({"tokens": list(words), "tags": encode(entities, len(words))} for words, entities in sentences)
    return "".join(json.dumps(line) + "\n" for line in lines)


def as_entities(sentences: Sentences) -> str:
    lines = (
        {"tokens": list(words), "entities": [{"start": e.start, "end": e.end, "type": e.type} for e in entities[::-1]]}
        for words, entities in sentences
    )
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


# ---- what is read


def test_columns_are_read_unchanged(folder: Path, store: ObjectStore) -> None:
    corpus = read(folder, store)
    for part in PARTS:
        assert sentences_of(corpus, part) == SENTENCES
    assert corpus.types == ("animal", "date", "location", "organization", "person")
    assert corpus.notes == ("tags read as BIO (detected)", *shared(3))
    assert corpus.source == f"columns {folder}"


@pytest.mark.parametrize("scheme", ["BIO", "BIOES", "IOB1"])
@pytest.mark.parametrize("set_it", [True, False])
def test_every_scheme_encodes_the_same_entities(
    scheme: layouts.Scheme, set_it: bool, folder: Path, tmp_path: Path, store: ObjectStore
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for part in PARTS:
        (other / f"{part}.txt").write_text(as_columns(SENTENCES, scheme), encoding="utf-8")
    corpus = read(other, store, scheme=scheme if set_it else "detect")
    assert corpus.fingerprint == read(folder, store).fingerprint
    assert corpus.notes == (*(() if set_it else (f"tags read as {scheme} (detected)",)), *shared(3))


def test_conll2003_files_get_the_names_and_the_order_of_the_benchmarks(tmp_path: Path, store: ObjectStore) -> None:
    text = "-DOCSTART- -X- -X- O\n\nJapan NNP I-NP I-LOC\nSyria NNP I-NP B-LOC\nBBC NNP I-NP I-ORG\n- : O O\n\n"
    for name in ("eng.train", "eng.testa", "eng.testb"):
        (tmp_path / name).write_text(text + "Mr. NNP I-NP O\nBlair NNP I-NP I-PER\nEU NNP I-NP I-MISC\n")
    corpus = read(tmp_path, store, "conll2003")
    assert corpus.types == ("location", "misc", "organisation", "person")
    assert corpus.notes == ("tags read as IOB1 (detected)", *shared(2))
    for part in PARTS:
        assert sentences_of(corpus, part) == [
            (
                ("Japan", "Syria", "BBC", "-"),
                (Entity(0, 1, "location"), Entity(1, 2, "location"), Entity(2, 3, "organisation")),
            ),
            (("Mr.", "Blair", "EU"), (Entity(1, 2, "person"), Entity(2, 3, "misc"))),
        ]


# ---- the layouts of single corpora


def as_conll2012(sentences: Sentences) -> str:
    """Sentences as the shared task spells them; the number of argument columns differs from one to the next."""
    blocks = []
    for number, (words, entities) in enumerate(sentences):
        opened, closed = [""] * len(words), [""] * len(words)
        for entity in sorted(entities, key=lambda e: (e.start, -e.end)):
            opened[entity.start] += f"({entity.type}"
            closed[entity.end - 1] += ")"
        rest = ["(ARG0*)"] * (number % 3) + ["-"]
        lines = [
            ["bc/x", str(number), str(i), word, "NN", "(S*", "-", "-", "-", "me", f"{opened[i]}*{closed[i]}", *rest]
            for i, word in enumerate(words)
        ]
        blocks.append("".join("   ".join(line) + "\n" for line in lines))
    return "#begin document (bc/x); part 000\n" + "\n".join(blocks) + "\n#end document\n"


def test_conll2012_is_read_with_its_brackets(tmp_path: Path, store: ObjectStore) -> None:
    text = """#begin document (bc/cctv/00/cctv_0000); part 000
bc/cctv/00/cctv_0000  0  0  In       IN  (TOP(S(PP*   -  - - Speaker#1       *  *       -
bc/cctv/00/cctv_0000  0  1  the      DT  (NP*         -  - - Speaker#1  (DATE*  *       -
bc/cctv/00/cctv_0000  0  2  summer   NN  *            -  - - Speaker#1       *) (ARGM*) (16)
bc/cctv/00/cctv_0000  0  3  Beijing  NNP *            -  - - Speaker#1   (GPE)  *       -

bc/cctv/00/cctv_0000  0  0  Yes      UH  (TOP*)       -  - - Speaker#1       *          -

#end document
"""
    folder = tmp_path / "v4" / "train" / "bc"
    folder.mkdir(parents=True)
    (folder / "cctv_0000.v4_gold_conll").write_text(text * 3)
    corpus = read(f"{tmp_path}/**/*_gold_conll", store, "conll2012", dev_share=0.2, test_share=0.2)
    assert set(sentences_of(corpus)) == {
        (("In", "the", "summer", "Beijing"), (Entity(1, 3, "DATE"), Entity(3, 4, "GPE"))),
        (("Yes",), ()),
    }
    assert corpus.types == ("DATE", "GPE")


@pytest.mark.parametrize(
    ("was", "put", "line", "what"),
    [
        ("(x*", "x", 2, "name 'x' is not in brackets"),
        ("(x*", "(*", 2, "name '(*' is not in brackets"),
        ("(x*", "*", 3, "a bracket closes that was never opened"),
        ("*)", "*", 2, "(x is never closed in its sentence"),
        ("one", "[WORD]", 2, "no words, only their places"),
        ("me   (x*", "me", 2, "11 columns, too few for CoNLL-2012"),
        ("*)   -", "*)", 3, "11 columns, too few for CoNLL-2012"),
        ("*)   -", "*)   -   -", 3, "13 columns where the lines above have 12"),
        ("bc/x   0   1", "bc/x", 3, "10 columns, too few"),
    ],
)
def test_bad_brackets_are_rejected_at_their_line(
    was: str, put: str, line: int, what: str, tmp_path: Path, store: ObjectStore
) -> None:
    text = as_conll2012([(("one", "two"), (Entity(0, 2, "x"),))])
    assert was in text
    (tmp_path / "train.gold_conll").write_text(text.replace(was, put, 1))
    with pytest.raises(InputError) as error:
        read(tmp_path, store, "conll2012")
    assert error.value.location == f"{tmp_path}/train.gold_conll:{line}"
    assert error.value.what.startswith(what)
    assert error.value.hint
    assert no_trace(store)


def test_few_nerd_has_fine_types_and_coarse_ones(tmp_path: Path, store: ObjectStore) -> None:
    text = "Ada\tperson-actor\nBo\tperson-actor\nCy\tperson-director\nin\tO\nBr/1\tlocation-GPE\n\n"
    text += "the\tO\nM1\tlocation-road/railway/highway/transit\n"
    for part in PARTS:
        (tmp_path / f"{part}.txt").write_text(text)
    fine, coarse = read(tmp_path, store, "few_nerd"), read(tmp_path, store, "few_nerd", grain="coarse")
    assert fine.types == ("location-GPE", "location-road/railway/highway/transit", "person-actor", "person-director")
    assert sentences_of(fine)[0][1] == (
        Entity(0, 2, "person-actor"),
        Entity(2, 3, "person-director"),
        Entity(4, 5, "location-GPE"),
    )
    assert coarse.types == ("location", "person")
    assert sentences_of(coarse)[0][1] == (Entity(0, 2, "person"), Entity(2, 3, "person"), Entity(4, 5, "location"))
    assert (len(FINE), len(TYPES), len(set(TYPES))) == (8, 66, 66)
    assert [len(names.split()) for names in FINE.values()] == [7, 8, 10, 12, 9, 8, 6, 6]


@pytest.mark.parametrize(
    ("tag", "what"),
    [
        ("B-person-actor", "tag 'B-person-actor' is not IO"),
        ("person-pilot", "type 'person-pilot' is not one of this corpus"),
        ("person", "type 'person' is not one of this corpus"),
        ("", "tag '' is not IO"),
    ],
)
def test_types_unknown_to_few_nerd_are_rejected(tag: str, what: str, tmp_path: Path, store: ObjectStore) -> None:
    (tmp_path / "train.txt").write_text(f"a\tperson-actor\n\nb\tO\nc\t{tag}\n")
    with pytest.raises(InputError) as error:
        read(tmp_path, store, "few_nerd")
    assert (error.value.location, error.value.what) == (f"{tmp_path}/train.txt:4", what)


@st.composite
def spoken(draw: st.DrawFn, *, nested: bool) -> list[tuple[tuple[str, ...], tuple[Entity, ...]]]:
    """Sentences with entities; nested ones are inside each other or apart, as brackets can express."""
    word, kind = st.text("abcXYZ0-.,é", min_size=1, max_size=3), st.sampled_from(["x", "y-z"])
    sentences = [(("w",), (Entity(0, 1, "x"),))]
    for words in draw(st.lists(st.lists(word, min_size=1, max_size=6).map(tuple), max_size=6)):
        entities: list[Entity] = []
        for start, end, name in draw(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6), kind), max_size=5)):
            new = Entity(start, end, name)
            inside = start < end <= len(words)
            apart = [not new.overlaps(e) or (nested and (e.start < start and end < e.end)) for e in entities]
            if inside and all(apart):
                entities.append(new)
        sentences.append((words, tuple(sorted(entities))))
    return sentences


@pytest.mark.parametrize("nested", [False, True])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_layout_reads_what_was_written(nested: bool, data: st.DataObject) -> None:
    sentences = data.draw(spoken(nested=nested))
    forms = {"conll2012": as_conll2012, "jsonl": as_entities} | ({} if nested else {"columns": as_columns})
    with TemporaryDirectory() as place:
        store = ObjectStore(str(Path(place, "store")))
        for name, form in forms.items():
            folder = Path(place, name)
            folder.mkdir()
            for part in PARTS:
                (folder / f"{part}.txt").write_text(form(sentences), encoding="utf-8")
            options = {"scheme": "BIO"} if name == "columns" else {"nested": nested}
            assert sentences_of(read(folder, store, name, **options)) == sentences


def test_nested_entities_are_kept_where_they_are_asked_for(tmp_path: Path, store: ObjectStore) -> None:
    source = tmp_path / "train.jsonl"
    spans = [[0, 2, "x"], [1, 3, "y"], [0, 2, "y"], [1, 2, "x"]]
    line = json.dumps({"tokens": ["a", "b", "c"], "entities": spans}) + "\n"
    source.write_text(line * 3)
    with pytest.raises(InputError, match=r"spans 0\.\.2 \(x\) and 0\.\.2 \(y\) overlap"):
        read(source, store, "jsonl")
    corpus = read(source, store, "jsonl", nested=True)
    assert sentences_of(corpus) == [(("a", "b", "c"), tuple(sorted(Entity(*span) for span in spans)))]
    source.write_text(line.replace('[1, 3, "y"]', '[0, 2, "x"]') * 3)
    with pytest.raises(InputError, match=r"train\.jsonl:1: .*overlap"):
        read(source, store, "jsonl", nested=True)


def test_token_and_tag_may_stand_in_any_column(tmp_path: Path, store: ObjectStore) -> None:
    source = tmp_path / "some.txt"
    source.write_text("1 B-x Ada NNP\n2 O runs VBZ\n\n" * 3)
    corpus = read(source, store, token_column=-2, tag_column=1)
    assert sentences_of(corpus) == [(("Ada", "runs"), (Entity(0, 1, "x"),))]


def test_the_generated_corpus_needs_no_source(store: ObjectStore) -> None:
    corpus = prepare(Demo(sentences=40), store, quiet)
    assert [len(corpus[part]) for part in PARTS] == [40, 10, 10]
    assert corpus.source == "demo"
    again = prepare(Demo(sentences=40, seed=1), store, quiet)
    assert again.fingerprint != corpus.fingerprint


def test_a_layout_can_be_added(folder: Path, store: ObjectStore) -> None:
    @LAYOUTS.register("whole_lines")
    class WholeLines(FileLayout):
        types: ClassVar[tuple[str, ...]] = ("z", "never", "a")
        copies: int = 1

        def rows(self, files: Sequence[layouts.RawFile], notes: list[str]) -> Iterator[Row]:
            notes.append(f"{len(files)} files")
            for file in files:
                yield Row(file.part, ("w", "w") * self.copies, [Entity(0, 1, "a"), Entity(1, 2, "z")])

    try:
        corpus = read(folder, store, "whole_lines")
        assert (corpus.types, corpus.notes) == (("z", "a"), ("3 files", *shared(1)))
        assert read(folder, store, "whole_lines", copies=2)["train"].words(0) == ("w", "w", "w", "w")
        with pytest.raises(TypeError, match="defined twice"):
            LAYOUTS.register("whole_lines")(WholeLines)
    finally:
        del LAYOUTS["whole_lines"]


sentence = st.lists(
    st.tuples(
        st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), min_size=1, max_size=4)
        .map(lambda word: word.strip(" ") or "x")  # spaces around a word are none of its own
        .filter(lambda word: not word.startswith("#")),  # looks like a comment
        st.sampled_from(["O", "B-x", "I-x", "B-y"]),
    ),
    min_size=1,
    max_size=6,
)


@given(drawn=st.lists(sentence, min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_what_is_mapped_is_what_was_written(drawn: list[list[tuple[str, str]]]) -> None:
    drawn = [[("w", "B-x")], *drawn]
    with TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentence_table, "BATCH_ROWS", 3)
        text = "\n\n".join("\n".join(f"{word}\t{tag}" for word, tag in sentence) for sentence in drawn)
        for part in PARTS:
            Path(place, f"{part}.tsv").write_text(text, encoding="utf-8", newline="")
        store = ObjectStore(str(Path(place, "store")))
        rows = read(place, store, repair="lenient", scheme="BIO")["train"]
        expected = [(tuple(w for w, _ in sentence), tuple(decode([tag for _, tag in sentence]))) for sentence in drawn]
        assert [(rows.words(i), rows.entities(i)) for i in range(len(rows))] == expected
        assert list(rows.all_entities()) == [entities for _, entities in expected]
        for types in ([], ["x"], ["y", "z"], ["x", "y"]):
            holding = [i for i, (_, entities) in enumerate(expected) if any(e.type in types for e in entities)]
            assert rows.having(types).tolist() == holding
        assert rows.lengths.tolist() == [len(words) for words, _ in expected]


def test_rows_and_corpora_travel_as_paths(folder: Path, store: ObjectStore) -> None:
    corpus = read(folder, store)
    packed = pickle.dumps((corpus, corpus["train"]))
    assert len(packed) < 1000
    again, rows = pickle.loads(packed)
    assert sentences_of(again, "dev") == sentences_of(corpus, "dev")
    assert (again.fingerprint, again.types, again.notes) == (corpus.fingerprint, corpus.types, corpus.notes)
    assert rows.words(2) == SENTENCES[2][0]
    with pytest.raises(IndexError):
        rows.words(3)
    with pytest.raises(IndexError):
        rows.entities(-1)


def test_a_corpus_opens_by_its_fingerprint(folder: Path, store: ObjectStore) -> None:
    corpus = read(folder, store)
    again = Corpus.open(store, corpus.fingerprint)
    assert sentences_of(again) == SENTENCES
    assert (again.types, again.notes, again.source) == (corpus.types, corpus.notes, corpus.source)
    with pytest.raises(InputError, match="no corpus 0123456789abcdef"):
        Corpus.open(store, "0123456789abcdef")


# ---- the storage form


def in_file_form(corpus: Corpus, store: ObjectStore, scratch: Path) -> None:
    """Store a corpus again as the version before wrote it: in Arrow's file form, not as streams."""
    key = f"corpora/{corpus.fingerprint}"
    store.pull(key, scratch)
    for part in PARTS:
        table = corpus[part].table()
        with ipc.new_file(str(scratch / f"{part}.arrow"), table.schema) as file:
            file.write_table(table)
    store.remove(key)
    store.push(scratch, key)


def test_a_corpus_of_the_version_before_keeps_its_fingerprint(
    folder: Path, tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = read(folder, store)
    in_file_form(corpus, store, tmp_path / "scratch")
    path = tmp_path / "store" / "corpora" / corpus.fingerprint / "train.arrow"
    before = path.read_bytes()
    assert before.startswith(FILE_MAGIC)
    monkeypatch.setattr(LAYOUTS["columns"], "rows", lambda *_: pytest.fail("read again"))
    again = read(folder, store)
    assert (again.fingerprint, sentences_of(again)) == (corpus.fingerprint, SENTENCES)
    assert again.dataset("train")[:] == corpus.dataset("train")[:]
    assert path.read_bytes() == before


def test_datasets_opens_the_files_of_the_store(folder: Path, tmp_path: Path, store: ObjectStore) -> None:
    from datasets import Dataset

    corpus = read(folder, store)
    for part in PARTS:
        opened = Dataset.from_file(str(tmp_path / "store" / "corpora" / corpus.fingerprint / f"{part}.arrow"))
        assert opened.features == corpus.dataset(part).features
        assert opened[:] == corpus.dataset(part)[:]


def test_a_part_is_a_dataset(folder: Path, store: ObjectStore) -> None:
    from datasets import List, Value

    corpus = read(folder, store)
    dataset = corpus.dataset("dev")
    assert dataset.features == {
        "id": Value("int64"),
        "words": List(Value("string")),
        "entities": List({"start": Value("int32"), "end": Value("int32"), "type": Value("string")}),
    }
    assert (len(dataset), dataset.split) == (3, "dev")
    sentences = [
        (tuple(row["words"]), tuple(Entity(e["start"], e["end"], e["type"]) for e in row["entities"]))
        for row in dataset
    ]
    assert sentences == SENTENCES
    assert dataset._fingerprint == read(folder, store).dataset("dev")._fingerprint
    assert dataset._fingerprint != corpus.dataset("train")._fingerprint


def test_what_datasets_derives_stays_out_of_the_store(folder: Path, store: ObjectStore) -> None:
    corpus = read(folder, store)
    before = store.sizes("")
    derived = corpus.dataset("train").map(lambda row: {"length": len(row["words"])})
    assert derived["length"][:] == [8, 6, 3]
    assert store.sizes("") == before


def test_a_dataset_is_mapped_and_a_split_selects_from_it(tmp_path: Path, store: ObjectStore) -> None:
    (tmp_path / "train.txt").write_text("".join(f"w{i} B-x\nis O\n\n" for i in range(5000)))
    corpus = read(tmp_path / "train.txt", store)
    size = corpus["train"].table().nbytes
    split = Split(corpus, "train", np.arange(len(corpus["train"]))[::-3].copy(), frozenset({"x"}))
    allocated = pa.total_allocated_bytes()
    dataset = corpus.dataset("train")
    assert len(dataset) == len(corpus["train"])
    assert pa.total_allocated_bytes() == allocated, "the table is a view of the file"
    selection = split.dataset()
    assert pa.total_allocated_bytes() - allocated < size / 5, "a selection holds the indices of its rows only"
    assert [tuple(words) for words in selection["words"]] == [sentence.words for sentence in split.sentences()]


def resident(path: Path) -> int:
    """KiB of the mappings of a file that are resident in this process."""
    mappings = Path("/proc/self/smaps").read_text().split(f" {path}\n")[1:]
    return sum(int(mapping.partition("\nRss:")[2].split()[0]) for mapping in mappings)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells what is resident")
def test_what_was_read_through_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "train.arrow"
    with sentence_table.SentenceWriter(path) as writer:
        for number in range(25_000):
            writer.add(("Anna", f"w{number}"), (Entity(0, 1, "PER"),))
    table = sentence_table.SentenceTable(path)
    assert resident(path) == 0, "opening reads where batches are, and no more"
    assert table.words(24_999) == ("Anna", "w24999")
    assert resident(path) > 0, "a row is a view of the file"
    assert table.type_counts == {"PER": 25_000}
    assert len(table.having({"PER"})) == sum(table.lengths == 2) == 25_000
    assert resident(path) == 0
    assert table.words(0) == ("Anna", "w0")


def test_a_file_without_an_arrow_stream_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "train.arrow"
    path.write_bytes(b"not an Arrow stream")
    with pytest.raises(pa.ArrowInvalid):
        map_table(path)


# ---- what a corpus is called


def test_a_fingerprint_is_of_content_only(folder: Path, tmp_path: Path, store: ObjectStore) -> None:
    fingerprint = read(folder, store).fingerprint
    spellings: dict[str, tuple[str, bytes]] = {
        "spaces": (".txt", as_columns(SENTENCES, parting="  ").encode()),
        "crlf": (".txt", EXCERPT.replace("\n", "\r\n").encode()),
        "mark": (".txt", b"\xef\xbb\xbf" + EXCERPT.encode()),
        "packed": (".txt.gz", gzip.compress(EXCERPT.encode())),
        "torn": (".txt", EXCERPT.rstrip("\n").encode()),
        "loose": (".txt", ("\n \n" + EXCERPT.replace("\n\n", "\n\t\n\n") + "\n\n").encode()),
        "tags": (".jsonl", as_tags(SENTENCES).encode()),
        "entities": (".jsonl", as_entities(SENTENCES).encode()),
    }
    for name, (suffix, content) in spellings.items():
        place = tmp_path / name
        place.mkdir()
        for part in PARTS:
            (place / f"{part}{suffix}").write_bytes(content)
        assert read(place, store, "jsonl" if suffix == ".jsonl" else "columns").fingerprint == fingerprint, name
    stored = {key.split("/")[1] for key in store.list("corpora")}
    assert stored == {fingerprint, "sources"}


CHANGES: dict[str, Callable[[list[tuple[tuple[str, ...], tuple[Entity, ...]]]], Sentences]] = {
    "a word": lambda sentences: [(("Eva", *sentences[0][0][1:]), sentences[0][1]), *sentences[1:]],
    "a type": lambda sentences: [(sentences[0][0], (Entity(0, 2, "animal"), *sentences[0][1][1:])), *sentences[1:]],
    "a boundary": lambda sentences: [(sentences[0][0], (Entity(0, 1, "person"), *sentences[0][1][1:])), *sentences[1:]],
    "an entity": lambda sentences: [(sentences[0][0], sentences[0][1][1:]), *sentences[1:]],
    "the order": lambda sentences: sentences[::-1],
    "a sentence": lambda sentences: sentences[:-1],
    "two into one": lambda sentences: [*sentences[:1], (sentences[1][0] + sentences[2][0], sentences[1][1])],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("part", PARTS)
def test_any_change_of_content_changes_the_fingerprint(
    change: str, part: str, folder: Path, store: ObjectStore
) -> None:
    before = read(folder, store).fingerprint
    (folder / f"{part}.conll").write_text(as_columns(CHANGES[change](list(SENTENCES))), encoding="utf-8")
    assert read(folder, store).fingerprint != before


def test_a_sentence_that_moves_to_another_part_changes_the_fingerprint(folder: Path, store: ObjectStore) -> None:
    (folder / "dev.conll").write_text(as_columns(SENTENCES[:2]), encoding="utf-8")
    before = read(folder, store).fingerprint
    (folder / "dev.conll").write_text(as_columns(SENTENCES), encoding="utf-8")
    (folder / "test.conll").write_text(as_columns(SENTENCES[1:]), encoding="utf-8")
    assert read(folder, store).fingerprint != before


def test_the_same_bytes_are_read_once(
    folder: Path, tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = read(folder, store)
    moved = folder.rename(tmp_path / "moved")

    def unreadable(*_: object) -> Iterator[Row]:
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr(LAYOUTS["columns"], "rows", unreadable)
        again = read(moved, store)
        assert (again.fingerprint, again.notes, again.source) == (
            corpus.fingerprint,
            corpus.notes,
            f"columns {moved}",
        )
        with pytest.raises(AssertionError, match="read again"):
            read(moved, store, repair="lenient")
    (moved / "test.conll").write_text(as_columns(SENTENCES[:1]), encoding="utf-8")
    assert len(read(moved, store)["test"]) == 1


@pytest.mark.parametrize("harm", ["removed", "cut"])
def test_a_damaged_corpus_is_read_again(harm: str, folder: Path, store: ObjectStore) -> None:
    corpus = read(folder, store)
    key = f"corpora/{corpus.fingerprint}"
    if harm == "removed":
        store.remove(key)
    else:
        store.write(f"{key}/train.arrow", b"ARROW1")
    assert sentences_of(read(folder, store)) == SENTENCES
    assert store.damage(key) == ""


def forged_offsets(table: pa.Table) -> pa.Table:
    """Words that lie beyond the end of the file."""
    words = table["words"].combine_chunks()
    offsets = words.offsets.to_numpy().copy()
    offsets[1] = 1 << 30
    forged = pa.Array.from_buffers(words.type, len(words), [None, pa.py_buffer(offsets)], children=[words.values])
    return table.set_column(1, "words", forged)


def empty_words(table: pa.Table) -> pa.Table:
    words = pa.array([["", *row[1:]] for row in table["words"].to_pylist()], table.schema.field("words").type)
    return table.set_column(1, "words", words)


@pytest.mark.parametrize(
    ("forge", "expected"),
    [
        (forged_offsets, "not a corpus"),
        (empty_words, "a word of train is empty"),
        (lambda table: table.drop(["entities"]), "the columns of train are id, words"),
    ],
)
def test_a_forged_corpus_is_refused(
    forge: Callable[[pa.Table], pa.Table], expected: str, folder: Path, store: ObjectStore, tmp_path: Path
) -> None:
    """Its checksums are right: whoever may write to a store can write these too."""
    corpus = read(folder, store)
    forged = tmp_path / "forged"
    shutil.copytree(store.local(f"corpora/{corpus.fingerprint}"), forged, ignore=shutil.ignore_patterns("MANIFEST"))
    table = forge(map_table(forged / "train.arrow"))
    (forged / "train.arrow").unlink()
    with ipc.new_stream(str(forged / "train.arrow"), table.schema) as stream:
        stream.write_table(table)
    store.push(forged, f"corpora/{corpus.fingerprint}")
    assert not store.damage(f"corpora/{corpus.fingerprint}")
    for use in (lambda: Corpus.open(store, corpus.fingerprint), lambda: read(folder, store)):
        with pytest.raises(InputError, match=expected):
            use()
    store.remove(f"corpora/{corpus.fingerprint}")
    assert sentences_of(read(folder, store)) == SENTENCES


# ---- where raw files are


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        ("train.txt dev.txt test.txt", "train dev test"),
        ("eng.train eng.testa eng.testb", "train dev test"),
        ("training.conll development.conll testing.conll", "train dev test"),
        ("wnut17train.conll emerging.dev.conll emerging.test.annotated", "train dev test"),
        ("a-train.jsonl a-valid.jsonl a-test.jsonl", "train dev test"),
        ("train.txt validation.txt", "train dev"),
        ("TRAIN.txt val.txt", "train dev"),
        ("train_2.txt train_1.txt", "train train"),
        ("train.txt latest.txt README.md .train.txt.swp", "train"),
    ],
)
def test_file_names_in_a_folder_determine_their_part(names: str, parts: str, tmp_path: Path) -> None:
    for name in names.split():
        (tmp_path / name).touch()
    assert [file.part for file in find(str(tmp_path), [])] == parts.split()


def test_several_files_of_a_part_are_read_in_the_order_of_their_names(tmp_path: Path, store: ObjectStore) -> None:
    for name, word in (("train_b", "two"), ("train_a", "one"), ("train_c", "three"), ("dev", "d"), ("test", "t")):
        (tmp_path / name).write_text(f"{word} B-x\n")
    assert [words for words, _ in sentences_of(read(tmp_path, store))] == [("one",), ("two",), ("three",)]


def test_a_folder_determines_the_part_of_files_without_one(tmp_path: Path) -> None:
    for name in (
        "data/development/en/bc/a_1.gold",
        "data/train/en/x/y/b_2.gold",
        "data/train/c.gold",
        "data/train/n.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "data" / "test_set").mkdir()
    (tmp_path / "data" / "test_set" / "train.gold").touch()
    parts = [(file.part, file.name.rpartition("/")[2]) for file in find(f"{tmp_path}/data/**/*.gold", [])]
    assert sorted(parts) == [("dev", "a_1.gold"), ("train", "b_2.gold"), ("train", "c.gold"), ("train", "train.gold")]
    assert [file.part for file in find(f"{tmp_path}/**/en/**/?_?.gold", [])] == ["train", "dev"]


def test_patterns_and_addresses_are_sources(folder: Path) -> None:
    (folder / "extra.conll").touch()
    for source in (f"{folder}/*.conll", f"{folder.parent}/r?w/*.conll", folder.as_uri() + "/*.conll"):
        notes: list[str] = []
        files = find(source, notes)
        assert [file.part for file in files] == ["train", "dev", "test"]
        assert files[0].name.endswith("/train.conll")
        assert len(notes) == 1
        assert "extra.conll" in notes[0]
    assert [file.part for file in find(f"{folder}/e*", [])] == ["train"]
    assert [file.part for file in find(f"{folder}/test.conll", [])] == ["train"]
    assert find(folder.as_uri(), [])[0].name.endswith("/train.conll")


def test_a_name_with_a_pattern_sign_is_itself(tmp_path: Path) -> None:
    (tmp_path / "train[1].txt").touch()
    assert find(str(tmp_path / "train[1].txt"), [])[0].name.endswith("train[1].txt")


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("nowhere", "no such file or folder"),
        ("nowhere/*.conll", "no such file or folder"),
        ("", "no training file among no files at all"),
        ("*.conll", "no training file"),
        ("only_test", "no training file among test.conll"),
    ],
)
def test_a_source_that_has_no_training_file_is_rejected(source: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "only_test").mkdir()
    (tmp_path / "only_test" / "test.conll").touch()
    with pytest.raises(InputError, match=what) as error:
        find(f"{tmp_path}/{source}", [])
    assert "scenario.corpus.path" in error.value.hint


def test_no_credential_is_shown() -> None:
    with pytest.raises(InputError) as error:
        find("nosuch://key:secret@bucket/folder?token=secret", [])
    assert "secret" not in error.value.location


def test_a_layout_without_a_path_is_rejected(store: ObjectStore) -> None:
    with pytest.raises(InputError, match=r"scenario\.corpus\.path: the layout columns needs files"):
        prepare(LAYOUTS["columns"](), store, quiet)


def test_sources_are_named_by_the_settings_of_the_version_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new setting at its default renames no prepared source; only another `READER_VERSION` does."""
    monkeypatch.setattr(corpora, "READER_VERSION", 1)
    layouts_of_before = (
        LAYOUTS["columns"](path="anywhere"),
        LAYOUTS["conll2003"](path="anywhere", repair="lenient"),
        LAYOUTS["columns"](path="anywhere", tag_column=1),
    )
    (file,) = find(str(folder / "train.conll"), [])
    keys = [corpora._source_key(layout, [file]) for layout in layouts_of_before]
    assert keys == ["4cf58d9600eb3f9e", "3b40abd03056a395", "cb21cb1a830fdd84"]


# ---- what is carved


def test_missing_parts_are_carved_by_seed_and_share(tmp_path: Path, store: ObjectStore) -> None:
    source = tmp_path / "all.conll"
    source.write_text("".join(f"w{i} B-x\n\n" for i in range(100)))
    corpus = read(source, store, dev_share=0.2, test_share=0.1, seed=5)
    words = {part: [sentence[0] for sentence, _ in sentences_of(corpus, part)] for part in PARTS}
    assert [len(words[part]) for part in PARTS] == [70, 20, 10]
    assert sorted(word for carved in words.values() for word in carved) == sorted(f"w{i}" for i in range(100))
    for carved in words.values():
        assert carved == sorted(carved, key=lambda word: int(word[1:]))
    assert corpus.notes[1:] == (
        "dev: no file of its own, 20 of 100 training sentences (seed 5)",
        "test: no file of its own, 10 of 100 training sentences (seed 5)",
    )
    assert words["dev"] != [f"w{i}" for i in range(20)]
    other = ObjectStore(str(tmp_path / "other"))
    assert read(source, other, dev_share=0.2, test_share=0.1, seed=5).fingerprint == corpus.fingerprint
    assert read(source, store, dev_share=0.2, test_share=0.1, seed=6).fingerprint != corpus.fingerprint


@pytest.mark.parametrize("missing", ["dev", "test"])
def test_only_the_missing_part_is_carved(
    missing: str, folder: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence_table, "BATCH_ROWS", 2)
    (folder / f"{missing}.conll").unlink()
    corpus = read(folder, store)
    assert {part: len(corpus[part]) for part in PARTS} == {"train": 2, "dev": 3, "test": 3} | {missing: 1}
    assert corpus.notes[1] == f"{missing}: no file of its own, 1 of 3 training sentences (seed 0)"


# ---- errors


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"fingerprint": ', b'{"fingerprint": "../runs", "notes": []}', b"\xff"]
)
def test_a_record_of_a_source_that_cannot_be_read_is_made_again(
    content: bytes, folder: Path, store: ObjectStore
) -> None:
    first = read(folder, store)
    (key,) = store.list("corpora/sources")
    record = store.read(key)
    store.write(key, content)
    assert read(folder, store).fingerprint == first.fingerprint
    assert store.read(key) == record


def test_a_corpus_is_committed_under_a_lock(folder: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[str] = []
    push = ObjectStore.push

    def watch(self: ObjectStore, directory: Path, key: str) -> None:
        held.extend(self.list("locks"))
        push(self, directory, key)

    monkeypatch.setattr(ObjectStore, "push", watch)
    corpus = read(folder, store)
    assert held == [f"locks/corpora/{corpus.fingerprint}"]
    assert store.list("locks") == []


def no_trace(store: ObjectStore) -> bool:
    return store.list("") == []


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("Ada B-x\nruns\n", 2, "1 columns where the lines above have 2: 'runs'"),
        ("Ada B-x\nNew York O\n", 2, "3 columns where the lines above have 2"),
        ("Ada\n", 1, "1 column, too few for a word in column 0 and a tag in column -1"),
        ("Ada B-x\n\nruns I-x\n", 3, "I-x without a B-x before it"),
        ("Ada B-x\nruns I-y\n", 2, "I-y without a B-y before it"),
        ("Ada B-x\n\nruns S-y\n", 1, "B-x without an E-x after it"),
        ("Ada B-x\nruns PER\n", 2, "tag 'PER' is not BIO"),
        ("Ada B_PER\nruns O\n", 1, "tag 'B_PER' is not IO"),
        ("Ada B-x\nruns B-\n", 2, "tag 'B-' is not BIO"),
        ("Ada\tB-x\nruns\t\n", 2, "tag '' is not BIO"),
        ("Ada\tB-x\n\tO\n", 2, "a tag without a word"),
        ("", None, "no sentence in this file"),
        ("\n-DOCSTART- O\n\n", None, "no sentence in this file"),
    ],
)
def test_bad_columns_are_rejected_at_their_line(
    text: str, line: int | None, what: str, folder: Path, store: ObjectStore
) -> None:
    for bad in PARTS[1:]:
        (folder / f"{bad}.conll").unlink()
    for name in ("dev.conll", "train.conll"):
        (folder / name).write_text(text)
    with pytest.raises(InputError) as error:
        read(folder, store)
    assert error.value.location == f"{folder}/train.conll" + (f":{line}" if line else "")
    assert error.value.what.startswith(what)
    assert error.value.hint
    assert no_trace(store)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"tokens": ["a"], "entities": [{"start": 0, "end": 1, "type": "x"}]', "not JSON"),
        ("[1, 2]", "found [1, 2]"),
        ('{"entities": []}', "tokens are missing"),
        ('{"tokens": [], "entities": []}', "tokens are []"),
        ('{"tokens": ["a", ""], "entities": []}', 'tokens are ["a", ""]'),
        ('{"tokens": ["a"]}', "entities are missing"),
        ('{"tokens": ["a"], "tags": ["O"]}', "entities are missing"),
        ('{"tokens": ["a"], "entities": [[0, 1]]}', "entity is [0, 1]"),
        ('{"tokens": ["a"], "entities": [{"start": 0, "stop": 1, "type": "x"}]}', 'entity is {"start": 0, "stop": 1'),
        ('{"tokens": ["a"], "entities": [[0, "1", "x"]]}', 'entity is [0, "1", "x"]'),
        ('{"tokens": ["a"], "entities": [[0, 1, ""]]}', 'entity is [0, 1, ""]'),
        ('{"tokens": ["a"], "entities": [[0, 2, "x"]]}', "span 0..2 (x) lies outside the sentence's 1 words"),
        ('{"tokens": ["a"], "entities": [[0, 0, "x"]]}', "span 0..0 (x) lies outside"),
        ('{"tokens": ["a", "b"], "entities": [[0, 2, "x"], [1, 2, "y"]]}', "spans 0..2 (x) and 1..2 (y) overlap"),
        ('{"tokens": ["\\ud83d"], "entities": []}', "an escape names half a character"),
    ],
)
def test_bad_objects_are_rejected_at_their_line(line: str, what: str, tmp_path: Path, store: ObjectStore) -> None:
    source = tmp_path / "train.jsonl"
    source.write_text(f"{as_entities(SENTENCES)}\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        read(source, store, "jsonl")
    assert error.value.location == f"{source}:5"
    assert error.value.what.startswith(what)
    assert error.value.hint
    assert no_trace(store)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"tokens": ["a", "b"], "tags": ["O"]}', "2 tokens but 1 tags"),
        ('{"tokens": ["a"], "tags": [0]}', "tags are numbers without names: [0]"),
        ('{"tokens": ["a"], "entities": []}', "tags are missing"),
        ('{"tokens": ["a"], "tags": ["I-x"]}', "I-x without a B-x before it"),
    ],
)
def test_bad_tags_in_objects_are_rejected_at_their_line(
    line: str, what: str, tmp_path: Path, store: ObjectStore
) -> None:
    source = tmp_path / "train.jsonl"
    source.write_text(f"{as_tags(SENTENCES)}{line}\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        read(source, store, "jsonl")
    assert error.value.location == f"{source}:4"
    assert error.value.what.startswith(what)
    assert no_trace(store)


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (b"Ada B-x\n\xe9t\xe9 O\n", ":2", "byte 0xe9 is not UTF-8"),
        ("Ada B-x\n".encode("utf-16"), ":1", "byte 0xff is not UTF-8"),
        (b"\xef\xbb\xbf", "", "no sentence in this file"),
    ],
)
def test_files_that_are_not_text_are_rejected(
    content: bytes, line: str, what: str, tmp_path: Path, store: ObjectStore
) -> None:
    source = tmp_path / "train.conll"
    source.write_bytes(content)
    with pytest.raises(InputError) as error:
        read(source, store)
    assert (error.value.location, error.value.what) == (f"{source}{line}", what)
    assert no_trace(store)


def test_a_torn_archive_is_rejected(tmp_path: Path, store: ObjectStore) -> None:
    source = tmp_path / "train.conll.gz"
    source.write_bytes(gzip.compress(EXCERPT.encode() * 9)[:-20])
    with pytest.raises(InputError, match=r"train\.conll\.gz: cannot be read"):
        read(source, store)
    assert no_trace(store)


def test_a_late_error_leaves_nothing_in_the_store(
    tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence_table, "BATCH_ROWS", 10)
    source = tmp_path / "train.conll"
    source.write_text("a B-x\n\n" * 200 + "a I-x\n")
    with pytest.raises(InputError, match=r"train\.conll:401: I-x without"):
        read(source, store)
    assert no_trace(store)


def test_a_configured_scheme_is_enforced(folder: Path, store: ObjectStore) -> None:
    with pytest.raises(InputError, match=r"train\.conll:1: tag 'B-person' is not IO; .*scenario\.corpus\.scheme"):
        read(folder, store, scheme="IO")


def test_a_type_that_the_named_corpus_lacks_is_rejected(folder: Path, store: ObjectStore) -> None:
    with pytest.raises(InputError, match=r"train\.conll:5: type 'animal' is not one of this corpus") as error:
        read(folder, store, "conll2003")
    assert "columns" in error.value.hint
    assert no_trace(store)


def test_a_corpus_without_entities_is_rejected(folder: Path, store: ObjectStore) -> None:
    (folder / "train.conll").write_text("Nobody O\n\n" * 3)
    with pytest.raises(InputError, match="no entity in the training sentences"):
        read(folder, store)
    assert no_trace(store)


def test_a_corpus_too_small_to_carve_is_rejected(tmp_path: Path, store: ObjectStore) -> None:
    source = tmp_path / "train.conll"
    source.write_text("Ada B-x\n\nBob B-x\n")
    with pytest.raises(InputError, match="2 training sentences are too few to carve dev and test from"):
        read(source, store)
    assert no_trace(store)


def test_types_that_training_never_shows_are_noted(folder: Path, store: ObjectStore) -> None:
    (folder / "train.conll").write_text("Ada B-person\n")
    corpus = read(folder, store)
    assert corpus.types == ("animal", "date", "location", "organization", "person")
    assert corpus.notes[-1] == "never in the training sentences: animal, date, location, organization"


def test_lenient_reading_fixes_tags_and_counts(folder: Path, store: ObjectStore) -> None:
    (folder / "train.conll").write_text("Ada B-x\n\nO O\nBob I-x\nruns I-y\n")
    corpus = read(folder, store, repair="lenient")
    assert sentences_of(corpus)[1] == (("O", "Bob", "runs"), (Entity(1, 2, "x"), Entity(2, 3, "y")))
    assert "2 tags that broke BIO were repaired" in corpus.notes


def test_lenient_reading_drops_impossible_spans_and_counts(tmp_path: Path, store: ObjectStore) -> None:
    source = tmp_path / "train.jsonl"
    spans = [[0, 2, "x"], [1, 3, "y"], [2, 3, "z"], [3, 9, "x"], [-1, 0, "x"]]
    source.write_text((json.dumps({"tokens": ["a", "b", "c"], "entities": spans}) + "\n") * 3)
    corpus = read(source, store, "jsonl", repair="lenient")
    assert sentences_of(corpus) == [(("a", "b", "c"), (Entity(0, 2, "x"), Entity(2, 3, "z")))]
    assert "9 spans that left their sentence or overlapped an earlier one were dropped" in corpus.notes


@pytest.mark.parametrize(
    ("layout", "settings"),
    [
        ("columns", {"dev_share": 0}),
        ("jsonl", {"dev_share": 0.6, "test_share": 0.4}),
        ("few_nerd", {"tag_column": 0}),
        ("parquet", {"seed": -1}),
        ("demo", {"seed": -1}),
        ("demo", {"sentences": 3}),
    ],
)
def test_invalid_settings_are_rejected(layout: str, settings: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"scenario\.corpus"):
        build_layout({"name": layout, **settings}, "scenario.corpus")


@pytest.mark.s3
def test_a_bucket_is_a_source_and_a_store(s3_uri: str, tmp_path: Path) -> None:
    for part in PARTS:
        (tmp_path / f"{part}.conll").write_text(EXCERPT, encoding="utf-8")
        ObjectStore(s3_uri).write(f"raw/{part}.conll", EXCERPT.encode())
    here = prepare(LAYOUTS["columns"](path=str(tmp_path)), ObjectStore(str(tmp_path / "store")))
    there = prepare(LAYOUTS["columns"](path=f"{s3_uri}/raw"), ObjectStore(f"{s3_uri}/store"))
    assert there.fingerprint == here.fingerprint
    assert [there["train"].words(i) for i in range(3)] == [words for words, _ in SENTENCES]
