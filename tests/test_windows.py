"""Windows: long sentences are read to their end, alike in training, scoring and prediction, and others cost nothing."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from raycner.cli.program import main
from raycner.config import RunConfig
from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.data.metrics import tally
from raycner.errors import InputError
from raycner.inference.evaluate import evaluate
from raycner.networks.batch import Batch
from raycner.networks.encoders import windows
from raycner.networks.encoders.pretrained import Pretrained
from raycner.networks.heads import HEADS as HEAD_KINDS
from raycner.networks.network import ModelConfig, Network
from raycner.orchestration.runner import run
from raycner.settings import build
from raycner.training.long_sentences import left_out_notes

REACH = 24
HEADS: dict[str, dict[str, Any]] = {
    "linear": {"name": "linear", "init_std": 0.5},
    "sequence": {"name": "cosine", "norm_axis": "sequence"},
    "seq2seq": {"name": "seq2seq"},
    "stepwise": {"name": "stepwise"},
    "spans": {"name": "spans"},
    "triplets": {"name": "triplets"},
}
LONG = ("Ada", "saw", "Oslo", ".") * 7
ENTITIES = frozenset(
    Entity(at, at + 1, kind) for start in range(0, 28, 4) for at, kind in ((start, "x"), (start + 2, "y"))
)


@settings(max_examples=200)
@given(
    lengths=st.lists(st.integers(0, 90), min_size=1, max_size=4),
    room=st.integers(1, 20),
    prefix=st.integers(0, 2),
    suffix=st.integers(0, 2),
)
def test_every_slot_is_taken_from_the_window_where_it_is_farthest_from_a_border(
    lengths: list[int], room: int, prefix: int, suffix: int
) -> None:
    frame = prefix + suffix
    sentences = [100 * (1 + i) + np.arange(length + frame) for i, length in enumerate(lengths)]
    rows, places = windows.cut(sentences, room + frame, prefix, suffix)
    assert max(map(len, rows)) <= room + frame
    table = pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True, padding_value=-1)
    stitched = windows.stitch(table, places)
    for ids, row, of_sentence in zip(sentences, stitched, places, strict=True):
        assert row[: len(ids)].tolist() == ids.tolist() and not row[len(ids) :].any()
        own = [(at, row.tolist()) for at, row in enumerate(rows) if set(row.tolist()) <= set(ids.tolist()) and len(row)]
        if 0 < len(ids) <= room + frame:
            assert [row for _, row in own] == [ids.tolist()]
        for slot in range(prefix, len(ids) - suffix):
            distances = {}
            for at, window in own:
                pieces = window[prefix : len(window) - suffix]
                if ids[slot] in pieces:
                    begin, end = slot - pieces.index(ids[slot]), slot + len(pieces) - pieces.index(ids[slot])
                    left = slot - begin if begin > prefix else 10**6
                    right = end - 1 - slot if end < len(ids) - suffix else 10**6
                    distances[at] = min(left, right)
            assert distances[int(of_sentence[slot]) // table.size(1)] == max(distances.values())


def network(path: str, head: dict[str, Any] | None = None, reach: int = REACH) -> Network:
    torch.manual_seed(0)
    encoder = {"name": "pretrained", "path": path, "max_length": reach}
    made = Network(build(ModelConfig, {"encoder": encoder, "head": head or HEADS["linear"]}))
    made.start_step(TypeInventory().grow(("x", "y")), [LONG])
    return made


def batch(made: Network, texts: Sequence[Sequence[str]], entities: frozenset[Entity] = frozenset()) -> Batch:
    sentences = [
        Sentence(i, tuple(words), frozenset(e for e in entities if e.end <= len(words)))
        for i, words in enumerate(texts)
    ]
    return made.collate(sentences, made.tokenize(texts), range(len(texts)))


def test_sentences_that_fit_are_read_as_ever(tiny_bert: str) -> None:
    wide, narrow = network(tiny_bert, reach=96), network(tiny_bert)
    short = [LONG[:4], LONG[:6]]
    assert "places" not in batch(narrow, short).inputs
    with wide.eval_mode(), narrow.eval_mode():
        one, two = wide.states(batch(wide, short)), narrow.states(batch(narrow, short))
    for name in ("words", "slots", "starts", "attend"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert all(map(torch.equal, one.layers, two.layers))


def test_states_are_those_of_the_windows(tiny_bert: str) -> None:
    made = network(tiny_bert)
    with made.eval_mode():
        states = made.states(batch(made, [LONG, LONG[:3]]))
        alone = made.states(batch(made, [LONG[:3]]))
        first = made.states(batch(made, [LONG[:6]]))
    assert torch.isfinite(states.words).all() and states.words[0].any(-1).all()
    assert not states.words[1, 3:].any() and not states.slots[1, 12:].any()
    torch.testing.assert_close(states.words[1, :3], alone.words[0], rtol=0, atol=1e-5)
    assert states.slots.shape == (2, 2 + sum(map(len, LONG)), 32) and states.attend is not None
    assert states.attend.sum(1).tolist() == [2 + sum(map(len, LONG)), 12]
    assert [layer.shape for layer in states.layers] == [states.slots.shape] * 3
    assert not torch.allclose(states.words[0, 0], first.words[0, 0], atol=1e-6), "the window is full"


def test_many_windows_are_encoded_in_parts(tiny_bert: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients() -> list[torch.Tensor]:
        made = network(tiny_bert).double()
        both = batch(made, [LONG, LONG[:9]], ENTITIES)
        made.head.loss(made(both), both).total.backward()
        return [p.grad for p in made.parameters() if p.grad is not None]

    at_once = gradients()
    monkeypatch.setattr(windows, "SLOTS_AT_A_TIME", 2 * REACH)
    for one, other in zip(at_once, gradients(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_learns_and_predicts_beyond_the_reach(head: str, tiny_bert: str) -> None:
    made = network(tiny_bert, HEADS[head])
    made.train()
    both = batch(made, [LONG, LONG[:4]], ENTITIES)
    optimizer = torch.optim.AdamW(made.parameters(), lr=0.01)
    for _ in range(60):
        loss = made.head.loss(made(both), both)
        (loss.total / loss.count).backward()
        assert all(p.grad is not None for p in made.parameters() if p.requires_grad)
        optimizer.step()
        optimizer.zero_grad()
    with made.eval_mode():
        long, short = made.predict(both)
    if head not in ("spans", "triplets"):  # these need more updates
        right = len(ENTITIES & long.keys())
        assert right > len(ENTITIES) / 2 and short.keys() == {e for e in ENTITIES if e.end <= 4}


def test_a_limit_without_room_for_a_word_is_refused(tiny_bert: str) -> None:
    assert network(tiny_bert, reach=3).encoder.max_length == 3
    path = {"name": "pretrained", "path": tiny_bert}
    config = build(ModelConfig, {"encoder": path}).encoder
    assert isinstance(config, Pretrained)
    object.__setattr__(config, "max_length", 2)
    with pytest.raises(InputError, match=r"2 pieces leave no room for a word .*; set 3 or more"):
        config.build(fresh=False)


def write(folder: Path) -> Path:
    """A corpus of documents without a blank line: one sentence a file, 2,000 words in test."""
    folder.mkdir()
    tags = {"Ada": "B-x", "Oslo": "B-y"}
    block = "".join(f"{word}\t{tags.get(word, 'O')}\n" for word in LONG[:4])
    for part, times, number in (("train", 9, 40), ("dev", 30, 1), ("test", 500, 1)):
        (folder / f"{part}.conll").write_text((block * times + "\n") * number)
    return folder


@pytest.mark.parametrize("head", ["linear", "spans"])
def test_run_evaluate_and_predict_read_alike(
    head: str, tiny_bert: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, store = write(tmp_path / "data"), str(tmp_path / "store")
    ledger = run(
        RunConfig.load(
            [
                f"store={store}",
                "scenario.corpus.name=columns",
                f"scenario.corpus.path={folder}",
                "scenario.protocol.first=2",
                f"model.head.name={head}",
                *(["model.head.max_width=3"] if head == "spans" else []),
                "model.encoder.name=pretrained",
                f"model.encoder.path={tiny_bert}",
                "optim={epochs: 8, lr: 0.005, head_lr: 0.01, batch_size: 8}",
            ]
        ),
        lambda _: None,
    )
    (record,) = ledger.records()
    counts = dict(record.test)
    assert all(tp + fn == 500 for tp, _, fn in counts.values()) and sum(tp for tp, _, _ in counts.values()) > 100
    for files, of_run in (((), True), ((folder / "test.conll",), False)):
        (sentence,) = evaluate(ledger.run, files, test=of_run, store=store, resamples=0).sentences
        assert dict(tally(sentence.gold, sentence.predicted, record.seen)) == counts
    assert record.notes == tuple(
        f"{part}: {sentences} sentences of more than 96 pieces are read in overlapping windows; "
        f"{words} words and {entities} entities lie beyond the first 96 pieces"
        for part, sentences, words, entities in (("train", 40, 40, 0), ("dev", 1, 85, 42), ("test", 1, 1965, 982))
    )
    capsys.readouterr()
    assert main(["predict", ledger.run, str(folder / "test.conll"), "--store", store]) == 0
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    predicted = {(e["start"], e["end"], e["type"]) for e in line["entities"]}
    gold = {(i, i + 1, kind) for i in range(2000) for kind in ("x", "y") if i % 4 == (0 if kind == "x" else 2)}
    right = {kind: sum(p in gold for p in predicted if p[2] == kind) for kind in ("x", "y")}
    assert right == {kind: tp for kind, (tp, _, _) in counts.items()}
    assert len(predicted) == sum(tp + fp for tp, fp, _ in counts.values())


@pytest.mark.parametrize(
    ("head", "note"),
    [
        (
            {"name": "spans", "max_width": 1},
            (2, "wider than 1 words"),
        ),
        (
            {"name": "triplets"},
            (9, "after the first 341 of a sentence"),
        ),
        ({"name": "spans"}, None),
        ({"name": "linear"}, None),
    ],
)
def test_entities_without_a_target_are_counted(head: dict[str, Any], note: tuple[int, str] | None) -> None:
    class Split:
        def sentences(self) -> list[Sentence]:
            many = [Entity(i, i + 1, "x") for i in range(350)]
            return [Sentence(0, ("w",) * 400, frozenset([*many[2:], Entity(0, 2, "x"), Entity(380, 385, "y")]))]

    made = HEAD_KINDS[head.pop("name")](**head).build(32)
    line = "train: {} entities are not learned, nor are such predicted: those {}"
    assert [*left_out_notes(cast(Any, Split()), made)] == ([line.format(*note)] if note else [])
