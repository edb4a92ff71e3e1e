"""From a tagger of transformers alone to a served step with one more type, and back: as docs/your_model.md shows it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import raycner
from fixtures_tiny import spoken
from raycner.data.entities import Entity, encode

OLD = ("animal", "city", "person")


def tagger(
    folder: Path,
    tiny_bert: str,
    epochs: int = 16,
    sentences: Sequence[tuple[list[str], list[Entity]]] = (),
    types: Sequence[str] = OLD,
) -> Path:
    """A token classifier for the old types, trained with transformers and torch alone."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    rows = ["O", *(f"{prefix}-{kind}" for kind in types for prefix in ("B", "I"))]
    names = {"id2label": dict(enumerate(rows)), "label2id": {label: row for row, label in enumerate(rows)}}
    model = AutoModelForTokenClassification.from_pretrained(tiny_bert, **names)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    sentences = sentences or spoken(240, 1)
    for _ in range(epochs):
        for start in range(0, len(sentences), 16):
            words, entities = zip(*sentences[start : start + 16], strict=True)
            batch = tokenizer(list(words), is_split_into_words=True, padding=True, return_tensors="pt")
            labels = [_labels(batch.word_ids(i), entities[i], len(words[i]), rows) for i in range(len(words))]
            loss = model(**batch, labels=torch.tensor(labels)).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _labels(word_ids: list[int | None], entities: list[Entity], length: int, rows: Sequence[str]) -> list[int]:
    """The label of each piece: of the first one of a word, else -100."""
    tags = encode([entity for entity in entities if f"B-{entity.type}" in rows], length)
    first = [word is not None and word not in word_ids[:i] for i, word in enumerate(word_ids)]
    return [rows.index(tags[w]) if ok and w is not None else -100 for w, ok in zip(word_ids, first, strict=True)]


def write(file: Path, sentences: Sequence[tuple[list[str], list[Entity]]], types: tuple[str, ...]) -> Path:
    """Sentences in which only these types are annotated."""
    file.parent.mkdir(exist_ok=True, parents=True)
    blocks = []
    for words, entities in sentences:
        tags = encode([e for e in entities if e.type in types], len(words))
        blocks.append("".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True)))
    file.write_text("\n".join(blocks), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def place(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tagger, sentences that annotate the new type alone, and test sentences with all."""
    folder = tmp_path_factory.mktemp("way")
    tagger(folder / "my_classifier", tiny_bert)
    for seed, (part, number) in enumerate({"train": 120, "dev": 30, "test": 30}.items()):
        write(folder / "reviews" / f"{part}.conll", spoken(number, 20 + seed), ("food",))
    write(folder / "test.conll", spoken(400, 30), (*OLD, "food"))
    return folder


def test_the_whole_way(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, test = place / "store", place / "test.conll"
    base, agreement = raycner.adopt(place / "my_classifier", "base", store=store, test=[test], sentences=500)
    assert agreement is not None and agreement.differences == () and agreement.entities > 240
    made, others = raycner.adopt(place / "my_classifier", "made", store=store, sentences=500)
    assert others is not None and others.sentences == 500 and others.differences == () and made.types == base.types
    before = raycner.evaluate("base", test, store=store, progress=False).data["micro"]["f1"]
    assert before > 0.8, "the tagger has learned its types"

    rates = {"optim.epochs": 16, "optim.batch_size": 8, "optim.lr": 3e-3, "optim.head_lr": 3e-3}
    longer = base.extend(["food"], place / "reviews", rates, progress=False)
    forgetful = base.extend(["food"], place / "reviews", {"method.name": "finetuning", **rates}, progress=False)
    scores = raycner.evaluate(longer.name, test, store=store, progress=False).data["types"]
    assert scores["food"]["f1"] > 0.3, "the new type is learned"

    raycner.promote("base", "production", store=store)
    judged = raycner.gate(forgetful.name, test, against="production", may_lose=5.0, store=store)
    assert not judged.passes and all(one.verdict == "lost" for one in judged.report.types)
    with pytest.raises(raycner.InputError, match="does not pass"):
        raycner.promote(forgetful.name, "production", gate=judged, store=store)

    allowed = {"may_lose": 20.0, "allow_unseen": True}
    judged = raycner.gate(longer.name, test, against="production", store=store, **allowed)
    assert judged.passes, judged.data
    raycner.promote(longer.name, "production", gate=judged, why="food", store=store)
    _served(store, shadow=("candidate", forgetful.name))
    assert raycner.rollback("production", why="a drill", store=store).address == "base:1"
    actions = [record.action for record in raycner.history("production", store=store).records]
    assert actions == ["promote", "promote", "rollback"]
    assert "gained" not in capsys.readouterr().err


def _served(store: Path, shadow: tuple[str, str]) -> None:
    """The promoted step answers, and its shadow is compared."""
    pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
    from fastapi.testclient import TestClient

    from raycner.serving.service import AnswerService, Question, ServeConfig
    from raycner.serving.web import web_app

    alias, step = shadow
    raycner.promote(step, alias, store=store)
    service = AnswerService(ServeConfig(alias="production", store=str(store), shadow=alias))
    text = "Ada gave the otter some soup in Oslo ."
    http: Any = TestClient(web_app(lambda: service))
    (answer,) = http.post("/predict", json={"text": text}).json()["answers"]
    expected = raycner.Predictor.of("production", str(store)).text(text)
    assert [(e["start"], e["end"], e["type"]) for e in answer["entities"]] == [
        (e.start, e.end, e.type) for e in expected
    ]
    assert expected
    service.compare_with_shadow([text], service.answer([Question(text, service.live)]))
    assert "raycner_shadow_entities_total" in http.get("/metrics").text
