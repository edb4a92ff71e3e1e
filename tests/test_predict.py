"""Prediction: the entities that evaluation counts, from every form of input, in order, whatever shares a batch."""

import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import raycner
import runs
from fixtures_tiny import spoken
from raycner.__main__ import main
from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.entities import Entity, TypeInventory
from raycner.data.layouts.layout import LAYOUTS
from raycner.data.metrics import add, tally
from raycner.data.passages import Passage
from raycner.data.scenarios.scenario import Scenario
from raycner.data.sources import find
from raycner.errors import InputError
from raycner.inference.predictor import PredictedEntity, Predictor, sink
from raycner.networks.heads.cosine import Cosine
from raycner.networks.network import ModelConfig, Network
from raycner.orchestration.run_steps import prepare
from raycner.orchestration.runner import run
from raycner.settings import build
from raycner.storage.run_names import find_step
from raycner.storage.store import ObjectStore
from raycner.training.loader import EVAL_BATCH_LIMITS, SplitLoader

LINES = ["Ada gave the red fox some soup in Oslo .", "", "It rained all day . Then Bo Finch slept in New Rome !"]


@pytest.fixture(scope="module")
def predictor(trained: str) -> Predictor:
    return Predictor.of("columns", trained)


def printed_objects(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def places(entities: list[PredictedEntity]) -> list[tuple[int, int, str]]:
    return [(f.start, f.end, f.type) for f in entities]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_entities_are_those_that_the_step_was_scored_on(step: int, trained: str, trained_layers: list[str]) -> None:
    _, record = find_step(f"columns:{step}", ObjectStore(trained))
    _, scenario = prepare(RunConfig.load(trained_layers), runs.silent)
    predictor = Predictor.of(f"columns:{step}", trained)
    assert predictor.types == record.seen
    (test,) = scenario[step - 1].test
    sentences = list(test.sentences())
    predictions = predictor.words([sentence.words for sentence in sentences])
    counts = add(dict.fromkeys(record.seen, (0, 0, 0)))
    for sentence, entities in zip(sentences, predictions, strict=True):
        counts = add(counts, tally(sentence.entities, {Entity(f.start, f.end, f.type) for f in entities}, record.seen))
    assert counts == dict(record.test)
    assert sum(tp for tp, _, _ in counts.values()) > 0


def test_confidence_is_that_of_the_least_confident_word(predictor: Predictor) -> None:
    (entities,) = predictor.words([LINES[0].split()])
    assert entities and all(0 < f.confidence <= 1 for f in entities)


def test_text_and_words_give_equal_entities(predictor: Predictor) -> None:
    by_text, _, twice = predictor.text(LINES)
    (by_words,) = predictor.words([LINES[0].split()])
    starts = [LINES[0].index(word) for word in LINES[0].split()]
    assert [(f.start, f.type) for f in by_text] == [(starts[f.start], f.type) for f in by_words]
    assert [f.text for f in by_text] == [LINES[0][f.start : f.end] for f in by_text] == [f.text for f in by_words]
    assert all(f.text == LINES[2][f.start : f.end] for f in twice)


def test_order_and_company_do_not_matter(predictor: Predictor) -> None:
    texts = [f"{'so ' * (i % 7)}{line}" for i, line in enumerate(LINES * 5)]
    together, alone = predictor.text(texts), [predictor.text([text])[0] for text in texts]
    assert [places(entities) for entities in together] == [places(entities) for entities in alone]


def test_passages_are_read_in_chunks(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = predictor.text(LINES)
    monkeypatch.setattr("raycner.inference.predictor.PASSAGES_AT_A_TIME", 2)
    asked: list[int] = []

    def coming() -> object:
        for i, line in enumerate(LINES):
            asked.append(i)
            yield Passage.of_text(line)

    reading = predictor.read(coming())  # type: ignore[arg-type]
    predictions = [next(reading)[1]]
    assert asked == [0, 1]
    predictions += [entities for _, entities in reading]
    assert [places(entities) for entities in predictions] == [places(entities) for entities in expected]


def test_a_head_that_reads_its_batch_predicts_what_it_is_scored_on(
    tiny_config: RunConfig, tiny_corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EVAL_BATCH_LIMITS, "cpu", (3, 512))
    torch.manual_seed(0)
    experience = Scenario(tiny_config.scenario, [tiny_corpus])[0]
    network = Network(replace(tiny_config.model, head=Cosine(norm_axis="sequence")))
    network.start_step(experience.inventory, [s.words for s in experience.train.sentences()])
    network.finalize()
    (test,) = experience.test
    scored: dict[int, set[tuple[int, int, str]]] = {}
    with network.eval_mode():
        for positions, batch in SplitLoader(test, network).batches():
            for position, entities in zip(positions.tolist(), network.predict(batch), strict=True):
                scored[position] = {(e.start, e.end, e.type) for e in entities}
    predicted = Predictor(network).words([sentence.words for sentence in test.sentences()])
    assert [set(places(entities)) for entities in predicted] == [scored[i] for i in range(len(test))]
    assert any(predicted)


def test_what_is_too_long_for_the_encoder_is_read_to_its_end(tiny_bert: str) -> None:
    torch.manual_seed(1)
    network = Network(build(ModelConfig, {"encoder": {"name": "pretrained", "path": tiny_bert}}))
    network.start_step(TypeInventory().grow(("x", "y")), [["Ada"]])
    network.finalize()
    predictor = Predictor(network)
    long = ["Ada", "Bo", "Finch", "."] * 60
    entities, nothing, short = predictor.words([long, [], long[:4]])
    assert entities[-1].end > 200, "the end of the sentence was not read"
    assert nothing == [] and predictor.words([long, long[:4]]) == [entities, short]


def test_the_package_offers_it() -> None:
    assert raycner.Predictor is Predictor


# ---- the verb


def test_every_form_of_input(trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = LINES[0].split()
    (tmp_path / "a.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    objects = [{"id": 7, "tokens": words}, {"text": LINES[0], "source": "b"}]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in objects), encoding="utf-8")
    (tmp_path / "c.conll").write_text("".join(f"{word}\tO\n" for word in words) + "\n", encoding="utf-8")
    files = [str(tmp_path / name) for name in ("a.txt", "b.jsonl", "c.conll")]
    assert main(["predict", "columns", *files, "--store", trained]) == 0
    printed = printed_objects(capsys)
    assert [line.get("text") for line in printed] == [*LINES, None, LINES[0], None]
    assert printed[3]["id"] == 7 and printed[4]["source"] == "b"
    assert printed[3]["entities"] == printed[5]["entities"] != []
    assert printed[0]["entities"] == printed[4]["entities"]
    assert set(printed[0]["entities"][0]) == {"start", "end", "type", "confidence", "text"}  # type: ignore[index]


def test_standard_input_is_text(
    trained: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO("\n".join(LINES).encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    assert main(["predict", "columns", "-", "--store", trained]) == 0
    assert [line["text"] for line in printed_objects(capsys)] == LINES


def test_predictions_can_be_used_as_training_data(
    trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "given.conll", tmp_path / "train.jsonl"
    source.write_text("".join(f"{word}\tO\n" for word in LINES[0].split()) + "\n", encoding="utf-8")
    assert main(["predict", "columns", str(source), "--store", trained, "--output", str(output)]) == 0
    assert capsys.readouterr().out == ""
    (row,) = LAYOUTS["jsonl"]().rows(find(str(output), []), [])
    (entities,) = Predictor.of("columns", trained).words([row.words])
    assert list(row.entities) == [Entity(f.start, f.end, f.type) for f in entities]


def test_what_a_killed_predict_left_is_removed_after_an_hour(tmp_path: Path) -> None:
    abandoned, recent = (tmp_path / f"out.jsonl~{digit * 32}" for digit in "01")
    for draft in (abandoned, recent):
        draft.write_text("half", encoding="utf-8")
    os.utime(abandoned, (time.time() - 3601,) * 2)
    with sink(str(tmp_path / "out.jsonl")) as lines:
        lines.write("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", recent.name]


def test_it_runs_as_a_command(trained: str) -> None:
    command = [sys.executable, "-m", "raycner", "predict", "columns:1", "-", "--store", trained]
    done = subprocess.run(command, input=LINES[0], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["text"] == LINES[0]


def test_a_reader_that_has_had_enough_is_no_failure(trained: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{LINES[0]}\n" * 5000, encoding="utf-8")
    command = f"{sys.executable} -m raycner predict columns {tmp_path}/a.txt --store {trained} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert json.loads(done.stdout)["text"] == LINES[0]


@pytest.mark.parametrize(
    ("step", "content", "expected"),
    [
        ("nosuch", "", "no run is called 'nosuch'"),
        ("columns:4", "", "no step '4' is done; done are 1, 2, 3"),
        ("columns:x", "", "no step 'x' is done"),
        ("columns", '{"tokens": ["a"]}\n{"tokens": [""]}\n', "in.jsonl:2: tokens are"),
        ("columns", '{"txt": "a"}\n', "in.jsonl:1: text is missing"),
        ("columns", "{\n", "in.jsonl:1: not JSON"),
        ("columns", "[" * 100_000 + "\n", "in.jsonl:1: not JSON"),
        ("columns", "9" * 5000 + "\n", "in.jsonl:1: not JSON"),
        ("columns", "\ud800", "in.jsonl:1: byte 0xed is not UTF-8"),
    ],
)
def test_bad_input_gets_one_line_and_leaves_nothing(
    step: str, content: str, expected: str, trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given.write_bytes(content.encode("utf-8", "surrogatepass"))
    assert main(["predict", step, str(given), "--store", trained, "--output", str(output)]) == 2
    line = capsys.readouterr().err.strip()
    assert line.startswith("raycner: ") and "\n" not in line and expected in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere.txt"], "nowhere.txt: no such file"),
        (["given.pdf"], "--form with one of text, jsonl, columns"),
        (["given.txt", "--output", "no/such/folder/out"], "cannot be written"),
    ],
)
def test_bad_paths_are_rejected(
    arguments: list[str],
    expected: str,
    trained: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("given.pdf", "given.txt"):
        Path(name).write_text("a\n", encoding="utf-8")
    assert main(["predict", "columns", *arguments, "--store", trained]) == 2
    assert expected in capsys.readouterr().err


def predicted(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["predict", "columns", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_of_several_files_each_line_names_its_own(
    trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, own = tmp_path / "texts", ("--store", trained)
    (texts / "deep").mkdir(parents=True)
    (texts / "a.txt").write_text("Anna flew to Oslo.\n", encoding="utf-8")
    (texts / "deep" / "b.jsonl").write_text('{"text": "Bob sang.", "file": "own"}\n', encoding="utf-8")
    (texts / "c.pdf").write_bytes(b"no text")
    files = [str(texts / "a.txt"), str(texts / "deep" / "b.jsonl")]
    assert [line["file"] for line in predicted(capsys, str(texts), *own)] == files
    assert [line["file"] for line in predicted(capsys, f"{texts}/**/*.*", files[0], *own)] == files
    assert "file" not in predicted(capsys, f"{texts}/*.txt", *own)[0]
    assert main(["predict", "columns", f"{texts}/*.pdf", *own]) == 2
    assert "--form with one of" in capsys.readouterr().err


def test_entities_below_the_least_confidence_are_left_out(
    trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentences = [" ".join(words) for words, _ in spoken(40, 7)]
    (tmp_path / "a.txt").write_text("\n".join(sentences), encoding="utf-8")
    own = (str(tmp_path / "a.txt"), "--store", trained)
    everything = [entity for line in predicted(capsys, *own) for entity in line["entities"]]
    least = sorted(entity["confidence"] for entity in everything)[len(everything) // 2]
    confident = [e for line in predicted(capsys, *own, "--min-confidence", str(least)) for e in line["entities"]]
    assert 0 < len(confident) < len(everything) and all(entity["confidence"] >= least for entity in confident)
    for wrong in ("2", "nan", "x"):
        assert main(["predict", "columns", *own, "--min-confidence", wrong]) == 2
        assert "is not a number from 0 to 1" in capsys.readouterr().err


def test_a_gigantic_line_is_rejected(
    trained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("raycner.data.sources.LONGEST", 1000)
    (tmp_path / "in.txt").write_text("short\n" + "x" * 1001, encoding="utf-8")
    assert main(["predict", "columns", str(tmp_path / "in.txt"), "--store", trained]) == 2
    assert "in.txt:2: a line of more than" in capsys.readouterr().err


def test_a_name_that_several_runs_begin_with_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        tiny = ("scenario.order=[location]", "method.name=finetuning", "optim.first.epochs=1")
        run(runs.small(tmp_path, *tiny, f"seed={seed}"), runs.silent)
    (tmp_path / "a.txt").write_text("Oslo\n", encoding="utf-8")
    assert main(["predict", "demo", str(tmp_path / "a.txt"), "--store", str(tmp_path)]) == 2
    assert "2 runs are called 'demo'" in capsys.readouterr().err


def test_found_are_ordered() -> None:
    assert PredictedEntity(0, 1, "x", 0.5, "a") < PredictedEntity(0, 2, "x", 0.1, "a")


def test_one_sentence_or_one_text_gets_one_list(predictor: Predictor) -> None:
    words = LINES[0].split()
    assert predictor.words(words) == predictor.words([words])[0] != []
    assert predictor.text(LINES[0]) == predictor.text(LINES[:1])[0] != []
    assert predictor.words([]) == predictor.text([]) == []
    assert predictor.words([[]]) == predictor.text([""]) == [[]]


@pytest.mark.parametrize(
    ("method", "given", "hint"),
    [
        ("words", LINES[0], "use text() for a string"),
        ("words", ["Ada", ["saw", "Oslo"]], "write each sentence as a list of strings"),
        ("text", [["Ada", "saw", "Oslo"]], "use words() for sentences in words"),
    ],
)
def test_words_and_texts_are_not_confused(method: str, given: object, hint: str, predictor: Predictor) -> None:
    with pytest.raises(InputError) as error:
        getattr(predictor, method)(given)
    assert error.value.hint == hint


def test_a_predictor_has_a_readable_repr(predictor: Predictor) -> None:
    assert repr(predictor).startswith("<Predictor columns-fg_pg-")
    assert ":3: " in repr(predictor) and ", ".join(predictor.types) in repr(predictor)
