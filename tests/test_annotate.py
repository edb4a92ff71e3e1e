"""Annotating: the sentences that teach most come first, and what a tool exports of them is read back as a step."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

import raycner
import runs
from fixtures_tiny import spoken
from raycner.__main__ import main
from raycner.config import RunConfig
from raycner.data.annotation_tools import TOOLS, SuggestedText, Suggestion
from raycner.data.entities import Entity, encode
from raycner.data.layouts.layout import LAYOUTS
from raycner.errors import InputError
from raycner.inference.annotation import value
from raycner.inference.candidates import PRIOR, Probe, mentions
from raycner.orchestration.runner import run

Gold = Mapping[str, list[tuple[int, int, str]]]
"""The entities of each text, in characters."""
OLD = ("city", "person")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, tiny_layers: list[str]) -> Path:
    """A store with a run of one step, which learned cities and persons."""
    place = tmp_path_factory.mktemp("annotate")
    blocks = []
    for words, entities in spoken(120, 1):
        tags = encode([entity for entity in entities if entity.type in OLD], len(words))
        blocks.append("".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True)))
    (place / "train.txt").write_text("\n".join(blocks), encoding="utf-8")
    layers = [s for s in tiny_layers if not s.startswith(("store", "scenario.corpus.path", "optim.first"))]
    steps = f"scenario.protocol.steps=[{{types: [city, person], corpus: {{path: {place / 'train.txt'}}}}}]"
    more = ["scenario.protocol.name=steps", steps, f"store={place / 'store'}", "method.name=extend_ner"]
    run(RunConfig.load([*layers, *more, "optim.first.epochs=8", "optim.lr=0.02", "optim.head_lr=0.02"]), runs.silent)
    return place / "store"


@pytest.fixture(scope="module")
def gold() -> Gold:
    """Texts with the entities of all types; each text once, and food in every fifth."""
    texts = {}
    for number, (words, entities) in enumerate(spoken(400, 5)):
        if any(entity.type == "food" for entity in entities) and number % 5:
            continue
        starts = [sum(len(word) + 1 for word in words[:i]) for i in range(len(words) + 1)]
        texts[" ".join(words)] = [(starts[e.start], starts[e.end] - 1, e.type) for e in entities]
    return texts


@pytest.fixture(scope="module")
def pool(gold: Gold, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pool") / "pool.txt"
    path.write_text("\n".join(gold), encoding="utf-8")
    return path


def share_with(batch: raycner.AnnotationBatch, gold: Gold, kind: str) -> float:
    return float(np.mean([any(k == kind for _, _, k in gold[one.text]) for one in batch.sentences]))


def test_sentences_with_words_like_the_examples_come_first(store: Path, pool: Path, gold: Gold) -> None:
    batch = raycner.annotate("columns", pool, types=["food"], examples="soup,rye", top=10, store=store)
    assert len(batch) == 10 and batch.read == len(gold) and batch.examples > 0
    everything = raycner.annotate("columns", pool, types=["food"], top=10_000, store=store)
    assert len(everything) == len(gold)
    assert share_with(batch, gold, "food") > 1.5 * share_with(everything, gold, "food")
    scores = [one.score for one in batch.sentences]
    assert scores[0] == max(scores)
    assert batch.types == (*OLD, "food")


def test_old_types_are_suggested_and_examples_may_be_annotated(store: Path, pool: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.conll"
    few.write_text("She O\neats O\nrye B-food\n. O\n\nplum B-food\ncake I-food\n", encoding="utf-8")
    batch = raycner.annotate("columns", pool, types=["food"], examples=str(few), top=40, store=store)
    assert batch.examples == 2
    predictor = raycner.load_run("columns", store).predictor()
    for one in batch.sentences[:5]:
        assert [tuple(s) for s in one.suggestions] == [
            (e.start, e.end, e.type, pytest.approx(e.confidence)) for e in predictor.text(one.text)
        ]
    assert any(one.suggestions for one in batch.sentences)


def test_a_learned_type_needs_no_examples(store: Path, pool: Path, gold: Gold) -> None:
    batch = raycner.annotate("columns", pool, types=["city"], top=20, store=store)
    assert batch.types == OLD and 0 < batch.sentences[0].probability < 1
    assert share_with(batch, gold, "city") > 0.5


def test_value_is_largest_for_likely_and_uncertain_candidates() -> None:
    p = np.linspace(0.01, 0.99, 99)
    assert p[value(p).argmax()] == pytest.approx(2 / 3, abs=0.01)
    assert value(np.array([0.0, 1.0])) == pytest.approx([0.0, 1.0], abs=1e-9)


def test_a_probe_separates_what_can_be_separated() -> None:
    draw = np.random.default_rng(0)
    negatives, positives = draw.normal(size=(200, 8)), draw.normal(size=(5, 8)) + 4 * np.eye(8)[0]
    probe = Probe.between(positives, negatives)
    assert probe(positives.astype(np.float32)).min() > PRIOR
    assert np.mean(probe(negatives.astype(np.float32)) < PRIOR) > 0.9


def test_mentions_are_found_whatever_their_case() -> None:
    sought = {"plum": {("plum", "cake")}, "rye": {("rye",)}}
    assert mentions(("Plum", "cake", "or", "plum", "."), sought) == [True, True, False, False, False]


# ---- there and back


def corrected(tool: str, path: Path, gold: Gold) -> str:
    """What the tool exports after its texts were given these entities; the source that `extend` reads."""
    if tool == "labelstudio":
        tasks = json.loads(path.read_text("utf-8"))
        for task in tasks:
            (prediction,) = task["predictions"]
            text = task["data"]["text"]
            assert all(region["value"]["text"] in text for region in prediction["result"])
            values = [{"start": a, "end": b, "labels": [kind], "text": text[a:b]} for a, b, kind in gold[text]]
            task["annotations"] = [{"result": [{"type": "labels", "value": value} for value in values]}]
        path.write_text(json.dumps(tasks), encoding="utf-8")
    elif tool == "brat":
        for file in path.glob("*.txt"):
            text = file.read_text("utf-8")
            lines = [f"T{i}\t{k} {a} {b}\t{text[a:b]}\n" for i, (a, b, k) in enumerate(gold[text], 1)]
            file.with_suffix(".ann").write_text("".join(lines), encoding="utf-8")
    else:
        tasks = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for task in tasks:
            spans = gold[task["text"]]
            if tool == "prodigy":
                task["spans"] = [{"start": a, "end": b, "label": kind} for a, b, kind in spans]
                task["answer"] = "accept"
            elif tool == "doccano":
                task["label"] = [list(span) for span in spans]
            else:
                task["entities"] = [{"start": a, "end": b, "type": kind} for a, b, kind in spans]
        path.write_text("".join(json.dumps(task) + "\n" for task in tasks), encoding="utf-8")
    return TOOLS[tool].pattern.format(path=path)


def annotations(layout: str, source: str) -> Iterator[tuple[str, set[Entity]]]:
    notes: list[str] = []
    reader = LAYOUTS[layout](path=source)
    for row in reader.rows(reader.files(notes), notes):
        assert row.part == "train"
        yield " ".join(row.words), set(row.entities)


@pytest.mark.parametrize("tool", TOOLS)
def test_what_a_tool_exports_is_read_back(
    tool: str, store: Path, pool: Path, gold: Gold, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "train-not" / "batch.json")
    options = ["--types", "food", "--examples", "soup,rye", "--top", "60", "--format", tool, "--output", output]
    assert main(["annotate", "columns", str(pool), *options, "--store", str(store)]) == 0
    printed = capsys.readouterr().out
    assert "60 of" in printed and f"--corpus {TOOLS[tool].layout}" in printed
    if tool == "labelstudio":
        interface = ElementTree.parse(f"{output}.xml")
        assert [label.get("value") for label in interface.iter("Label")] == [*OLD, "food"]
        Path(f"{output}.xml").unlink()
    source = corrected(tool, Path(output), gold)
    rows = dict(annotations(TOOLS[tool].layout, source))
    assert len(rows) == 60
    assert sum(len(entities) for entities in rows.values()) == sum(len(gold[text]) for text in rows)
    for text, entities in rows.items():
        words = text.split()
        spelt = sorted((" ".join(words[e.start : e.end]), e.type) for e in entities)
        assert spelt == sorted((text[a:b], kind) for a, b, kind in gold[text])
    if tool in ("labelstudio", "brat"):
        extension = ["--types", "food", "--source", source, "--corpus", TOOLS[tool].layout, "optim.epochs=1"]
        assert main(["extend", "columns", *extension, "--store", str(store)]) == 0
        (longer,) = [one for one in raycner.Store(store).runs() if len(one.steps) == 2]
        assert longer.types == (*OLD, "food")
        longer.undo_extension()


def test_texts_with_line_ends_and_rare_characters(tmp_path: Path) -> None:
    text = "Ada\nsaw 😂 <Oslo> & “x”."
    start = text.index("Oslo")
    one = SuggestedText(text, (Suggestion(start, start + 4, "city", 0.5),), 1.0, "news:1")
    for tool, of_tool in TOOLS.items():
        of_tool.write([one], ["city"], tmp_path / tool)
        if tool != "labelstudio" and tool != "prodigy":
            rows = dict(annotations(of_tool.layout, of_tool.pattern.format(path=tmp_path / tool)))
            assert sorted(len(entities) for entities in rows.values()) == [0, 1]
    task = json.loads((tmp_path / "prodigy").read_text("utf-8"))
    (span,) = task["spans"]
    assert [token["text"] for token in task["tokens"]][span["token_start"] : span["token_end"] + 1] == ["Oslo"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--types", ""], "no type to annotate"),
        (["--examples", "zebra"], "none of these occurs in the texts"),
        (["--examples", "FEW"], "no entity of type 'drink' in it"),
        (["--output", "FULL", "--format", "brat"], "the folder is not empty"),
        (["--types", "a b", "--examples", "soup", "--format", "brat"], "has a space"),
    ],
)
def test_bad_input(
    more: list[str], expected: str, store: Path, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "few.conll").write_text("rye B-food\n", encoding="utf-8")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    named = {"FEW": str(tmp_path / "few.conll"), "FULL": str(tmp_path / "full")}
    given = [named.get(argument, argument) for argument in more]
    options = ["--types", "drink", "--output", str(tmp_path / "out"), *given]
    assert main(["annotate", "columns", str(pool), *options, "--store", str(store)]) == 2
    line = capsys.readouterr().err
    assert expected in line and line.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_another_tool_is_refused(store: Path, pool: Path, tmp_path: Path) -> None:
    batch = raycner.annotate("columns", pool, types=["city"], top=1, store=store)
    with pytest.raises(InputError, match="no format is called 'excel'"):
        batch.write(tmp_path / "x", "excel")
