"""Reservoir: which sentences of unlabelled text a step draws, and that they are learned without annotations."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runs
from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.entities import Entity, TypeInventory
from raycner.data.scenarios.experience import whole
from raycner.data.scenarios.reservoir import ReservoirKey
from raycner.data.scenarios.scenario import Scenario
from raycner.errors import InputError
from raycner.orchestration.runner import run
from raycner.storage.store import ObjectStore
from raycner.training.reservoir import draw

SETTINGS = ("scenario.order=[location, person]", "method.name=self_training", "optim.first.epochs=10")


class Scripted:
    """A teacher of two types that is sure of one entity in every second sentence, and unsure of the others."""

    inventory = TypeInventory().grow(("city", "food"))

    def predictions(self, split: Any) -> list[dict[Entity, float]]:
        kinds = ("city", "food")
        return [{Entity(0, 1, kinds[i // 2 % 2]): 0.95 if i % 2 else 0.5} for i in range(len(split))]


def test_each_old_type_has_its_share_of_what_the_teacher_is_sure_of(tiny_corpus: Corpus) -> None:
    text, teacher = whole(tiny_corpus, "train", ()), Scripted()
    key = ReservoirKey(corpus=tiny_corpus.fingerprint, size=5, confidence=0.9)
    drawn = draw(text, key, teacher, 0, 1)  # type: ignore[arg-type]
    assert len(drawn) == 10
    assert (np.diff(drawn.rows) > 0).all()
    assert all(row % 2 for row in drawn.rows)
    assert sorted(np.bincount(drawn.rows // 2 % 2).tolist()) == [5, 5]
    assert not any(sentence.entities for sentence in drawn.sentences())
    assert drawn.rows.tolist() == draw(text, key, teacher, 0, 1).rows.tolist()  # type: ignore[arg-type]
    assert drawn.rows.tolist() != draw(text, key, teacher, 0, 2).rows.tolist()  # type: ignore[arg-type]
    unsure = ReservoirKey(corpus=tiny_corpus.fingerprint, size=5, confidence=1.0)
    assert len(draw(text, unsure, teacher, 0, 1)) == 0  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's sentences as text, a passage a line."""
    folder = tmp_path_factory.mktemp("text")
    config = RunConfig.load([*runs.SMALL, f"store={folder / 'store'}"])
    (corpus,) = Scenario.prepare(config.scenario, ObjectStore(config.store), runs.silent).corpora
    lines = [" ".join(corpus["train"].words(row)) for row in range(len(corpus["train"]))]
    (folder / "text").mkdir()
    (folder / "text" / "news.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder / "text"


def test_steps_draw_from_the_text_and_repeat_bit_for_bit(text: Path, tmp_path: Path) -> None:
    reservoir = f"scenario.reservoir={{path: {text}, size: 4, confidence: 0}}"
    for name, settings in {"without": SETTINGS, "with": (*SETTINGS, reservoir)}.items():
        run(runs.small(tmp_path / name, *settings), runs.silent)
    alone, drawing = (runs.ledger(tmp_path / name) for name in ("without", "with"))
    assert alone.planned[0] == drawing.planned[0], "the first step draws nothing, and is shared"
    assert alone.planned[1].fingerprint != drawing.planned[1].fingerprint
    assert alone.corpora == drawing.corpora, "runs with and without are compared"
    assert 0 < drawing.records()[1].sentences - alone.records()[1].sentences <= 4
    again = shutil.copytree(tmp_path / "with", tmp_path / "again")
    shutil.rmtree(again / "steps" / drawing.planned[1].fingerprint)
    moved = shutil.copytree(text, tmp_path / "moved")
    elsewhere = reservoir.replace(str(text), str(moved))
    run(runs.small(again, *SETTINGS, elsewhere), runs.silent)
    assert runs.weights(again) == runs.weights(tmp_path / "with"), "where the text lies does not matter"


def test_what_cannot_be_a_reservoir_is_refused(text: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n", encoding="utf-8")
    for settings, message in (
        ([f"scenario.reservoir.path={tmp_path / 'empty.txt'}"], "no sentence in it"),
        ([f"scenario.reservoir.path={tmp_path / 'nothing'}"], "no such file"),
        ([f"scenario.reservoir.path={text}", "scenario.joint=true"], "sees all sentences anyway"),
        (["scenario.reservoir.size=0"], "at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            run(runs.small(tmp_path / "store", *SETTINGS, *settings), runs.silent)
