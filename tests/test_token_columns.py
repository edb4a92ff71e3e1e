"""Tokens in columns are the encoder's own, written once per node, and written again when they are damaged."""

import copy
import gc
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from raycner.data.corpora import Corpus, prepare
from raycner.data.entities import TypeInventory
from raycner.data.layouts import LAYOUTS
from raycner.data.scenarios.scenario import Split
from raycner.networks.encoders.bilstm import Bilstm
from raycner.networks.encoders.encoder import Tokens, Words
from raycner.networks.encoders.pretrained import Pretrained, Transformer
from raycner.networks.network import ModelConfig, Network
from raycner.storage.housekeeping import leftovers
from raycner.storage.store import ObjectStore
from raycner.training import token_columns
from raycner.training.loader import SplitLoader
from raycner.training.token_columns import FILE_NAME, MappedSplit, TokenizedWhenRead, distinct_ids, tokenize_split

ODD_SENTENCES = [["\u00a0", "Oslo"], ["\U0001f602\u200d", "é"], ["word"] * 60, ["x"]]
"""Words without a piece, letters that the tokenizer does not know, and a sentence that is too long."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This node's cache folder."""
    monkeypatch.setenv("RAYCNER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, tiny_source: str) -> Corpus:
    """The tiny corpus with odd sentences at its end."""
    folder = tmp_path_factory.mktemp("odd")
    for part in ("train", "dev", "test"):
        odd = "".join("\n" + "".join(f"{word}\tO\n" for word in words) for words in ODD_SENTENCES)
        text = Path(tiny_source, f"{part}.txt").read_text(encoding="utf-8").replace(" ", "\t")
        (folder / f"{part}.txt").write_text(text + odd, encoding="utf-8")
    store = ObjectStore(str(tmp_path_factory.mktemp("store")))
    return prepare(LAYOUTS["columns"](path=str(folder)), store, lambda _: None)


@pytest.fixture
def split(corpus: Corpus) -> Split:
    """Some sentences of the training part in an order of their own, the odd ones among them."""
    rows = np.random.RandomState(0).permutation(len(corpus["train"]))
    return Split(corpus, "train", np.concatenate([rows[:20], np.arange(len(rows) - 4, len(rows))]), frozenset({"city"}))


@pytest.fixture
def encoder(tiny_bert: str) -> Transformer:
    return Pretrained(path=tiny_bert).build(fresh=True)


def words_of(split: Split) -> list[tuple[str, ...]]:
    return [sentence.words for sentence in split.sentences()]


def assert_equal(some: Sequence[Tokens], others: Sequence[Tokens]) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert one.ids.dtype == one.starts.dtype == np.int64
        assert one.ids.tolist() == other.ids.tolist()
        assert one.starts.tolist() == other.starts.tolist()
        assert one.words == other.words


def fail(_: Sequence[Words]) -> list[Tokens]:
    raise AssertionError("tokenised again")


@pytest.mark.parametrize("chunk_rows", [7, 10_000])
def test_tokens_in_columns_are_the_encoders(
    chunk_rows: int, split: Split, encoder: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_columns, "CHUNK_ROWS", chunk_rows)
    tokens = encoder.tokenize(words_of(split))
    tokenized = tokenize_split(split, encoder)
    assert isinstance(tokenized, MappedSplit)
    assert tokenized.lengths.tolist() == [len(t) for t in tokens]
    assert tokenized.lengths.dtype == np.int64
    assert_equal(tokenized.read(range(len(split))), tokens)
    assert_equal(tokenized.read([3, 0, 3]), [tokens[3], tokens[0], tokens[3]])
    ids = distinct_ids(split, encoder)
    assert ids is not None
    assert ids.tolist() == sorted({int(i) for t in tokens for i in t.ids})


def test_an_encoder_whose_vocabulary_grows_tokenizes_when_a_batch_is_read(split: Split, cache: Path) -> None:
    encoder = Bilstm(min_count=1).build(fresh=True)
    encoder.adapt(words_of(split)[:10])
    tokenized = tokenize_split(split, encoder)
    tokens = encoder.tokenize(words_of(split))
    assert isinstance(tokenized, TokenizedWhenRead)
    assert tokenized.lengths.tolist() == [len(t) for t in tokens]
    assert_equal(tokenized.read([5, 1]), [tokens[5], tokens[1]])
    assert distinct_ids(split, encoder) is None
    assert not cache.exists()


def test_batches_are_the_same_with_and_without_columns(
    split: Split, tiny_bert: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = Network(ModelConfig(encoder=Pretrained(path=tiny_bert)))
    network.start_step(TypeInventory().grow(("city",)), words_of(split))
    mapped = SplitLoader(split, network)
    with monkeypatch.context() as patch:
        patch.setattr(Transformer, "tokenizer_digest", lambda _: None)
        plain = SplitLoader(split, network)
    assert (type(mapped.tokens), type(plain.tokens)) == (MappedSplit, TokenizedWhenRead)
    assert mapped.lengths.tolist() == plain.lengths.tolist()
    assert mapped.words.tolist() == plain.words.tolist() == [len(words) for words in words_of(split)]
    one, other = mapped.batch([7, 2, 23]), plain.batch([7, 2, 23])
    assert torch.equal(one.targets, other.targets)
    for name, tensor in one.inputs.items():
        assert torch.equal(tensor, other.inputs[name]), name


def test_distinct_ids_choose_the_rows_that_the_sentences_choose(split: Split, encoder: Transformer) -> None:
    other = copy.deepcopy(encoder)
    encoder.adapt(words_of(split))
    other.adapt([], distinct_ids(split, other))
    chosen, expected = (e.model.get_input_embeddings().touched for e in (other, encoder))
    assert chosen.tolist() == expected.tolist()


# ---- once per node


def test_a_part_is_tokenised_once(split: Split, encoder: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tokenize_split(split, encoder).read([0, 1])
    gc.collect()
    monkeypatch.setattr(encoder, "tokenize", fail)
    again = replace(split, rows=split.rows[::-1].copy(), visible=frozenset())
    assert_equal(tokenize_split(again, copy.deepcopy(encoder)).read([len(split) - 1, len(split) - 2]), first)
    with pytest.raises(AssertionError, match="tokenised again"):
        tokenize_split(replace(split, part="dev", rows=np.arange(3)), encoder)


def test_a_tokenizer_is_identified_by_its_output(tiny_bert: str, encoder: Transformer) -> None:
    same, shorter = (Pretrained(path=tiny_bert, max_length=length).build(fresh=False) for length in (512, 20))
    assert same.tokenizer_digest() == encoder.tokenizer_digest()
    same.tokenize([["Oslo", "Bo"]])
    assert copy.deepcopy(same).tokenizer_digest() == encoder.tokenizer_digest()
    assert shorter.tokenizer_digest() == encoder.tokenizer_digest(), "windows are cut after tokens are read"
    larger = Pretrained(path=tiny_bert).build(fresh=False)
    larger.tokenizer.add_tokens(["Oslo"])
    assert larger.tokenizer_digest() != encoder.tokenizer_digest()


@pytest.mark.parametrize("damage", ["cut", "changed", "removed", "never finished"])
def test_damaged_columns_are_written_again(damage: str, split: Split, encoder: Transformer, cache: Path) -> None:
    expected = tokenize_split(split, encoder).read(range(len(split)))
    gc.collect()
    (file,) = cache.glob(f"tokens-*/{FILE_NAME}")
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        file.write_bytes(content[:-100] + bytes(100))
    elif damage == "removed":
        file.unlink()
    else:
        file.with_name("MANIFEST").unlink()
    assert_equal(tokenize_split(split, encoder).read(range(len(split))), expected)
    assert file.read_bytes() == content


def test_a_cache_that_cannot_be_written_is_done_without(
    split: Split,
    encoder: Transformer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAYCNER_CACHE", str(tmp_path / "file" / "cache"))
    with caplog.at_level(logging.WARNING):
        tokenized = tokenize_split(split, encoder)
    assert "RAYCNER_CACHE" in caplog.text
    assert_equal(tokenized.read([1]), encoder.tokenize(words_of(split)[1:2]))


def test_unused_columns_are_evicted(split: Split, encoder: Transformer, cache: Path, tmp_path: Path) -> None:
    tokenize_split(split, encoder)
    store = ObjectStore(str(tmp_path / "store"))
    assert leftovers(store) == []
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    os.utime(folder, (time.time() - 31 * 24 * 3600,) * 2)
    (leftover,) = leftovers(store)
    leftover.remove()
    assert list(cache.iterdir()) == []


def test_datasets_opens_the_columns(split: Split, encoder: Transformer, cache: Path) -> None:
    from datasets import Dataset

    tokenize_split(split, encoder)
    (file,) = cache.glob(f"tokens-*/{FILE_NAME}")
    (tokens,) = encoder.tokenize(words_of(split)[:1])
    row = Dataset.from_file(str(file))[int(split.rows[0])]
    assert row == {"ids": tokens.ids.tolist(), "starts": tokens.starts.tolist()}
