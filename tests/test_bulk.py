"""Prediction over folders and buckets: the same entities as one file at a time, and nothing made twice."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from raycner.__main__ import main
from raycner.errors import InputError
from raycner.inference.bulk import MARKER, BulkPrediction, Model

LINES = ["Ada gave the red fox some soup in Oslo .", "", "It rained all day . Then Bo Finch slept in New Rome !"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four files that can be read, one of them below, and one of no known form."""
    folder = tmp_path / "source"
    (folder / "below").mkdir(parents=True)
    (folder / "a.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    (folder / "b b.txt").write_text(LINES[2] + "\n", encoding="utf-8")
    (folder / "below" / "c.jsonl").write_text(json.dumps({"tokens": LINES[0].split()}) + "\n", encoding="utf-8")
    (folder / "below" / "d.conll").write_text("".join(f"{word}\tO\n" for word in LINES[0].split()), encoding="utf-8")
    (folder / "photo.jpg").write_bytes(b"\xff\xd8")
    return folder


def bulk(source: object, output: object, store: str, step: str = "columns", form: str | None = None) -> BulkPrediction:
    return BulkPrediction.of(Model(step, store), [str(source)], str(output), form)


def test_every_file_has_one_output(source: Path, tmp_path: Path, trained: str) -> None:
    asked = bulk(source, tmp_path / "out", trained)
    assert asked.missing == ["a.txt.jsonl", "b_20b.txt.jsonl", "below/c.jsonl.jsonl", "below/d.conll.jsonl"]
    assert list(asked.forms.values()) == ["text", "text", "jsonl", "columns"]
    only = bulk(f"{source}/**/*.conll", tmp_path / "out", trained)
    assert only.missing == ["below/d.conll.jsonl"]
    assert bulk(source / "a.txt", tmp_path / "out", trained).missing == ["a.txt.jsonl"]
    assert "photo.jpg.jsonl" in bulk(source, tmp_path / "out", trained, form="text").files


def test_outputs_in_the_folder_that_is_read_are_not_read(source: Path, trained: str) -> None:
    (source / "out").mkdir()
    (source / "out" / "a.txt.jsonl").write_text("")
    asked = bulk(source, source / "out", trained)
    assert not any(key.startswith("out/") for key in asked.files)
    assert "a.txt.jsonl" not in asked.missing


def test_invalid_arguments_are_rejected(source: Path, tmp_path: Path, trained: str) -> None:
    (source / "b_20b.txt").write_text(LINES[0])
    with pytest.raises(InputError, match="one output"):
        bulk(source, tmp_path / "out", trained)
    with pytest.raises(InputError, match="no such file or folder"):
        bulk(tmp_path / "nowhere", tmp_path / "out", trained)
    with pytest.raises(InputError, match="set --form"):
        bulk(source / "photo.jpg", tmp_path / "out", trained)
    with pytest.raises(InputError, match="runs there"):
        bulk(source / "a.txt", tmp_path / "out", trained, step="nobody")
    assert not (tmp_path / "out").exists()


def test_outputs_of_another_step_are_left_alone(source: Path, tmp_path: Path, trained: str) -> None:
    bulk(source, tmp_path / "out", trained, step="columns:1")
    assert (tmp_path / "out" / MARKER).exists()
    with pytest.raises(InputError, match="name another folder"):
        bulk(source, tmp_path / "out", trained, step="columns:2")


@pytest.mark.parametrize("options", [["--ray", "0", "--output", "out"], ["--ray", "1"]])
def test_it_needs_a_worker_and_a_folder(options: list[str], source: Path, trained: str) -> None:
    assert main(["predict", "columns", str(source), "--store", trained, *options]) == 2


def files(folder: Path) -> Iterator[tuple[str, str, int]]:
    for path in sorted(folder.rglob("*.jsonl")):
        yield str(path.relative_to(folder)), path.read_text(encoding="utf-8"), path.stat().st_mtime_ns


@pytest.mark.ray
def test_the_entities_are_those_of_one_file_at_a_time_and_the_line_resumes(
    source: Path, tmp_path: Path, trained: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (source / "broken.jsonl").write_text('{"tokens": ["Ada"]}\nno object\n', encoding="utf-8")
    out = tmp_path / "out"
    line = ["predict", "columns", str(source), "--store", trained, "--ray", "2", "--output", str(out)]
    assert main(line) == 2
    output = capfd.readouterr()
    assert "4 files read, 6 passages" in output.out
    assert "broken.jsonl:2" in output.err
    made = list(files(out))
    assert bulk(source, out, trained).missing == ["broken.jsonl.jsonl"]
    for name, file in (("a.txt", "a.txt"), ("b_20b.txt", "b b.txt"), ("below/c.jsonl", "below/c.jsonl")):
        assert main(["predict", "columns", str(source / file), "--store", trained]) == 0
        assert (out / f"{name}.jsonl").read_text(encoding="utf-8") == capfd.readouterr().out

    (source / "broken.jsonl").write_text('{"tokens": ["Ada"]}\n', encoding="utf-8")
    (out / "a.txt.jsonl").unlink()
    assert main(line) == 0
    assert "2 files read, 4 passages" in capfd.readouterr().out
    again = {name: (text, time) for name, text, time in files(out)}
    for name, text, time in made:
        assert again[name][0] == text
        assert (again[name][1] == time) == (name != "a.txt.jsonl")

    assert main(line) == 0
    assert "0 files read, 0 passages, 0 entities; 5 were there already" in capfd.readouterr().out


@pytest.mark.ray
@pytest.mark.s3
def test_a_bucket_is_read_and_written(source: Path, trained: str, s3_uri: str) -> None:
    filesystem, bucket = fs.FileSystem.from_uri(s3_uri)
    fs.copy_files(str(source), f"{bucket}/in", destination_filesystem=filesystem)
    line = ["predict", "columns", f"{s3_uri}/in", "--store", trained, "--ray", "1", "--output", f"{s3_uri}/out"]
    assert main(line) == 0
    assert not bulk(f"{s3_uri}/in", f"{s3_uri}/out", trained).missing
