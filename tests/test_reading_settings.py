"""Settings that read files as they are: each refusal names the one that reads the file, and it does."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycner.cli.program import main
from raycner.config import RunConfig
from raycner.data.annotated import read_annotated
from raycner.data.corpora import Corpus, _line, _sentence_line, prepare
from raycner.data.entities import Entity
from raycner.data.layouts import columns as columns_module
from raycner.data.layouts.layout import LAYOUTS
from raycner.data.sources import find, single
from raycner.errors import InputError
from raycner.storage.store import ObjectStore

PER = Entity(0, 1, "PER")
SENTENCE = "Anna\tB-PER\nran\tO\n\n"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Corpus]:
    """Reads `content`, repeated, as the training file of a corpus."""

    def read(content: str | bytes, layout: str = "columns", suffix: str = "conll", **settings: object) -> Corpus:
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / f"train.{suffix}").write_bytes(data if settings.pop("once", False) else data * 12)
        return prepare(LAYOUTS[layout](path=str(tmp_path), **settings), ObjectStore(str(tmp_path / "store")), str)

    return read


def entities(corpus: Corpus) -> list[tuple[tuple[str, ...], tuple[Entity, ...]]]:
    """The distinct sentences of training, in order."""
    rows = corpus["train"]
    return list(dict.fromkeys((rows.words(row), rows.entities(row)) for row in range(len(rows))))


def refusal(read: Callable[[], object]) -> InputError:
    with pytest.raises(InputError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return caught.value


REFUSED: Mapping[str, tuple[str | bytes, str, dict[str, object]]] = {
    "a line without a word": ("Anna\tB-PER\nran\tO\n\tO\n\n", "empty_words=drop", {"empty_words": "drop"}),
    "a line of a blank and a tag": ("Anna\tB-PER\nran\tO\n\t O\n\n", "empty_words=drop", {"empty_words": "drop"}),
    "a sentence without a word": ("\tO\n\nAnna\tB-PER\nran\tO\n\n", "empty_words=drop", {"empty_words": "drop"}),
    "lines that end in CR": ("Anna\tB-PER\rran\tO\r\r", "line_ends=cr", {"line_ends": "cr"}),
    "CR and CRLF": ("Anna\tB-PER\rran\tO\r\n\r\n", "line_ends=cr", {"line_ends": "cr"}),
    "latin-1": (b"Anna\tB-PER\nran\tO\n\nJos\xe9\tO\n\n", "encoding=latin-1", {"encoding": "latin-1"}),
    "tabs and spaces": ("Anna NNP\tB-PER\nran VBD\tO\n\n", "separator=whitespace", {"separator": "whitespace"}),
    "spaces and tabs": ("Anna x y\tB-PER\nran x y\tO\n\n", "separator=whitespace", {"separator": "whitespace"}),
    "comments with tabs": ("# id\t1\nAnna\tB-PER\nran\tO\n\n", "comment='\"#\"'", {"comment": "#"}),
    "a comment that ends in a number": ("# id = 0\n# text = x\nAnna\tB-PER\nran\tO\n\n", "comment", {"comment": "#"}),
    "comments of a treebank": ("# id = 1\n# text = x\nAnna\tB-PER\nran\tO\n\n", "comment", {"comment": "#"}),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_the_setting_of_the_hint_reads_the_file(case: str, read: Callable[..., Corpus]) -> None:
    content, hint, settings = REFUSED[case]
    error = refusal(lambda: read(content))
    assert f"scenario.corpus.{hint}" in error.hint
    assert entities(read(content, **settings))[0] == (("Anna", "ran"), (PER,))


def test_utf_16_is_named_and_read(read: Callable[..., Corpus]) -> None:
    content = (SENTENCE * 12).encode("utf-16")
    assert "scenario.corpus.encoding=utf-16" in refusal(lambda: read(content, once=True)).hint
    assert entities(read(content, once=True, encoding="utf-16")) == [(("Anna", "ran"), (PER,))]


def test_an_encoding_that_python_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="encoding 'utf-7000'"):
        LAYOUTS["columns"](path="x", encoding="utf-7000")


def test_lines_without_a_word_are_counted(read: Callable[..., Corpus]) -> None:
    content = "Anna\tB-PER\n\tO\nran\tO\n\n"
    assert read(content, empty_words="drop").notes[1] == "12 lines without a word were dropped"
    assert read(content, repair="lenient").notes[1] == "12 lines without a word were dropped"


@pytest.mark.parametrize(
    "line",
    ["-DOCSTART- -X- O", "-docstart- O", "DOCSTART- -X- -1- O", '"-DOCSTART-" O', "1 -DOCSTART- O", "O\t-DOCSTART-"],
)
def test_documents_begin_in_several_ways(line: str, read: Callable[..., Corpus]) -> None:
    assert entities(read(f"{line}\n\nAnna B-PER\nran O\n\n")) == [(("Anna", "ran"), (PER,))]


def test_what_only_mentions_a_document_is_a_word(read: Callable[..., Corpus]) -> None:
    assert entities(read("docstart B-PER\nDOCSTART O\n\n"))[0][0] == ("docstart", "DOCSTART")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Anna \tB-PER\n ran\tO\n\n", ("Anna", "ran")),
        ("  Anna   B-PER\nran  O  \n\n", ("Anna", "ran")),
        ("New York\tB-PER\nran\tO\n\n", ("New York", "ran")),
        (" \tO\nran\tB-PER\n\n", (" ", "ran")),
        ("Anna B-PER\nran\tO\n\n", ("Anna", "ran")),
    ],
)
def test_spaces_around_words_are_none_of_theirs(text: str, words: tuple[str, ...], read: Callable[..., Corpus]) -> None:
    assert entities(read(text))[0][0] == words


SCHEMES = {
    "IOE2": ("a I-X\nb E-X\nc E-X\nd O\n\n", [(0, 2), (2, 3)]),
    "IOE1": ("a I-X\nb E-X\nc I-X\nd O\n\n", [(0, 2), (2, 3)]),
    "IOB1": ("a I-X\nb I-X\nc B-X\nd O\n\n", [(0, 2), (2, 3)]),
    "IOB2": ("a B-X\nb I-X\nc B-X\nd O\n\n", [(0, 2), (2, 3)]),
    "BILOU": ("a B-X\nb L-X\nc U-X\nd O\n\n", [(0, 2), (2, 3)]),
    "IOBES": ("a B-X\nb E-X\nc S-X\nd O\n\n", [(0, 2), (2, 3)]),
    "BMEWO": ("a B-X\nb E-X\nc W-X\nd O\n\n", [(0, 2), (2, 3)]),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_read_by_name(scheme: str, read: Callable[..., Corpus]) -> None:
    text, spans = SCHEMES[scheme]
    expected = [Entity(start, end, "X") for start, end in spans]
    assert list(entities(read(text, scheme=scheme))[0][1]) == expected
    if scheme != "BMEWO":  # W- alone may be a type
        assert list(entities(read(text))[0][1]) == expected


def test_an_entity_of_ioe2_must_end(read: Callable[..., Corpus]) -> None:
    error = refusal(lambda: read("a I-X\nb O\n\nc I-X\nd E-X\n\n", scheme="IOE2"))
    assert error.what == "I-X without an E-X after it (tags are IOE2)"


# ---- all errors of a file


def test_all_errors_of_a_file_are_reported_at_once(
    read: Callable[..., Corpus], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = "Anna\tB-PER\nran\tO\n\na\tI-PER\nb\tO\n\n\tO\nc\tO\n\nd\tO\tO\n\ne\tX-PER\nf\tO\n\n"
    error = refusal(lambda: read(broken, scheme="BIO"))
    assert len(error.others) == 19 and error.more == 4 * 12 - 20
    whats = [other.what for other in error.others[:3]]
    assert [error.what, *whats] == [
        "I-PER without a B-PER before it (tags are BIO)",
        "a tag without a word",
        "3 columns where the lines above have 2: 'd\\tO\\tO'",
        "tag 'X-PER' is not BIO",
    ]
    words = ["scenario.corpus.name=columns", f"scenario.corpus.path={tmp_path}", "scenario.corpus.scheme=BIO"]
    assert main(["prepare", *words, f"store={tmp_path / 'store'}"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "(and 47 more errors in this file)" in lines[0] and len(lines) == 21 and lines[-1] == "  and 28 more"


def test_errors_are_those_of_the_first_file_that_has_some(tmp_path: Path) -> None:
    (tmp_path / "a_train.conll").write_text(SENTENCE + "x\tI-PER\n\ny\tI-LOC\n")
    (tmp_path / "b_train.conll").write_text(SENTENCE + "z\tI-PER\n")
    layout = LAYOUTS["columns"](path=str(tmp_path), scheme="BIO")
    error = refusal(lambda: list(layout.rows(layout.files([]), [])))
    assert [error.location, *(other.location for other in error.others)] == [
        f"{tmp_path}/a_train.conll:4",
        f"{tmp_path}/a_train.conll:6",
    ]


CONLL2012 = "d 0 {} {} NN * - - - - {} -\n"
"""A line of CoNLL-2012: number, word, name."""
I2B2 = '<r><TEXT>Anna ran home.</TEXT><TAGS><NAME id="P0" start="0" end="4" text="Anna" TYPE="PATIENT"/>{}</TAGS></r>'
PUBTATOR = "1|t|Anna ran home.\n1|a|\n1\t0\t4\tAnna\tPER\t-\n{}\n"
BIOC_TEXT = '{{"offset": 0, "text": "Anna ran.", "annotations": [{}]}}'
BIOC_MARK = '{"infons": {"type": "PER"}, "text": "Anna", "locations": [{"offset": 0, "length": 4}]}'


def _bioc(*marks: str) -> str:
    texts = ", ".join(BIOC_TEXT.format(mark) for mark in marks)
    return f'{{"documents": [{{"id": "1", "passages": [{texts}]}}]}}\n'


def _conllu(*words: str) -> str:
    return "".join(f"{number}\t{word}" + "\t_" * 7 + "\tNER=B-PER\n" for number, word in enumerate(words, 1)) + "\n"


WEBANNO = "#FORMAT=WebAnno TSV 3.3\n#T_SP=de.NamedEntity|value\n\n\n1-1\t0-4\tAnna\tPER\n\n{}"
SEVERAL_ERRORS = {  # three errors, of sentences that differ where a file has several
    "conll2012": (
        "train_gold_conll",
        CONLL2012.format(0, "Anna", "(PER)")
        + "\n"
        + (CONLL2012.format(0, "Bob", "PER") + "\n") * 2
        + "d 0 0\n"
        + CONLL2012.format(1, "x", "*"),
        [
            "name 'PER' is not in brackets",
            "name 'PER' is not in brackets",
            "3 columns, too few for CoNLL-2012: 'd 0 0'",
        ],
    ),
    "i2b2": (
        "train.xml",
        I2B2.format(
            '<NAME id="P1" start="x" end="4" TYPE="PATIENT"/><NAME id="P0" start="5" end="8" TYPE="PATIENT"/>'
            '<AGE id="P2" start="9" TYPE="AGE"/>'
        ),
        ["start and end are not numbers", "P0 occurs twice", "start and end are not numbers"],
    ),
    "brat": (
        "train.ann",
        "T1\tPER 0 4\tAnna\nT2\tPER 0\tAnna\nT1\tPER 5 8\tran\nT3 PER 0 4 Anna\n",
        ["not an entity of brat: 'T2\\tPER 0\\tAnna'", "T1 occurs twice", "not an entity of brat: 'T3 PER 0 4 Anna'"],
    ),
    "pubtator": (
        "train.pubtator",
        PUBTATOR.format("1\t5\tx\tran\tPER\t-\n1\t5\t8\n") + "\n2\t0\t4\tAnna\tPER\t-\n\n3|t|Anna ran.\n",
        [
            "no text for '2'",
            "not an entity of PubTator: '1\\t5\\tx\\tran\\tPER\\t-'",
            "not an entity of PubTator: '1\\t5\\t8'",
        ],
    ),
    "bioc": (
        "train.json",
        _bioc(BIOC_MARK, "7", '{"infons": {}}') + '{"documents": 3}\n',
        ["infons is 7", "an annotation without 'type'", "documents are 3"],
    ),
    "webanno": (
        "train.tsv",
        WEBANNO.format("1-1\t0-4\tAnna\nx\n\n2-1\t0-4\tAnna\t*\n\n"),
        [
            "3 columns, too few for the feature in column 3",
            "not a line of WebAnno TSV 3: 'x'",
            "one of the spans without a value: 'Anna'",
        ],
    ),
    "conllu": (
        "train.conllu",
        _conllu("Anna") + _conllu("Anna", "", "ran", "") + _conllu(""),
        ["not a line of CoNLL-U, which has 10 columns with tabs between them"] * 3,
    ),
    "jsonl": (
        "train.jsonl",
        '{"tokens": ["Anna"], "tags": ["B-PER"]}\n{\n{"tokens": [], "tags": []}\n{"tokens": ["a"], "tags": []}\n',
        ["not JSON", "tokens are []", "1 tokens but 0 tags"],
    ),
    "gliner": (
        "train.json",
        '[{"tokenized_text": ["Anna"], "ner": [[0, 0, "PER"]]}, 3, {"tokenized_text": 1}, {"tokenized_text": ["a"]}]',
        ["found 3", "tokenized_text is 1", "ner is missing"],
    ),
}


@pytest.mark.parametrize("layout", SEVERAL_ERRORS)
def test_every_layout_reports_all_errors_of_a_file(layout: str, tmp_path: Path) -> None:
    name, text, whats = SEVERAL_ERRORS[layout]
    (tmp_path / name).write_text(text)
    if layout == "brat":
        (tmp_path / "train.txt").write_text("Anna ran home.\n")
    reader = LAYOUTS[layout](path=str(tmp_path / ("*" if layout == "brat" else name)))
    error = refusal(lambda: list(reader.rows(reader.files([]), [])))
    errors = [error, *error.others]
    assert len(errors) == len(whats) and not error.more
    for one, what in zip(errors, whats, strict=True):
        assert one.what.startswith(what) and one.location.startswith(f"{tmp_path}/{name}:")
    if layout not in ("i2b2", "brat"):  # whose file is one text
        notes: list[str] = []
        lenient = LAYOUTS[layout](path=reader.path, repair="lenient")
        assert list(lenient.rows(lenient.files([]), notes))
        assert any("cannot be read were dropped" in note for note in notes)


def test_lenient_reading_drops_and_counts(read: Callable[..., Corpus]) -> None:
    text = SENTENCE * 3 + "b\tX-PER\nBob\tB-PER\n\nd\tO\tO\n\n"
    corpus = read(text, scheme="BIO", repair="lenient", once=True, dev_share=0.25, test_share=0.25)
    assert corpus.types == ("PER",)
    assert [note.rpartition(", the first")[0] for note in corpus.notes[:2]] == [
        "1 sentences that cannot be read were dropped",
        "1 tags that are not BIO were read as O",
    ]


def test_lenient_reading_of_a_file_without_any_sentence_is_an_error(read: Callable[..., Corpus]) -> None:
    assert "not JSON" in refusal(lambda: read("{", "jsonl", "jsonl", repair="lenient", once=True)).what


def test_bad_lines_of_json_are_listed_or_dropped(read: Callable[..., Corpus]) -> None:
    text = '{"tokens": ["Anna", "ran"], "tags": ["B-PER", "O"]}\n{"tokens": ["x"], "tags": []}\nno\n'
    error = refusal(lambda: read(text, "jsonl", "jsonl"))
    assert error.what == "1 tokens but 0 tags" and error.others[0].what.startswith("not JSON")
    corpus = read(text, "jsonl", "jsonl", repair="lenient")
    assert entities(corpus) == [(("Anna", "ran"), (PER,))]
    assert corpus.notes[1].startswith("24 sentences that cannot be read were dropped")


# ---- long files


def test_a_file_without_a_blank_line_is_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_module, "MOST_WORDS", 1000)
    (tmp_path / "train.conll").write_text("w\tO\n" * 1001)
    layout = LAYOUTS["columns"](path=str(tmp_path))
    error = refusal(lambda: list(layout.rows(layout.files([]), [])))
    assert error.what == "no blank line in 1,000 lines, so this is one sentence"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_the_same_wherever_a_block_of_bytes_ends(end: str, tmp_path: Path) -> None:
    lines = [f"w{number}\u00e9\t{'O' * (number % 7)}" for number in range(150_000)]
    (tmp_path / "train.conll").write_bytes(end.join(lines).encode())
    assert list(single(str(tmp_path / "train.conll")).lines()) == list(enumerate(lines, start=1))


def test_sentences_are_the_same_wherever_a_block_of_bytes_ends(tmp_path: Path) -> None:
    block = "x O\ny O\n\n\nlonger-word B-A\n\n"
    (tmp_path / "train.conll").write_text(block * 60_000)
    starts = [start for start, _ in columns_module.paragraphs(single(str(tmp_path / "train.conll")))]
    assert starts == [first + 6 * number for number in range(60_000) for first in (1, 5)]


# ---- parts by name, and brackets


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.conll").write_text(text)


def test_parts_are_given_by_name(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    write(tmp_path, first=SENTENCE, second=SENTENCE * 2, held=SENTENCE * 3)
    write(tmp_path / "more", x=SENTENCE * 2, y=SENTENCE * 2)
    (tmp_path / "more" / "x.conll~").write_text("?")
    words = [
        "scenario.corpus.name=columns",
        f"scenario.corpus.train=[{tmp_path}/first.conll, {tmp_path}/second.conll]",
        f"scenario.corpus.dev={tmp_path}/held.conll",
        f"scenario.corpus.test={tmp_path}/more",
    ]
    corpus = prepare(RunConfig.load(words).scenario.corpus, ObjectStore(str(tmp_path / "store")), str)
    assert [len(corpus[part]) for part in ("train", "dev", "test")] == [3, 3, 4]
    assert corpus.source.startswith(f"columns train={tmp_path}/first.conll,{tmp_path}/second.conll dev=")
    assert corpus.notes[0] == "left out, as backups or predictions: x.conll~"


def test_parts_have_the_old_name_of_the_path_too(tmp_path: Path) -> None:
    layer = tmp_path / "job.yaml"
    layer.write_text("scenario:\n  corpus: columns\n  source: {train: a.conll, test: b.conll}\n")
    layout = RunConfig.load([str(layer)]).scenario.corpus
    assert layout.parts == {"train": ("a.conll",), "test": ("b.conll",)}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"path": "x", "train": "y"}, "both the path and parts are set"),
        ({"dev": "x"}, "dev without training"),
        ({"train": "HERE/a.conll", "dev": "HERE/a.conll"}, "in train and in dev"),
        ({"train": "HERE/none.conll"}, "no such file or folder"),
        ({"train": "HERE/*.jsonl"}, "no file in it"),
    ],
)
def test_parts_that_contradict_are_refused(settings: dict[str, str], what: str, tmp_path: Path) -> None:
    write(tmp_path, a=SENTENCE)
    places = {key: value.replace("HERE", str(tmp_path)) for key, value in settings.items()}
    assert refusal(lambda: LAYOUTS["columns"](**places).files([])).what == what


def test_a_test_set_with_a_path_takes_the_place_of_parts() -> None:
    words = ["scenario.corpus.name=columns", "scenario.corpus.train=a.conll", "eval.test.news.path=b.conll"]
    layout = RunConfig.load(words).test_layouts()["news"]
    assert (layout.path, layout.parts) == ("b.conll", {})  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "source", ["docs [v2]", "docs [v2]/*.conll", "docs [v2]/**/*.*", "*/train.conll", "docs [[]v2]/*"]
)
def test_brackets_of_a_folder_are_part_of_its_name(source: str, tmp_path: Path) -> None:
    (tmp_path / "docs [v2]").mkdir()
    write(tmp_path / "docs [v2]", train=SENTENCE)
    assert [Path(file.path).name for file in find(f"{tmp_path}/{source}", [])] == ["train.conll"]


def test_evaluation_reads_with_the_same_settings(tmp_path: Path) -> None:
    (tmp_path / "test.conll").write_bytes("Jos\xe9\tB-PER\rran\tO\r".encode("latin-1"))
    gold = read_annotated([str(tmp_path / "test.conll")], settings={"encoding": "latin-1", "line_ends": "cr"})
    assert [sentence.words for sentence in gold.sentences] == [("Jos\xe9", "ran")]


class Texts:
    """A file as runs of whole lines."""

    name = "file"

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def texts(self) -> list[str]:
        return self._texts


def plain_paragraphs(lines: list[str]) -> list[tuple[int, str]]:
    """What a reading line by line finds."""
    runs: list[tuple[int, str]] = []
    is_open = False
    for number, line in enumerate(lines, start=1):
        if line.strip(" \t"):
            runs[-1:] = [(runs[-1][0], f"{runs[-1][1]}\n{line}")] if is_open else [*runs[-1:], (number, line)]
        is_open = bool(line.strip(" \t"))
    return runs


@given(
    lines=st.lists(st.sampled_from(["", "", "a", "b\tO", " ", "\t"]), min_size=1, max_size=9),
    cuts=st.sets(st.integers(1, 8), max_size=3),
)
def test_paragraphs_are_those_of_the_lines(lines: list[str], cuts: set[int]) -> None:
    bounds = [0, *sorted(cut for cut in cuts if cut < len(lines)), len(lines)]
    texts = ["\n".join(lines[start:end]) for start, end in pairwise(bounds)]
    assert list(columns_module.paragraphs(Texts(texts))) == plain_paragraphs(lines)  # type: ignore[arg-type]


WORD = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=3)


@given(sentences=st.lists(st.lists(WORD, max_size=3), max_size=4))
def test_the_digest_of_a_sentence_is_that_of_its_json(sentences: list[list[str]]) -> None:
    for words in sentences:
        entities = [Entity(place, place + 1, word) for place, word in enumerate(words)]
        assert _sentence_line(words, entities) == _line([words, [[e.start, e.end, e.type] for e in entities]])


# ---- columns


@pytest.mark.parametrize(
    ("text", "hint", "settings"),
    [
        ("B-PER Anna\nO ran\n\n", "set scenario.corpus.token_column=1 and scenario.corpus.tag_column=0",
         {"token_column": 1, "tag_column": 0}),
        ("Anna B-PER NNP\nran O VBD\n\n", "scenario.corpus.tag_column=1;", {"tag_column": 1}),
        ("1\tAnna\tB-PER\tO\n2\tran\tO\tO\n\n1\tx\tO\tB-LOC\n2\ty\tO\tO\n\n", "set scenario.corpus.token_column=1",
         {"token_column": 1, "tag_column": 2}),
        ("0 Anna B-PER - -\n1 ran O - -\n\n", "set scenario.corpus.token_column=1 and scenario.corpus.tag_column=2",
         {"token_column": 1, "tag_column": 2}),
        ("Anna\tB-PER\t\nran\tO\t\n\n", "set scenario.corpus.tag_column=1", {"tag_column": 1}),
        ("Anna NNP B-PER -\nran VBD O -\n\n", "set scenario.corpus.tag_column=2", {"tag_column": 2}),
    ],
)  # fmt: skip
def test_the_hint_names_the_columns(
    text: str, hint: str, settings: dict[str, int], read: Callable[..., Corpus]
) -> None:
    assert hint in f"{refusal(lambda: read(text)).hint};"
    assert entities(read(text, **settings))[0] == (("Anna", "ran"), (PER,))


def test_numbers_among_words_are_words(read: Callable[..., Corpus]) -> None:
    assert entities(read("1 B-X\n2 O\n3 O\n\na O\n\n"))[0][0] == ("1", "2", "3")


def test_bad_rows_of_tables_are_listed_or_dropped(tmp_path: Path) -> None:
    rows = {"tokens": [["Anna", "ran"]] * 8 + [["x"], [""]], "ner_tags": [["B-PER", "O"]] * 8 + [["O", "O"], ["O"]]}
    pq.write_table(pa.table(rows), tmp_path / "train.parquet")
    store = ObjectStore(str(tmp_path / "store"))
    error = refusal(lambda: prepare(LAYOUTS["parquet"](path=str(tmp_path)), store, str))
    assert (error.what, [other.location for other in error.others]) == (
        "1 tokens but 2 tags",
        [f"{tmp_path}/train.parquet:10"],
    )
    lenient = prepare(LAYOUTS["parquet"](path=str(tmp_path), repair="lenient"), store, str)
    assert f"2 sentences that cannot be read were dropped, the first at {tmp_path}/train.parquet:9" in lenient.notes


CELLS = st.lists(st.sampled_from(["a", "B-x", "1", "\u00a0"]), min_size=1, max_size=3)


@given(rows=st.lists(CELLS, min_size=1, max_size=4), marks=st.lists(st.sampled_from("\t "), min_size=4, max_size=4))
def test_the_cells_of_a_block_are_those_of_its_lines(rows: list[list[str]], marks: list[str]) -> None:
    width = len(rows[0])
    text = "\n".join(mark.join(row) for mark, row in zip(marks, rows, strict=False))
    (block,) = columns_module.blocks(Texts([text]))  # type: ignore[arg-type]
    if any(len(row) != width for row in rows):
        assert isinstance(block, InputError)
    else:
        assert isinstance(block, columns_module.Block)
        assert [block.column(place) for place in range(width)] == list(zip(*rows, strict=True))
