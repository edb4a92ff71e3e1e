"""Inspections: what is read of files is said as a table, as JSON and as a page."""

import json
from pathlib import Path

import pytest

import raycner
from raycner.analysis.formatting import DASH
from raycner.cli.program import main
from raycner.errors import InputError

TRAIN = "Anna B-PER\nLee I-PER\nran O\n\nOslo B-LOC\n\nhome O\nis O\nBergen B-LOC\n\n"
TEST = "Oslo B-LOC\n\nAnna B-PER\nLee I-PER\nran O\n\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "news"
    made.mkdir()
    (made / "train.conll").write_text(TRAIN)
    (made / "test.conll").write_text(TEST)
    (made / "train.conll~").write_text("?")
    return made


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return " ".join(capsys.readouterr().out.replace(DASH, "-").split())


def test_a_folder_is_inspected_without_a_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, "inspect", str(folder))
    for row in ("files 1 - 1", "sentences 3 - 2", "words 7 - 4", "longest sentence 3 - 3", "LOC 2 - 1", "PER 1 - 1"):
        assert row in shown
    assert "read as columns read words in column 1, tags in column 2 of 2" in shown
    for note in ("tags read as BIO (detected)", "left out, as backups", "1 of 2 test sentences are also in train"):
        assert note in shown
    assert "split" not in shown and not (folder.parent / "store").exists()


def test_an_inspection_is_a_document(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(folder), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (corpus,) = document["corpora"]
    assert (document["schema"], corpus["layout"], corpus["fingerprint"], corpus["reach"]) == (1, "columns", None, None)
    assert corpus["parts"]["train"] == {
        "files": [f"{folder}/train.conll"],
        "sentences": 3,
        "words": 7,
        "longest": 3,
        "entities": {"LOC": 2, "PER": 1},
    }
    assert raycner.inspect(folder).data == document


def test_an_inspection_is_a_page_and_a_frame(folder: Path, tmp_path: Path) -> None:
    inspection = raycner.inspect(folder)
    inspection.write_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "What was read" in page and "1 of 2 test sentences are also in train" in page
    frame = inspection.entities()
    assert frame[["type", "train", "test"]].to_numpy().tolist() == [["LOC", 2, 1], ["PER", 1, 1]]
    assert "longest sentence" in inspection._repr_html_()
    assert repr(inspection) == f"<Inspection of columns {folder}: train 3, dev 0, test 2>"


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("Anna\tPER\nran\t0\n\n", ["scenario.corpus.outside='\"0\"'"]),
        ("# id\t1\nAnna\tPER\nran\tO\n\n", ["scenario.corpus.comment='\"#\"'"]),
        ("Anna\tB-PER\nran\tO\n\tO\n\n", ["scenario.corpus.empty_words=drop"]),
        ("Anna x\tB-PER\nran y\tO\n\n", ["scenario.corpus.separator=whitespace"]),
        ("Anna\tB-PER\rran\tO\r\r", ["scenario.corpus.line_ends=cr"]),
        ("word\ttag\nAnna\tPER\nran\tO\n\n", ["scenario.corpus.header=true"]),
        ("Anna\tPER-B\nran\tO\n\n", ["scenario.corpus.affix=suffix"]),
    ],
)
def test_the_setting_of_a_hint_works_as_it_stands(
    content: str, settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "news.conll"
    path.write_bytes(content.encode())
    assert main(["inspect", str(path)]) == 2
    error = capsys.readouterr().err
    assert all(setting in error for setting in settings)
    words = [setting.replace("'", "") for setting in settings]  # as a shell passes it
    assert "PER 1 - -" in printed(capsys, "inspect", str(path), *words)


def test_a_layout_can_be_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "train.conll").rename(folder / "train.weird")
    (folder / "test.conll").unlink()
    path = str(folder / "train.weird")
    assert main(["inspect", path]) == 2
    assert "scenario.corpus.name" in capsys.readouterr().err
    shown = printed(capsys, "inspect", path, "scenario.corpus.name=columns", "scenario.corpus.scheme=BIO")
    assert "read as columns (scheme=BIO)" in shown


@pytest.mark.parametrize("words", [["a", "b"], [], ["scenario.corpus.name=demo"], ["no/such/folder"]])
def test_what_cannot_be_inspected_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", *words]) == 2
    assert capsys.readouterr().err.startswith("raycner: ")


def test_a_prepared_corpus_is_inspected_likewise(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "train.conll").write_text(TRAIN * 4)
    words = ["scenario.corpus.name=columns", f"scenario.corpus.path={folder}", f"store={tmp_path / 'store'}"]
    first = printed(capsys, "prepare", *words)
    assert "sentences 11 1 2" in first and "dev: no file of its own" in first
    assert printed(capsys, "prepare", *words) == first, "the store has it now"
    assert main(["prepare", *words, "--json"]) == 0
    (corpus,) = json.loads(capsys.readouterr().out)["corpora"]
    assert len(corpus["fingerprint"]) == 16 and corpus["parts"]["dev"]["files"] == []


def test_the_demo_has_no_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["scenario.corpus={name: demo, sentences: 60}", f"store={tmp_path / 'store'}"]
    assert "files - - -" in printed(capsys, "prepare", *words)


def test_the_reach_of_an_encoder_is_compared(
    tiny_bert: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "".join(f"{'a' if number else 'Anna'} {'O' if number else 'B-PER'}\n" for number in range(600))
    (tmp_path / "train.conll").write_text(long + "\nAnna B-PER\n\u2603\u2603 O\n\n")
    inspection = raycner.inspect(tmp_path / "train.conll", encoder=tiny_bert)
    ((contents, reach),) = inspection.corpora
    assert reach is not None and reach.long["train"].sentences == 1
    assert 0 < reach.long["train"].words < contents.parts["train"].words
    shown = printed(capsys, "inspect", str(tmp_path / "train.conll"), "--encoder", tiny_bert)
    assert f"longer than {reach.pieces} pieces 1 - -" in shown
    assert "pieces that the encoder reads at once" in shown
    assert bool(reach.unknown) == ("no piece of the encoder stands for" in shown)


def test_an_encoder_that_cannot_be_read_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no encoder at"):
        raycner.inspect(folder, encoder=tmp_path / "none")


def test_the_page_of_results_repeats_the_notes(trained: str, tmp_path: Path) -> None:
    report = raycner.report(store=trained)
    report.write_html(tmp_path / "report.html")
    (note, *_) = report.runs[0].ledger.corpora[0].notes
    page = (tmp_path / "report.html").read_text()
    assert "What was read of the corpora" in page and note in page


def test_what_a_protocol_cannot_divide_is_shown_all_the_same(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "dev.conll").write_text(TEST)
    words = ["scenario.corpus.name=columns", f"scenario.corpus.path={folder}", "scenario.order=[PER, DATE]"]
    assert main(["prepare", *words, f"store={tmp_path / 'store'}"]) == 2
    shown = capsys.readouterr()
    assert "longest sentence" in shown.out and "DATE" in shown.err
