"""raycner evaluate: any predictor on any annotated file, with seqeval's numbers, and one line for bad input."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2

from browsers import BROWSERS
from fixtures_tiny import spoken
from raycner import __version__
from raycner.analysis.formatting import DASH
from raycner.cli import main
from raycner.data.annotated import layout_of, read_annotated
from raycner.data.entities import Entity, encode
from raycner.data.sources import single
from raycner.errors import InputError
from raycner.evaluation.entity_report import EntityEvaluation, entity_report
from raycner.evaluation.entity_scores import ScoredSentence
from raycner.inference.evaluate import evaluate, load_predictor
from raycner.inference.export import export
from raycner.inference.predictor import Predictor
from raycner.inference.token_classifier import TokenClassifier
from raycner.reporting.evaluation_document import document
from raycner.reporting.evaluation_tables import flows_table
from raycner.reporting.html.evaluation_section import evaluation_section
from raycner.reporting.html.page import html
from raycner.storage.run_names import find_step
from raycner.storage.store import ObjectStore
from raycner.training.plan import NUMERICS
from test_page import PROBE, read

HOSTILE = '</td></table><script src="http://evil.example/x.js">alert(1)</script>&amp;'


@pytest.fixture
def error_line(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line that a rejected command prints."""

    def line(*arguments: str) -> str:
        assert main(["evaluate", *arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith("raycner: ") and printed.err.count("\n") == 1
        return printed.err.strip()

    return line


def write_columns(file: Path, number: int = 40, seed: int = 5, types: tuple[str, ...] = ()) -> Path:
    """Sentences of the small world, with these types annotated (all if none)."""
    blocks = []
    for words, entities in spoken(number, seed):
        shown = [entity for entity in entities if not types or entity.type in types]
        lines = zip(words, encode(shown, len(words)), strict=True)
        blocks.append("".join(f"{word} {tag}\n" for word, tag in lines))
    file.write_text("\n".join(blocks), encoding="utf-8")
    return file


def by_seqeval(evaluation: EntityEvaluation) -> dict[str, dict[str, float]]:
    gold = [encode(sentence.gold, len(sentence.words)) for sentence in evaluation.sentences]
    predicted = [encode(sentence.predicted, len(sentence.words)) for sentence in evaluation.sentences]
    rows = classification_report(gold, predicted, mode="strict", scheme=IOB2, output_dict=True, zero_division=0)
    return {name.removesuffix(" avg"): row for name, row in rows.items()}


def assert_seqevals(evaluation: EntityEvaluation) -> None:
    """Every number of the document is seqeval's, to the last bit."""
    parsed = json.loads(json.dumps(document(evaluation)))
    rows = {**parsed["types"], **{name: parsed[name] for name in ("micro", "macro", "weighted")}}
    expected = by_seqeval(evaluation)
    assert rows.keys() == expected.keys()
    for name, row in expected.items():
        assert (rows[name]["precision"], rows[name]["recall"], rows[name]["f1"], rows[name]["support"]) == (
            row["precision"],
            row["recall"],
            row["f1-score"],
            row["support"],
        )


# ---- token classifiers


def classifier(folder: Path, tiny_bert: str, labels: list[str], family: str = "bert", **options: Any) -> Path:
    """A random token classifier with these labels, one per row."""
    from transformers import (
        AutoTokenizer,
        BertConfig,
        BertForTokenClassification,
        DistilBertConfig,
        DistilBertForTokenClassification,
    )

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: row for row, label in enumerate(labels)}}
    shape = {"vocab_size": len(tokenizer), "max_position_embeddings": 96, "initializer_range": 0.6, **names}
    torch.manual_seed(len(labels))
    if family == "bert":
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
        model: Any = BertForTokenClassification(BertConfig(**shape, **sizes))
    else:
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
        model = DistilBertForTokenClassification(DistilBertConfig(**shape, **sizes))
    model.save_pretrained(folder, **options)
    tokenizer.save_pretrained(folder)
    return folder


SCHEMES = {
    "BIO": ["O", "B-person", "I-person", "B-city", "I-city"],
    "BIO in any order": ["I-city", "B-person", "O", "B-city", "I-person"],
    "IOB1": ["I-person", "I-city", "O", "B-city"],
    "types": ["city", "O", "person"],
}


@pytest.mark.parametrize("family", ["bert", "distilbert"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_entities_are_those_of_the_pipeline(scheme: str, family: str, tiny_bert: str, tmp_path: Path) -> None:
    from transformers import pipeline

    folder = classifier(tmp_path / "model", tiny_bert, SCHEMES[scheme], family)
    sentences = [[word for word in words if word.isalnum()] for words, _ in spoken(60, 3)]
    ours = TokenClassifier.load(str(folder)).words(sentences)
    find = pipeline("token-classification", model=str(folder), aggregation_strategy="first", device="cpu")
    total = 0
    for words, entities in zip(sentences, ours, strict=True):
        starts = [sum(len(word) + 1 for word in words[:i]) for i in range(len(words))]
        ends = [start + len(word) for start, word in zip(starts, words, strict=True)]
        theirs = [
            (starts.index(e["start"]), ends.index(e["end"]) + 1, e["entity_group"]) for e in find(" ".join(words))
        ]
        assert [(e.start, e.end, e.type) for e in entities] == theirs
        assert all(0 < e.confidence <= 1 and e.text == " ".join(words[e.start : e.end]) for e in entities)
        total += len(theirs)
    assert total > 20


def test_bioes_labels_are_read_as_their_scheme_says(tiny_bert: str, tmp_path: Path) -> None:
    labels = ["E-city", "S-person", "O", "B-city", "I-city", "S-city"]
    predictor = TokenClassifier.load(str(classifier(tmp_path / "model", tiny_bert, labels)))
    assert predictor.types == ("city", "person") and "2 types" in repr(predictor)
    entities = [e for row in predictor.words([words for words, _ in spoken(60, 3)]) for e in row]
    assert {e.type for e in entities} == {"city", "person"}
    assert all(e.end == e.start + 1 for e in entities if e.type == "person")


def test_order_and_company_do_not_matter(tiny_bert: str, tmp_path: Path) -> None:
    predictor = TokenClassifier.load(str(classifier(tmp_path / "model", tiny_bert, SCHEMES["BIO"])))
    sentences = [words for words, _ in spoken(30, 3)]
    together = predictor.words(sentences)
    places = [[(e.start, e.end, e.type) for e in entities] for entities in together]
    alone = [[(e.start, e.end, e.type) for e in predictor.words([words])[0]] for words in sentences]
    assert places == alone and predictor.words([]) == []
    with pytest.raises(InputError, match="a list of strings"):
        predictor.words(["Ada", "slept"])


def test_words_beyond_the_longest_input_are_counted(tiny_bert: str, tmp_path: Path) -> None:
    folder = classifier(tmp_path / "model", tiny_bert, SCHEMES["types"])
    long = "\n".join(f"word{i % 10} {'B-city' if i == 30 else 'O'}" for i in range(31))
    (tmp_path / "long.conll").write_text(long + "\n", encoding="utf-8")
    evaluation = evaluate(folder, [tmp_path / "long.conll"], resamples=0)
    read = (96 - 2) // 5  # words of five pieces each, between [CLS] and [SEP]
    assert f"{31 - read - 1} words lie beyond the longest input" in " ".join(evaluation.notes)
    assert all(entity.end <= read + 1 for sentence in evaluation.sentences for entity in sentence.predicted)


def test_roberta_counts_its_positions_from_the_padding_row(tiny_bert: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, RobertaConfig, RobertaForTokenClassification

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert, model_max_length=10**30)
    labels = dict(enumerate(SCHEMES["types"]))
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
    shape = RobertaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=42, pad_token_id=1, id2label=labels, **sizes
    )
    RobertaForTokenClassification(shape).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    predictor = TokenClassifier.load(str(tmp_path / "model"))
    predictor.words([["a"] * 60])
    assert predictor.unread == 60 - 38


def test_a_checkpoint_with_its_own_code_is_rejected_and_nothing_runs(
    tiny_bert: str, tmp_path: Path, error_line: Callable[..., str]
) -> None:
    folder = classifier(tmp_path / "model", tiny_bert, SCHEMES["BIO"])
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForTokenClassification": "modeling.Evil"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    line = error_line(str(folder), str(write_columns(tmp_path / "test.conll")))
    assert "code of its own (auto_map: AutoModelForTokenClassification)" in line
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_are_loaded_only_when_allowed(
    tiny_bert: str, tmp_path: Path, error_line: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    folder = classifier(tmp_path / "model", tiny_bert, SCHEMES["BIO"])
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    file = str(write_columns(tmp_path / "test.conll"))
    assert "cannot load a token classifier" in error_line(str(folder), file)
    assert main(["evaluate", str(folder), file, "--allow-pickle", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sentences"] == 40


def test_folders_without_a_token_classifier_are_rejected(
    tiny_bert: str, tmp_path: Path, error_line: Callable[..., str]
) -> None:
    file = str(write_columns(tmp_path / "test.conll"))
    assert "no token classifier (architectures: BertModel)" in error_line(tiny_bert, file)
    (tmp_path / "empty").mkdir()
    assert "neither an exported step nor a token classifier" in error_line(str(tmp_path / "empty"), file)
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "config.json").write_text("{", encoding="utf-8")
    assert "cannot load a token classifier" in error_line(str(torn), file)
    assert "cannot load a token classifier" in error_line("nobody/has-this-model", file, "--store", str(tmp_path / "s"))
    assert "no run is called 'nosuch'" in error_line("nosuch", file, "--store", str(tmp_path / "s"))


def test_missing_weights_are_rejected(tiny_bert: str, tmp_path: Path, error_line: Callable[..., str]) -> None:
    from safetensors.torch import load_file, save_file

    folder = classifier(tmp_path / "model", tiny_bert, SCHEMES["BIO"])
    weights = {
        name: value for name, value in load_file(folder / "model.safetensors").items() if "classifier" not in name
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    line = error_line(str(folder), str(write_columns(tmp_path / "test.conll")))
    assert "no weights for classifier.bias, classifier.weight" in line


# ---- steps and exported folders


@pytest.fixture(scope="module")
def exported(trained: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last step of the small run, as a folder for the Predictor."""
    folder = tmp_path_factory.mktemp("evaluate") / "exported"
    assert export("columns", folder, ObjectStore(trained)) == "predictor"
    return folder


@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_test_part_is_scored_as_the_ledger_has_it(step: int, trained: str) -> None:
    _, record = find_step(f"columns:{step}", ObjectStore(trained))
    evaluation = evaluate(f"columns:{step}", test=True, store=trained, resamples=50)
    assert_seqevals(evaluation)
    for name, (tp, fp, fn) in record.test.items():
        if tp + fp + fn:
            score = evaluation.report.scores.types[name]
            assert (score.support, score.predicted) == (tp + fn, tp + fp)
            assert evaluation.report.confusion.outcomes[name]["exact"] == tp
    assert evaluation.sources[0].startswith("test part of columns")
    trained_by = f"1 worker; {record.dtype}; numerics {NUMERICS}; raycner {__version__}."
    stated = f"Decoder constrained; calibration none; seed 0; order animal, city, food, person; {trained_by}"
    assert evaluation.provenance == document(evaluation)["provenance"] == stated


def test_a_step_can_be_read_out_otherwise(
    trained: str, exported: Path, tmp_path: Path, error_line: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    predictor = load_predictor("columns", trained, read_out={"decoding": "strict"})
    assert isinstance(predictor, Predictor) and predictor._network.config.head.decoding == "strict"  # type: ignore[attr-defined]
    words = ["evaluate", "columns", "--test", "--store", trained, "--json"]
    assert main([*words, "eval.decoding=strict"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["micro"]["f1"] > 0.5 and printed["provenance"].startswith("Decoder strict; calibration none")
    assert "eval.decoding" in error_line(*words[1:], "eval.decoding=nosuch")
    assert "eval.counting: no such setting of this verb" in error_line(*words[1:], "eval.counting=conlleval")
    assert "threshold 1.0: a probability above 0" in error_line(*words[1:], "eval.threshold=1.0")
    file = str(write_columns(tmp_path / "a.conll"))
    assert "without decoding" in error_line(str(exported), file, "eval.decoding=argmax")


def test_a_run_that_version_01_recorded_is_read(trained: str, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "store")
    (file,) = (tmp_path / "store" / "runs").glob("*/ledger.json")
    ledger = json.loads(file.read_text())
    del ledger["config"]["eval"]
    ledger["config"]["optim"]["conlleval"] = False
    file.write_text(json.dumps(ledger))
    ours, theirs = (evaluate("columns", test=True, store=str(s), resamples=0) for s in (trained, tmp_path / "store"))
    assert ours.report == theirs.report


@pytest.mark.parametrize("family", ["deberta-v2", "gpt2", "modernbert", "xlnet"])
def test_other_families_are_read_up_to_their_longest_input(family: str, tiny_bert: str, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert, model_max_length=10**30)
    sizes = {
        "gpt2": {"n_embd": 32, "n_head": 4, "n_layer": 1, "n_positions": 96},
        "xlnet": {"d_model": 32, "n_head": 4, "d_inner": 48, "n_layer": 1},
    }
    usual = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48, "num_hidden_layers": 1}
    shape = sizes.get(family, {**usual, "max_position_embeddings": 96})
    labels = dict(enumerate(SCHEMES["types"]))
    config = AutoConfig.for_model(family, vocab_size=len(tokenizer), id2label=labels, pad_token_id=0, **shape)
    AutoModelForTokenClassification.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    predictor = TokenClassifier.load(str(tmp_path))
    assert len(predictor.words([["Ada", "slept"], ["a"] * 300])) == 2
    assert predictor.unread == (0 if family == "xlnet" else 300 - (96 - 2))


def test_a_step_and_its_exported_folder_score_alike(trained: str, exported: Path, tmp_path: Path) -> None:
    file = write_columns(tmp_path / "test.conll")
    ours, theirs = evaluate("columns", [file], store=trained), evaluate(exported, [file])
    assert isinstance(load_predictor(str(exported)), Predictor)
    assert ours.report == theirs.report
    assert theirs.provenance == "Decoder constrained."
    assert_seqevals(ours)
    assert ours.report.scores.micro.f1 > 0.5
    assert ours.report.intervals is not None and ours.report.intervals.micro is not None
    assert ours.report.intervals.micro.low <= ours.report.scores.micro.f1 <= ours.report.intervals.micro.high


def test_an_exported_pipeline_is_a_token_classifier(tiny_bert: str, tmp_path: Path) -> None:
    from raycner.data.entities import TypeInventory
    from raycner.networks.network import ModelConfig, Network
    from raycner.settings import build

    torch.manual_seed(2)
    network = Network(
        build(
            ModelConfig,
            {"encoder": {"name": "pretrained", "path": tiny_bert}, "head": {"name": "linear", "decoding": "argmax"}},
        )
    )
    network.start_step(TypeInventory().grow(("animal", "city", "food", "person")), [["Ada"]])
    network.finalize()
    with torch.no_grad():
        network.head.weight.mul_(20)  # type: ignore[union-attr,operator]
    (tmp_path / "model").mkdir()
    network.encoder.save_frame(tmp_path / "model")
    network.encoder.classifier(*network.head.as_linear()[:3]).save_pretrained(tmp_path / "model")  # type: ignore[index]
    sentences = [words for words, _ in spoken(40, 9)]
    by_step = [[(e.start, e.end, e.type) for e in row] for row in Predictor(network).words(sentences)]
    classifier = load_predictor(str(tmp_path / "model"))
    assert isinstance(classifier, TokenClassifier)
    by_folder = [[(e.start, e.end, e.type) for e in row] for row in classifier.words(sentences)]
    if not Predictor(network)._network.bf16:
        assert by_step == by_folder
    assert sum(map(len, by_folder)) > 20


@pytest.mark.encoder
def test_an_exported_minilm_step_scores_as_seqeval_says(minilm: str, trained_layers: list[str], tmp_path: Path) -> None:
    from raycner.config import RunConfig
    from raycner.orchestration.runner import run

    layers = [
        s for s in trained_layers if not s.startswith(("model.encoder", "store", "optim", "scenario.protocol.first"))
    ]
    own = [
        f"store={tmp_path}/store",
        f"model.encoder={{name: pretrained, path: {minilm}}}",
        "scenario.protocol.first=4",
    ]
    run(RunConfig.load([*layers, *own, "method.name=finetuning", "optim.batch_size=8"]), lambda *_, **__: None)
    assert export("columns", tmp_path / "exported", ObjectStore(f"{tmp_path}/store")) == "pipeline"
    file = write_columns(tmp_path / "test.conll", 80)
    for model in ("columns", str(tmp_path / "exported")):
        evaluation = evaluate(model, [file], store=f"{tmp_path}/store")
        assert_seqevals(evaluation)
        assert evaluation.report.scores.micro.f1 > 0.5


# ---- files


def test_every_layout_gives_the_same_scores(exported: Path, tmp_path: Path) -> None:
    columns = write_columns(tmp_path / "a.conll")
    rows = spoken(40, 5)
    spans = [[{"start": e.start, "end": e.end, "type": e.type} for e in entities] for _, entities in rows]
    objects = [{"tokens": words, "entities": one} for (words, _), one in zip(rows, spans, strict=True)]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(one) + "\n" for one in objects), encoding="utf-8")
    tagged = [{"tokens": words, "tags": encode(entities, len(words), "BIOES")} for words, entities in rows]
    (tmp_path / "c.json").write_text("".join(json.dumps(one) + "\n" for one in tagged), encoding="utf-8")
    texts = []
    for words, entities in rows:
        starts = [sum(len(word) + 1 for word in words[:i]) for i in range(len(words))]
        marks = [[starts[e.start], starts[e.end - 1] + len(words[e.end - 1]), e.type] for e in entities]
        texts.append({"text": " ".join(words), "entities": marks})
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(one) + "\n" for one in texts), encoding="utf-8")
    (tmp_path / "brat").mkdir()
    for i, one in enumerate(texts):
        text = str(one["text"])
        lines = [f"T{k}\t{kind} {a} {b}\t{text[a:b]}\n" for k, (a, b, kind) in enumerate(one["entities"])]  # type: ignore[misc,arg-type]
        (tmp_path / "brat" / f"{i:02}.txt").write_text(text, encoding="utf-8")
        (tmp_path / "brat" / f"{i:02}.ann").write_text("".join(lines), encoding="utf-8")
    expected = evaluate(exported, [columns], resamples=0)
    for source in ("b.jsonl", "c.json", "d.jsonl", "brat", "brat/*.ann"):
        evaluation = evaluate(exported, [tmp_path / source], resamples=0)
        assert evaluation.report.scores == expected.report.scores, source
    both = evaluate(exported, [tmp_path / "b.jsonl", columns], resamples=0)
    assert both.report.sentences == 80 and both.report.scores.micro.f1 == expected.report.scores.micro.f1


@pytest.mark.parametrize(
    ("name", "content", "layout"),
    [
        ("a.conll", "", "columns"),
        ("a.txt", "", "columns"),
        ("a.tsv.gz", "", "columns"),
        ("a.parquet", "", "parquet"),
        ("a.gold_conll", "", "conll2012"),
        ("a.jsonl", '{"tokens": ["a"]}', "jsonl"),
        ("a.jsonl", '{"text": "a"}', "offsets"),
        ("a.ann", "", "brat"),
        ("a.xml", "", "i2b2"),
    ],
)
def test_a_file_name_determines_its_layout(name: str, content: str, layout: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert layout_of(single(str(tmp_path / name))) == layout


def test_of_a_folder_with_a_test_part_that_part_is_read(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "dev", "test")):
        write_columns(tmp_path / f"{part}.conll", 10 + seed, seed)
    read = read_annotated([str(tmp_path)])
    assert len(read.sentences) == 12 and "its test part, 1 of 3 files" in " ".join(read.notes)
    assert len(read_annotated([str(tmp_path / "train.conll")]).sentences) == 10
    (tmp_path / "test.conll").unlink()
    assert len(read_annotated([str(tmp_path)]).sentences) == 21


def test_a_saved_dataset_is_read(tmp_path: Path) -> None:
    import datasets

    rows = spoken(12, 1)
    parts = {
        part: datasets.Dataset.from_dict(
            {"tokens": [words for words, _ in rows], "ner_tags": [encode(e, len(words)) for words, e in rows]}
        )
        for part in ("train", "test")
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    assert len(read_annotated([str(tmp_path / "saved")]).sentences) == 12


def test_settings_of_reading_stand_among_the_files(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line.split() for line in write_columns(tmp_path / "a.conll").read_text().splitlines()]
    turned = "\n".join(" ".join(reversed(cells)) for cells in lines)
    (tmp_path / "b.odd").write_text(turned + "\n", encoding="utf-8")
    scores = []
    for words in (
        [str(tmp_path / "a.conll")],
        [
            "--layout",
            "columns",
            str(tmp_path / "b.odd"),
            "reading.token_column=1",
            "--seed",
            "1",
            "scenario.corpus.tag_column=0",
        ],
    ):
        assert main(["evaluate", str(exported), "--json", *words]) == 0
        scores.append(json.loads(capsys.readouterr().out)["types"])
    assert {name: one["f1"] for name, one in scores[0].items()} == {name: one["f1"] for name, one in scores[1].items()}


# ---- types


def test_gold_types_that_the_model_lacks_are_left_out_and_named(trained: str, tmp_path: Path) -> None:
    file = write_columns(tmp_path / "test.conll")
    evaluation = evaluate("columns:1", [file], store=trained, resamples=0)
    model = load_predictor("columns:1", trained).types
    assert set(evaluation.report.scores.types) <= set(model) < {"animal", "city", "food", "person"}
    (note,) = [note for note in evaluation.notes if "the model does not have" in note]
    assert all(f"{name} (" in note for name in {"animal", "city", "food", "person"} - set(model))
    assert_seqevals(evaluation)


def test_chosen_types_alone_are_scored(trained: str, tmp_path: Path) -> None:
    file = write_columns(tmp_path / "test.conll")
    whole = evaluate("columns", [file], store=trained, resamples=0)
    chosen = evaluate("columns", [file], store=trained, types=["person"], resamples=0)
    assert list(chosen.report.scores.types) == ["person"]
    assert chosen.report.scores.types["person"] == whole.report.scores.types["person"]
    assert any(note.startswith("gold types that were not chosen") for note in chosen.notes)


def test_the_models_types_may_have_other_names_in_the_files(
    trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_columns(tmp_path / "test.conll")
    file.write_text(file.read_text().replace("-person", "-PER").replace("-city", "-GPE"), encoding="utf-8")
    renamed = ["--rename", "person=PER,city=GPE"]
    assert main(["evaluate", "columns", str(file), "--store", trained, "--json", *renamed]) == 0
    parsed = json.loads(capsys.readouterr().out)
    whole = evaluate("columns", [write_columns(tmp_path / "same.conll")], store=trained, resamples=0)
    assert set(parsed["types"]) == {"animal", "food", "PER", "GPE"}
    assert parsed["types"]["PER"]["f1"] == whole.report.scores.types["person"].f1
    assert parsed["micro"]["f1"] == whole.report.scores.micro.f1


def test_predicted_types_without_gold_are_errors_and_named(trained: str, tmp_path: Path) -> None:
    file = write_columns(tmp_path / "test.conll", types=("person",))
    evaluation = evaluate("columns", [file], store=trained, resamples=0)
    assert any(note.startswith("predicted types without any gold entity") for note in evaluation.notes)
    assert evaluation.report.scores.types["city"].support == 0
    assert_seqevals(evaluation)


# ---- bad input


@pytest.mark.parametrize(
    ("content", "arguments", "expected"),
    [
        ("", [], "no sentence in this file"),
        ("Ada O\nslept O\n", [], "no gold entity in it"),
        ("Ada B-planet\n", [], "no gold entity of a scored type: gold has planet; the model has"),
        ("Ada B-person\n", ["--types", "persn"], "--types: the model has no type 'persn'; did you mean person?"),
        ("Ada B-person\n", ["--rename", "persn=PER"], "--rename: the model has no type 'persn'; did you mean person?"),
        ("Ada B-person\n", ["--rename", "person"], "--rename: 'person' names no pairs"),
        ("Ada B-person\n", ["--layout", "colums"], "--layout: no layout is called 'colums'; did you mean columns"),
        ("Ada B-person\n", ["tag_colum=1"], "reading.tag_colum: no such setting; did you mean tag_column"),
        ("Ada B-person\n", ["--test"], "a test part and files together"),
        ("Ada B-person\n", ["--bootstrap", "-1"], "not a whole number"),
        ("Ada B-person\n", ["--types", ","], "no type is named"),
        ("Ada\n", [], "too few for a word in column 0 and a tag"),
        ("Ada I-person\n", ["reading.scheme=BIO"], "I-person without a B-person before it"),
    ],
)
def test_bad_input_gets_one_line(
    content: str, arguments: list[str], expected: str, exported: Path, tmp_path: Path, error_line: Callable[..., str]
) -> None:
    (tmp_path / "test.conll").write_text(content, encoding="utf-8")
    assert expected in error_line(str(exported), str(tmp_path / "test.conll"), *arguments)


def test_bad_paths_get_one_line(exported: Path, tmp_path: Path, error_line: Callable[..., str]) -> None:
    assert "no such file or folder" in error_line(str(exported), str(tmp_path / "nowhere.conll"))
    (tmp_path / "a.pdf").touch()
    assert "its layout is not clear from its name; add --layout" in error_line(str(exported), str(tmp_path / "a.pdf"))
    assert "neither files nor a test part" in error_line(str(exported))
    assert "a folder has no test part of its own" in error_line(str(exported), "--test")
    file = str(write_columns(tmp_path / "a.conll"))
    assert "cannot be written" in error_line(str(exported), file, "--html", str(tmp_path / "a.pdf" / "page.html"))
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    (copy / "weights.safetensors").write_bytes(b"torn")
    assert "no exported network" in error_line(str(copy), file)


def test_nested_gold_is_scored_but_not_by_seqeval(
    exported: Path, tmp_path: Path, error_line: Callable[..., str]
) -> None:
    entities = [[0, 2, "person"], [0, 1, "city"]]
    (tmp_path / "a.jsonl").write_text(json.dumps({"tokens": ["Ada", "Bo"], "entities": entities}), encoding="utf-8")
    reading = {"nested": True}
    assert evaluate(exported, [tmp_path / "a.jsonl"], reading=reading).report.scores.micro.support == 2
    line = error_line(str(exported), str(tmp_path / "a.jsonl"), "nested=true", "--seqeval")
    assert "cannot spell nested entities" in line


# ---- what is printed


def test_tables_seqeval_and_examples(
    trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    file = write_columns(tmp_path / "test.conll", types=("person", "food"))
    assert main(["evaluate", "columns", str(file), "--store", trained, "--seqeval", "--examples", "1"]) == 0
    printed = capsys.readouterr().out
    assert all(len(line) <= 80 for line in printed.partition("seqeval, mode=strict")[0].splitlines())
    for word in (
        "micro average",
        "weighted average",
        "Outcomes",
        "Confusion",
        "Most frequent mistakes",
        "spurious city",
    ):
        assert word in printed
    evaluation = evaluate("columns", [file], store=trained, resamples=0)
    micro = evaluation.report.scores.micro
    assert f"{100 * micro.precision:.2f}" in printed and f"{micro.precision:.4f}" in printed.partition("mode=strict")[2]
    assert main(["evaluate", "columns", "--store", trained, "--examples", "0", str(file), "--bootstrap", "0"]) == 0
    bare = capsys.readouterr().out
    assert "mistakes" not in bare and "95 %" not in bare


def test_the_python_api_gives_frames(trained: str, tmp_path: Path) -> None:
    import raycner

    file = write_columns(tmp_path / "test.conll")
    evaluation = raycner.evaluate("columns", file, store=trained, resamples=50, progress=False)
    scores = evaluation.scores().set_index("type")
    assert scores.loc["micro", "f1"] == 100 * evaluation.evaluation.report.scores.micro.f1
    assert scores.loc["micro", "low"] <= scores.loc["micro", "f1"] <= scores.loc["micro", "high"]
    confusion = evaluation.confusion()
    assert confusion.loc["person"].sum() == scores.loc["person", "support"]
    assert confusion["person"].sum() == scores.loc["person", "predicted"]
    assert "micro F1" in repr(evaluation) and "micro average" in evaluation._repr_html_()
    assert evaluation.seqeval().split()[0] == "precision"
    evaluation.write_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_the_document_has_its_keys(trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(write_columns(tmp_path / "test.conll", types=("person", "food")))
    assert main(["evaluate", "columns", file, "--store", trained, "--json", "--seqeval", "--bootstrap", "20"]) == 0
    parsed = json.loads(capsys.readouterr().out)
    from raycner.reporting import evaluation_document

    documented = set(re.findall(r'"(\w+)"', evaluation_document.__doc__ or ""))
    assert set(parsed) <= documented and parsed["schema"] == 1
    assert set(parsed["micro"]) | set(parsed["mistakes"][0]) | set(parsed["mistakes"][0]["examples"][0]) <= documented
    assert parsed["bootstrap"] == {"level": 0.95, "resamples": 20, "seed": 0}
    low, high = parsed["micro"]["f1_interval"]
    assert 0 <= low <= parsed["micro"]["f1"] <= high <= 1
    assert parsed["matrix"]["types"][-1] == "O" and len(parsed["matrix"]["counts"]) == len(parsed["matrix"]["types"])
    assert parsed["seqeval"].split()[:2] == ["precision", "recall"]


def evaluated(types: int = 4, name: str = "model") -> EntityEvaluation:
    """An evaluation with all outcomes."""
    names = [f"type-number-{i}" for i in range(types)]
    sentences = []
    for i, kind in enumerate(names * 3):
        gold = Entity(0, 2, kind)
        predicted = [gold, Entity(0, 1, kind), Entity(0, 2, names[(i - 1) % types]), Entity(3, 4, kind)][i % 4]
        words = ("long-word " * 4 + HOSTILE).split(" ")
        sentences.append(ScoredSentence(tuple(words), frozenset({gold}), frozenset({predicted})))
    report = entity_report(sentences, names, resamples=50)
    return EntityEvaluation(name, (f"{HOSTILE}.conll",), report, tuple(sentences), (HOSTILE,))


def test_the_page_is_self_contained_and_escapes_what_it_read() -> None:
    page = html([evaluation_section(evaluated())], "Heading", "Opening.")
    reader = read(page)
    assert reader.loads == [] and not {"link", "img", "iframe"} & set(reader.tags)
    assert reader.tags.count("script") == 1  # our own
    text = "".join(reader.words)
    assert HOSTILE in text and "Heading" in text and "macro average" in text
    assert {anchor[1:] for anchor in reader.anchors} <= set(reader.identifiers)
    assert not re.search(r"@import|url\((?!#)", page)
    assert page == html([evaluation_section(evaluated())], "Heading", "Opening.")


def test_html_writes_one_file(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(write_columns(tmp_path / "test.conll"))
    assert main(["evaluate", str(exported), file, "--html", str(tmp_path / "new" / "page.html")]) == 0
    assert capsys.readouterr().out == ""
    page = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert "How well entities are predicted" in page and "micro average" in page


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_draws_the_page(width: int, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser on PATH: none of {', '.join(BROWSERS)}")
    other = evaluation_section(evaluated(name="m" * 80), "other")
    sections = [evaluation_section(evaluated(18)), replace(other, title="a-very-long-name/" * 8)]
    page = html(sections).replace('<meta http-equiv="Content-Security-Policy"', '<meta name="without"')
    (tmp_path / "page.html").write_text(page.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    head = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path}"]
    address = (tmp_path / "page.html").as_uri()
    asked = [*head, f"--window-size={width},2000", "--virtual-time-budget=5000", "--dump-dom", address]
    dumped = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=120).stdout
    title = re.search(r"<title>(.*?)</title>", dumped)
    assert title, dumped[:500]
    measured, *plots = title[1].split("; ")
    _, across, available = measured.split()
    assert int(across) <= int(available), "the page itself scrolls sideways"
    assert len(plots) == 4
    for plot in plots:
        _, wide, high, shapes = plot.split()
        assert int(wide) > 200 and int(high) > 60 and int(shapes) > 10, plot


@given(st.integers(0, 3), st.integers(1, 3))
@settings(max_examples=10)
def test_a_marked_sentence_still_has_all_words(start: int, size: int) -> None:
    from raycner.evaluation.mistakes import Example
    from raycner.reporting.evaluation_tables import marked

    words = tuple("abcdef")
    example = Example(0, words, Entity(start, start + size, "x"), Entity(start, start + 1, "x"))
    shown = marked(example)
    assert re.sub(r"[\[\]{}]", "", shown) == "a b c d e f"
    assert shown.count("[") == shown.count("]") == shown.count("{") == shown.count("}") == 1


def test_reading_settings_are_those_of_the_layout(tmp_path: Path) -> None:
    file = write_columns(tmp_path / "a.conll")
    with pytest.raises(InputError, match=r"reading\.nosuch: no such setting; columns has "):
        evaluate("any", [file], reading={"nosuch": 1})


def test_entities_flow_between_steps() -> None:
    """Of a step of a run, the types are grouped by the step that brought them; a folder has no steps on record."""
    report = entity_report(
        [
            ScoredSentence(("a", "b"), frozenset({Entity(0, 1, "old")}), frozenset({Entity(0, 1, "new")})),
            ScoredSentence(("a", "b"), frozenset({Entity(1, 2, "new")}), frozenset()),
        ],
        ["old", "new"],
        resamples=0,
    )
    evaluation = EntityEvaluation("run:2", ("a.conll",), report, (), steps=(("old",), ("new",)))
    table = flows_table(evaluation)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["1: old", DASH, "1", DASH],
        ["2: new", DASH, DASH, "1"],
        ["O", DASH, DASH, DASH],
    ]
    section = evaluation_section(evaluation)
    assert [plot.name for plot in section.plots] == ["evaluation-f1", "evaluation-confusion", "evaluation-flows"]
    assert "step 2" in section.plots[-1].svg()
