"""Adoption by predictions: a tagger of any library labels text, and step 1 learns its labels."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import raycner
from fixtures_tiny import NAMES, spoken
from raycner import InputError
from raycner.__main__ import main
from raycner.data.entities import Entity
from raycner.inference.foreign_taggers import SpacyTagger, load_tagger
from test_evaluate import classifier

SETTINGS = (
    *("model.encoder.name=bilstm", "model.encoder.word_width=12", "model.encoder.char_width=6"),
    *("model.encoder.width=16", "model.encoder.min_count=1"),
    *("optim.first.epochs=10", "optim.batch_size=8", "optim.lr=0.02", "optim.head_lr=0.02"),
)
CITIES = ("Oslo", "Jordan")


class Gazetteer:
    """Finds cities and animals by their names."""

    def entities(self, sentences: Sequence[Sequence[str]]) -> list[list[Entity]]:
        kinds = {**dict.fromkeys(CITIES, "GPE"), "otter": "animal", "owl": "animal"}
        return [[Entity(i, i + 1, kinds[w]) for i, w in enumerate(words) if w in kinds] for words in sentences]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of text without annotations."""
    folder = tmp_path_factory.mktemp("texts")
    lines = [" ".join(words) for words, _ in spoken(200, 1)]
    (folder / "all.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_any_object_with_entities_is_adopted(text: Path, tmp_path: Path) -> None:
    store, folder = tmp_path / "store", tmp_path / "annotations"
    options = {"store": store, "annotations": folder, "rename": {"GPE": "city"}, "progress": False}
    run, made = raycner.adopt_by_predictions(Gazetteer(), "base", [text], SETTINGS, **options)
    assert run.name == "base" and set(run.types) == {"city", "animal"}
    agreement = made.agreement
    assert agreement.sentences == 20 and len(agreement.differences) <= 2, "the step has learned the gazetteer"
    (step,) = run.steps
    assert step.epochs and step.test["city"][0] > 0
    (config,) = run.config["scenario"]["protocol"]["steps"]
    assert config["origin"] == "predictions of Gazetteer"
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text("utf-8").splitlines()]
    assert sum(len(line["entities"]) for line in lines) == sum(made.predictions.counts.values())
    again, _ = raycner.adopt_by_predictions(Gazetteer(), "base", [text], SETTINGS, **options)
    assert again.steps[0].fingerprint == step.fingerprint
    with pytest.raises(InputError, match="another model is adopted as 'base'"):
        raycner.adopt_by_predictions(Gazetteer(), "base", [text], [*SETTINGS, "optim.first.epochs=1"], **options)
    with pytest.raises(InputError, match="it has other annotations"):
        raycner.adopt_by_predictions(Gazetteer(), "other", [text], SETTINGS, **{**options, "drop": ["animal"]})


def test_it_is_extended(text: Path, tmp_path: Path) -> None:
    options = {"store": tmp_path / "store", "annotations": tmp_path / "annotations", "progress": False}
    settings = [*SETTINGS, "optim.first.epochs=1", "optim.epochs=1"]
    run, _ = raycner.adopt_by_predictions(Gazetteer(), "base", [text], settings, **options)
    lines = [{"tokens": words, "entities": [[e.start, e.end, e.type] for e in row]} for words, row in spoken(60, 3)]
    (tmp_path / "food.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    longer = run.extend(["food"], tmp_path / "food.jsonl", progress=False)
    assert longer.name.startswith("base-food-") and longer.types == (*run.types, "food")
    with pytest.raises(InputError, match="it extends no other run"):
        run.undo_extension()


def test_a_spacy_pipeline(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spacy = pytest.importorskip("spacy", reason="the extra `spacy` is not installed")
    pipeline = spacy.blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "GPE", "pattern": name} for name in NAMES["city"]])
    words = ("Ada", "left", "New", "Rome", "for", "Oslo")
    assert SpacyTagger(pipeline).entities([words]) == [[Entity(2, 4, "GPE"), Entity(5, 6, "GPE")]]
    pipeline.to_disk(tmp_path / "pipeline")
    store, folder = str(tmp_path / "store"), tmp_path / "annotations"
    arguments = ["--name", "base", "--by-predictions", "--text", str(text), "--annotations", str(folder)]
    rename = ["--rename", "GPE=city", "--store", store]
    assert main(["adopt", str(tmp_path / "pipeline"), *arguments, *rename, *SETTINGS]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "base: 1 types: city" in printed and "of 20 held-out sentences" in printed
    predicted = raycner.load_run("base", store=store).predictor().words([words])
    assert {e.type for e in predicted[0]} == {"city"}


def test_a_token_classifier_with_a_crf(tiny_bert: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What transformers computes without the CRF is what is learned, and a warning names the CRF."""
    from transformers import pipeline

    folder = classifier(tmp_path / "crf", tiny_bert, ["O", "B-city", "I-city", "B-person", "I-person"])
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"crf.transitions": torch.zeros(5, 5)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="--by-predictions"):
        raycner.adopt(folder, "base", store=tmp_path / "store", progress=False)
    tagger = load_tagger(str(folder))
    assert "does not use its weights crf.transitions" in caplog.text
    sentences = [words for words, _ in spoken(30, 4)]
    find = pipeline("token-classification", model=str(folder), tokenizer=str(folder), aggregation_strategy="first")
    ours = tagger.entities([tuple(words) for words in sentences])
    assert any(ours)
    for words, row in zip(sentences, ours, strict=True):
        text = " ".join(words)
        theirs = [text[e["start"] : e["end"]] for e in find(text)]
        assert [" ".join(words[e.start : e.end]) for e in row] == theirs


class Wrong:
    """Returns what it is given."""

    def __init__(self, row: list[Entity], number: int = 200) -> None:
        self.row, self.number = row, number

    def entities(self, sentences: Sequence[Sequence[str]]) -> list[list[Entity]]:
        return [self.row] * min(self.number, len(sentences))


def test_bad_taggers(text: Path, tmp_path: Path) -> None:
    for tagger, expected in (
        (Wrong([]), "finds no entity in 200 sentences"),
        (Wrong([Entity(0, 99, "city")]), "lies outside the sentence"),
        (Wrong([Entity(0, 2, "a"), Entity(1, 3, "b")]), "overlap"),
        (Wrong([], 3), "answers 3 of 200 sentences"),
    ):
        with pytest.raises(InputError, match=expected):
            raycner.adopt_by_predictions(tagger, "base", [text], SETTINGS, store=tmp_path / "store", progress=False)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--by-predictions"], "no text to predict in"),
        (["--by-predictions", "--text", "texts", "--test", "x.conll"], "raycner evaluate base FILES"),
        (["--text", "texts"], "add --by-predictions"),
        (["optim.epochs=3"], "add --by-predictions"),
    ],
)
def test_bad_arguments(arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adopt", "model", "--name", "base", "--store", str(tmp_path / "store"), *arguments]) == 2
    line = capsys.readouterr().err
    assert expected in line and line.count("\n") == 1
