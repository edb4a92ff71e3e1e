"""First jobs: what `raycner init` writes for files can be planned as it is."""

from pathlib import Path

import pytest

import raycner
from raycner.api.first_job import steps
from raycner.cli.program import main
from raycner.config import RunConfig
from raycner.data.scenarios.protocol import in_steps
from raycner.errors import InputError
from raycner.methods.extend_ner import ExtendNER
from raycner.methods.finetuning import Finetuning
from raycner.methods.span_kl import SpanKL

SENTENCES = "Anna B-PER\nLee I-PER\nran O\n\nOslo B-LOC\nis O\nfar O\n\nAnna B-PER\nis O\nhome O\n\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one file, in the current folder."""
    monkeypatch.chdir(tmp_path)
    made = Path("my news")
    made.mkdir()
    (made / "train.conll").write_text(SENTENCES * 10)
    return made


def test_a_first_job_is_planned_as_it_is(folder: Path, tiny_bert: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert all(f"raycner {verb}" in printed for verb in ("plan my_job.yaml", "run my_job.yaml", "report"))
    config = RunConfig.load(["my_job.yaml"])
    assert config.scenario.order == ("PER", "LOC"), "the most frequent first"
    assert config.scenario.corpus.chosen == {"path": str(folder)}
    assert isinstance(config.method, ExtendNER) and config.optim.feature_replay
    text = Path("my_job.yaml").read_text()
    assert "- PER    # 20" in text and "# test: no file of its own" in text
    assert main(["plan", "my_job.yaml", f"model.encoder.path={tiny_bert}"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[-3:-1]] == [["1", "PER"], ["2", "LOC"]]
    assert main(["plan", "my_job.yaml", "jobs/recommended_memory.yaml", f"model.encoder.path={tiny_bert}"]) == 0


def test_a_job_is_never_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my_job.yaml").write_text("seed: 1\n")
    assert main(["init", str(folder)]) == 2
    assert "my_job.yaml: this file exists already" in capsys.readouterr().err
    assert Path("my_job.yaml").read_text() == "seed: 1\n"
    assert raycner.init(folder, "other.yaml") == Path("other.yaml")
    with pytest.raises(InputError, match="cannot write it"):
        raycner.init(folder, "nowhere/other.yaml")


def test_settings_of_the_layout_are_kept(folder: Path) -> None:
    (folder / "train.conll").rename("words.tsv")
    words = ["scenario.corpus.train=words.tsv", "scenario.corpus.scheme=BIO", "scenario.corpus.name=columns"]
    assert main(["init", *words]) == 0
    corpus = RunConfig.load(["my_job.yaml"]).scenario.corpus
    assert (corpus.name, corpus.chosen) == ("columns", {"train": "words.tsv", "scheme": "BIO"})


def test_one_type_is_one_step(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("NO B-NO\nran O\n\n" * 5)
    config = RunConfig.load([str(raycner.init(tmp_path, tmp_path / "job.yaml"))])
    assert config.scenario.order == ("NO",) and isinstance(config.method, Finetuning)


def test_entities_that_overlap_get_a_head_of_spans(tmp_path: Path) -> None:
    spans = '[{"start": 0, "end": 2, "type": "a"}, {"start": 0, "end": 1, "type": "b"}]'
    (tmp_path / "train.jsonl").write_text(f'{{"tokens": ["x", "y"], "entities": {spans}}}\n' * 3)
    config = RunConfig.load([str(raycner.init(tmp_path, tmp_path / "job.yaml", reading={"nested": True}))])
    assert config.model.head.name == "spans" and isinstance(config.method, SpanKL)


@pytest.mark.parametrize("content", ["ran O\n\n", "", None])
def test_what_cannot_be_learned_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "train.conll").write_text(content)
    with pytest.raises(InputError):
        raycner.init(tmp_path, tmp_path / "job.yaml")
    assert not (tmp_path / "job.yaml").exists()


@pytest.mark.parametrize("types", range(1, 40))
def test_steps_use_up_all_types(types: int) -> None:
    first, per_step = steps(types)
    inventories = in_steps(tuple(f"t{number}" for number in range(types)), first, per_step)
    assert len(inventories) <= 6 and len(inventories[-1].types) == types
