"""Export: transformers alone finds what raycner finds, other networks come back, and no half folder is left."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForTokenClassification

import runs
from fixtures_tiny import spoken
from raycner.__main__ import main
from raycner.config import RunConfig
from raycner.data.entities import Entity, TypeInventory, decode
from raycner.data.metrics import micro
from raycner.errors import InputError
from raycner.inference import onnx_model
from raycner.inference.export import export
from raycner.inference.model_card import _hub_id
from raycner.inference.predictor import PredictedEntity, Predictor
from raycner.networks.network import ModelConfig, Network
from raycner.orchestration.runner import run
from raycner.settings import build
from raycner.storage.run_names import find_step
from raycner.storage.store import ObjectStore

TEXTS = [" ".join(words).replace(" .", ".") for words, _ in spoken(200, 7)]
READ = """
import json, sys
sys.modules["raycner"] = None
from transformers import pipeline
find = pipeline("token-classification", model=sys.argv[1], aggregation_strategy="first", device="cpu")
texts = json.load(sys.stdin)
entities = find(texts)
print(json.dumps([[[f["start"], f["end"], f["entity_group"], float(f["score"])] for f in text] for text in entities]))
"""


def by_transformers(folder: Path, texts: list[str]) -> list[list[tuple[int, int, str, float]]]:
    """What a fresh interpreter finds that has transformers and no raycner."""
    command = [sys.executable, "-c", READ, str(folder)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return [[tuple(entity) for entity in entities] for entities in json.loads(done.stdout)]


def places(entities: list[PredictedEntity]) -> list[tuple[int, int, str]]:
    return [(f.start, f.end, f.type) for f in entities]


@pytest.fixture(scope="module", params=["linear", "cosine"])
def bert_run(
    request: pytest.FixtureRequest, trained_layers: list[str], tiny_bert: str, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The store of a run with a small BERT, of two steps."""
    store = str(tmp_path_factory.mktemp("bert-run"))
    layers = [
        s for s in trained_layers if not s.startswith(("model.encoder", "store", "optim.lr", "scenario.protocol.first"))
    ]
    own = [
        f"store={store}",
        f"model.encoder={{name: pretrained, path: {tiny_bert}}}",
        f"model.head={{name: {request.param}, decoding: argmax}}",
    ]
    rates = [
        "optim.lr=0.003",
        "optim.first.epochs=6",
        "optim.epochs=2",
        "scenario.protocol.first=3",
        "method.name=finetuning",
    ]
    run(RunConfig.load([*layers, *own, *rates]), runs.silent)
    return store


def test_transformers_alone_finds_the_same(bert_run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "exported"
    assert main(["export", "columns:1", str(folder), "--store", bert_run]) == 0
    assert "transformers.pipeline" in capsys.readouterr().out
    ours = Predictor.of("columns:1", bert_run).text(TEXTS)
    theirs = by_transformers(folder, TEXTS)
    assert sum(map(len, ours)) > 100
    assert [places(f) for f in ours] == [[entity[:3] for entity in f] for f in theirs]
    assert sorted(path.suffix for path in folder.iterdir() if path.stat().st_size > 20_000) == [".safetensors"]


def test_scores_are_the_probabilities_of_a_linear_head(bert_run: str, tmp_path: Path) -> None:
    export("columns", tmp_path / "exported", ObjectStore(bert_run))
    if "cosine" in (tmp_path / "exported" / "README.md").read_text():
        assert "other scores" in (tmp_path / "exported" / "README.md").read_text()
        return
    (ours,) = Predictor.of("columns", bert_run).text(TEXTS[:1])
    (theirs,) = by_transformers(tmp_path / "exported", TEXTS[:1])
    alone = [(f.confidence, score) for f, (*_, score) in zip(ours, theirs, strict=True) if " " not in f.text]
    assert all(confidence == pytest.approx(score, abs=1e-5) for confidence, score in alone)


def test_the_card_says_what_a_pipeline_reads_otherwise(
    trained_layers: list[str], tiny_bert: str, tmp_path: Path
) -> None:
    store = str(tmp_path / "store")
    layers = [setting for setting in trained_layers if not setting.startswith(("model.encoder", "store"))]
    own = [f"store={store}", f"model.encoder={{name: pretrained, path: {tiny_bert}}}", "optim.first.epochs=2"]
    run(RunConfig.load([*layers, *own, "method.name=finetuning", "scenario.protocol.first=4"]), runs.silent)
    export("columns", tmp_path / "exported", ObjectStore(store))
    card = " ".join((tmp_path / "exported" / "README.md").read_text(encoding="utf-8").split())
    scores = re.search(r"of micro-F1 (?:less|more): ([\d.]+) instead of ([\d.]+)\.", card)
    assert scores is not None
    argmax, own_score = map(float, scores.groups())
    _, record = find_step("columns", ObjectStore(store))
    assert own_score == pytest.approx(100 * micro(record.dev, record.seen), abs=0.05)
    assert 0 < argmax < 100


def test_the_encoder_may_have_moved(bert_run: str, tiny_bert: str, tmp_path: Path) -> None:
    copied = shutil.copytree(tiny_bert, tmp_path / "elsewhere")
    there = Predictor.of("columns", bert_run, encoder=str(copied))
    assert there.text(TEXTS[:9]) == Predictor.of("columns", bert_run).text(TEXTS[:9])
    with pytest.raises(InputError, match="no encoder at"):
        Predictor.of("columns", bert_run, encoder=str(tmp_path / "nowhere"))


@pytest.mark.encoder
def test_the_real_encoder_is_exported_as_it_is(minilm: str, trained_layers: list[str], tmp_path: Path) -> None:
    layers = [
        s for s in trained_layers if not s.startswith(("model.encoder", "optim", "scenario.protocol.first", "store"))
    ]
    own = [f"store={tmp_path}/store", f"model.encoder={{name: pretrained, path: {minilm}}}", "method.name=finetuning"]
    rates = ["optim.first.epochs=2", "optim.batch_size=8", "scenario.protocol.first=4"]
    run(RunConfig.load([*layers, *own, *rates]), runs.silent)
    export("columns", tmp_path / "exported", ObjectStore(f"{tmp_path}/store"))
    ours = Predictor.of("columns", f"{tmp_path}/store").text(TEXTS[:40])
    assert sum(map(len, ours)) > 40
    theirs = by_transformers(tmp_path / "exported", TEXTS[:40])
    assert [places(f) for f in ours] == [[entity[:3] for entity in f] for f in theirs]


def test_other_networks_come_back_as_they_were(
    trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "exported"
    assert main(["export", "columns:2", str(folder), "--store", trained]) == 0
    assert "raycner.Predictor.load" in capsys.readouterr().out
    ours = Predictor.of("columns:2", trained)
    assert Predictor.load(folder).types == ours.types
    assert Predictor.load(folder).text(TEXTS) == ours.text(TEXTS)
    (tmp_path / "a.txt").write_text(TEXTS[0] + "\n", encoding="utf-8")
    assert main(["predict", str(folder), str(tmp_path / "a.txt")]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == TEXTS[0]


@pytest.mark.parametrize("head", ["spans", "stepwise", "triplets"])
def test_every_head_with_a_pretrained_encoder_stands_alone(
    head: str, tiny_bert: str, trained_layers: list[str], tmp_path: Path
) -> None:
    layers = [
        s for s in trained_layers if not s.startswith(("model.encoder", "optim", "scenario.protocol.first", "store"))
    ]
    own = [
        f"store={tmp_path}/store",
        f"model.encoder={{name: pretrained, path: {tiny_bert}}}",
        f"model.head.name={head}",
    ]
    run(
        RunConfig.load([*layers, *own, "method.name=finetuning", "optim.first.epochs=1", "scenario.protocol.first=4"]),
        runs.silent,
    )
    assert export("columns", tmp_path / "exported", ObjectStore(f"{tmp_path}/store")) == "predictor"
    assert tiny_bert not in (tmp_path / "exported" / "raycner.json").read_text()
    moved = (tmp_path / "exported").rename(tmp_path / "moved")
    ours = Predictor.of("columns", f"{tmp_path}/store")
    assert Predictor.load(moved).text(TEXTS[:20]) == ours.text(TEXTS[:20])


def test_the_model_card_states_contents_and_origin(trained: str, tmp_path: Path) -> None:
    export("columns:2", tmp_path / "exported", ObjectStore(trained))
    card = (tmp_path / "exported" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---")[1])
    assert front["pipeline_tag"] == "token-classification"
    assert not {"license", "language", "base_model"} & set(front)
    (results,) = front["model-index"][0]["results"]
    assert results["dataset"]["split"] == "test" and results["metrics"][0]["name"] == "micro F1"
    assert 0 < results["metrics"][0]["value"] <= 1
    assert "| type | learned in step | precision | recall | F1 | support |" in card
    assert "| animal | 1 |" in card and "| food | 2 |" in card and "| person |" not in card.split("## Recipe")[0]
    assert "Decoder constrained; calibration none; " in card and "; seed 0; " in card and "; 1 worker; fp32; " in card
    recipe = yaml.safe_load(card.split("```yaml")[1].split("```")[0])
    assert recipe["method"]["name"] == "extend_ner" and "store" not in recipe
    assert str(tmp_path.parent) not in card and "/tmp" not in card


def test_the_card_names_license_languages_and_base_model(trained: str, tmp_path: Path) -> None:
    assert _hub_id({"model": {"encoder": {"path": "google/bert_x"}}}) == "google/bert_x"
    for path in (None, "/data/bert", "./bert", "a/b/c", str(tmp_path)):
        assert _hub_id({"model": {"encoder": {"path": path}}}) is None
    options = ["--license", "mit", "--language", "en, de"]
    assert main(["export", "columns", str(tmp_path / "exported"), "--store", trained, *options]) == 0
    front = yaml.safe_load((tmp_path / "exported" / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert front["license"] == "mit" and front["language"] == ["en", "de"]


def test_plan_says_what_will_load_an_export(
    trained_layers: list[str], tiny_bert: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bert = [f"model.encoder={{name: pretrained, path: {tiny_bert}}}"]
    for own, line in (
        ([], "export: raycner.Predictor alone loads it"),
        (bert, "export: transformers.pipeline loads it; an ONNX graph by --onnx"),
        ([*bert, "model.head.name=spans"], "raycner.Predictor alone loads it; there is no ONNX graph of it"),
    ):
        assert main(["plan", *trained_layers, *own, "method.name=finetuning"]) == 0
        assert line in capsys.readouterr().out


# ---- ONNX


@pytest.mark.parametrize("bert_run", ["linear"], indirect=True)
def test_an_onnx_graph_reads_what_the_step_reads(bert_run: str, tmp_path: Path) -> None:
    """By the code of the model card."""
    folder = tmp_path / "exported"
    assert main(["export", "columns:1", str(folder), "--store", bert_run, "--onnx"]) == 0
    card = (folder / "README.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall("```python\n(.*?)```", card, re.DOTALL) if "onnxruntime" in block)
    example = re.search(r"(?<=words = )\[.*\]", code)
    assert example is not None
    sentences = [words for words, _ in spoken(20, 7)]
    expected = Predictor.of("columns:1", bert_run).words(sentences)
    assert sum(map(len, expected)) > 10
    for words, entities in zip(sentences, expected, strict=True):
        names: dict[str, Any] = {}
        exec(code.replace("THIS_FOLDER", str(folder)).replace(example[0], repr(words)), names)
        assert decode(names["labels"]) == [Entity(e.start, e.end, e.type) for e in entities]


def test_a_network_without_a_graph_is_refused_whole(
    trained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", "columns", str(tmp_path / "exported"), "--store", trained, "--onnx"]
    assert main(command) == 2
    assert "no ONNX graph of it; export without --onnx" in capsys.readouterr().err
    monkeypatch.setattr(onnx_model, "PACKAGES", ("onnx", "not_installed"))
    assert main(command) == 2
    assert capsys.readouterr().err == "raycner: --onnx: ONNX needs not_installed; pip install 'raycner[onnx]'\n"
    assert list(tmp_path.iterdir()) == []


def test_a_graph_with_other_logits_is_refused(tiny_bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Program:
        def save(self, *_: object, **__: object) -> None:
            pass

    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: Program())
    model = AutoModelForTokenClassification.from_pretrained(tiny_bert)
    for difference in (1.0, math.nan):
        monkeypatch.setattr(onnx_model, "_difference", lambda *_, is_=difference: is_)
        with pytest.raises(InputError, match="has other logits"):
            onnx_model.write_onnx(model, tmp_path, 94)


def test_a_folder_that_holds_something_is_left_alone(
    trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("precious", encoding="utf-8")
    assert main(["export", "columns", str(tmp_path), "--store", trained]) == 2
    assert "the folder is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_nothing_is_left_when_it_fails(trained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("raycner.inference.export.card", fail)
    with pytest.raises(RuntimeError):
        export("columns", tmp_path / "exported", ObjectStore(trained))
    assert not list(tmp_path.iterdir())


def test_what_a_killed_export_left_is_removed_after_an_hour(trained: str, tmp_path: Path) -> None:
    old, new, other = (tmp_path / f"{name}~{digit * 32}" for name, digit in (("out", "0"), ("out", "1"), ("mine", "0")))
    for draft in (old, new, other):
        draft.mkdir()
        (draft / "model.safetensors").write_bytes(b"half")
    for path in (old, other, old / "model.safetensors", other / "model.safetensors"):
        os.utime(path, (time.time() - 3601,) * 2)
    export("columns", tmp_path / "out", ObjectStore(trained))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([new.name, other.name, "out"])


def test_an_empty_folder_is_filled(trained: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    export("columns", tmp_path / "empty", ObjectStore(trained))
    assert (tmp_path / "empty" / "raycner.json").exists()


def test_a_folder_without_an_export_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no exported network"):
        Predictor.load(tmp_path)


def test_linear_rows_equal_the_head(tiny_bert: str) -> None:
    torch.manual_seed(0)
    network = Network(
        build(ModelConfig, {"encoder": {"name": "pretrained", "path": tiny_bert}, "head": {"scheme": "BIOES"}})
    )
    network.start_step(TypeInventory().grow(("x",)), [["Ada"]])
    network.finalize()
    _, weight, bias, _ = network.head.as_linear(new_type_bias=0.5)  # type: ignore[operator]
    states = torch.randn(7, 32)
    expected = states @ network.head.weight[:, :-1].T + network.head.weight[:, -1]  # type: ignore[union-attr,operator,index]
    expected[:, 1:] -= 0.5
    torch.testing.assert_close(states @ weight.T + bias, expected)
    model = network.encoder.classifier(["O", "B-x", "I-x", "I-x", "B-x"], weight, bias)
    assert model.num_labels == 5
