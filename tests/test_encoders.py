"""Encoders: one state per word whatever the words are, blind to padding, and cheap embeddings that equal full ones."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.errors import InputError
from raycner.networks.batch import Batch
from raycner.networks.encoders.bilstm import Bilstm
from raycner.networks.encoders.encoder import EncoderConfig, pick
from raycner.networks.encoders.pretrained import Pretrained, TouchedEmbedding
from raycner.networks.heads.cosine import Cosine
from raycner.networks.heads.linear import Linear
from raycner.networks.network import ModelConfig, Network

SENTENCES = [
    ["Ada", "gave", "the", "red", "fox", "some", "plum", "cake"],
    ["Nobody", "in", "New", "Rome"],
    ["It"],
    ["Oslo", "is", "far", "from", "Jordan", ",", "said", "Bo", "Finch", "."],
]
ODD = ["\u00a0", "\u200b", "\u2028", "a\u3000b", "😀", "e\u0301", "\t", "\u202e", "ﷺ", "x" * 40, "-", "漢字", "\ufeff"]
ONE = TypeInventory().grow(("animal",))


def network(
    encoder: EncoderConfig, head: Any = None, sentences: Sequence[Sequence[str]] = SENTENCES, seed: int = 0
) -> Network:
    torch.manual_seed(seed)
    made = Network(ModelConfig(encoder=encoder, head=head or Linear(init_std=0.5)))
    made.start_step(ONE, sentences)
    return made.double()


def batch(made: Network, texts: Sequence[Sequence[str]]) -> Batch:
    sentences = [Sentence(i, tuple(words), frozenset({Entity(0, 1, "animal")})) for i, words in enumerate(texts)]
    return made.collate(sentences, made.tokenize(texts), range(len(texts)))


def words_of(made: Network, sentences: Sequence[Sequence[str]]) -> Tensor:
    with made.eval_mode():
        return made.states(batch(made, sentences)).words


@pytest.fixture(params=["bilstm", "pretrained"])
def encoder(request: pytest.FixtureRequest, tiny_bert: str) -> EncoderConfig:
    if request.param == "bilstm":
        return Bilstm(word_width=6, char_width=4, width=5, min_count=1)
    return Pretrained(path=tiny_bert)


def test_each_word_is_represented_by_its_first_piece(tiny_bert: str) -> None:
    made = network(Pretrained(path=tiny_bert))
    tokens = made.tokenize(SENTENCES)
    for words, encoded in zip(SENTENCES, tokens, strict=True):
        whole = made.encoder.tokenizer(words, is_split_into_words=True)
        assert encoded.ids.tolist() == whole["input_ids"]
        places = whole.word_ids()
        assert encoded.starts.tolist() == [places.index(word) for word in range(len(words))]
        assert len(encoded) == len(whole["input_ids"])
    together = batch(made, SENTENCES)
    with made.eval_mode():
        states = made.states(together)
    assert states.words.shape == (4, 10, 32)
    torch.testing.assert_close(states.words[0, 1], states.slots[0, 4], rtol=0, atol=0)  # [CLS] A d a g
    assert not states.words[1, 4:].any(), "where there is no word there is no state"


@pytest.mark.encoder
def test_the_real_encoder_reads_as_its_tokenizer_does(minilm: str) -> None:
    made = network(Pretrained(path=minilm))
    sentences = [["Unaffable", "axolotls", "re-elected", "Jean-Luc", "😀", "\u00a0", "."], *SENTENCES]
    for words, tokens in zip(sentences[1:], made.tokenize(sentences)[1:], strict=True):
        whole = made.encoder.tokenizer(words, is_split_into_words=True)
        assert tokens.ids.tolist() == whole["input_ids"]
        assert tokens.starts.tolist() == [whole.word_ids().index(word) for word in range(len(words))]
    together = words_of(made, sentences)
    for row, words in enumerate(sentences):
        alone = words_of(made, [words])[0]
        torch.testing.assert_close(together[row, : len(words)], alone, rtol=0, atol=1e-5)
    assert torch.isfinite(together).all()


def test_padding_never_matters(encoder: EncoderConfig) -> None:
    made = network(encoder)
    together = words_of(made, SENTENCES)
    for row, words in enumerate(SENTENCES):
        alone = words_of(made, [words])[0]
        torch.testing.assert_close(together[row, : len(words)], alone, rtol=0, atol=1e-9)
        assert not together[row, len(words) :].any()
    with made.eval_mode():
        expected = [made.predict(batch(made, [words]))[0].keys() for words in SENTENCES]
        assert [entities.keys() for entities in made.predict(batch(made, SENTENCES))] == expected


def test_padding_never_matters_to_gradients(encoder: EncoderConfig) -> None:
    def gradients(batches: Sequence[Sequence[Sequence[str]]]) -> dict[str, Tensor]:
        made = network(encoder)
        for sentences in batches:
            together = batch(made, sentences)
            made.head.loss(made(together), together).total.backward()
        return {name: parameter.grad for name, parameter in made.named_parameters() if parameter.grad is not None}

    together, apart = gradients([SENTENCES]), gradients([[words] for words in SENTENCES])
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, apart[name], rtol=0, atol=1e-9, msg=name)


def test_odd_words_have_distinct_states(encoder: EncoderConfig) -> None:
    made = network(encoder)
    states = words_of(made, [ODD, ["a"]])
    assert states.shape[:2] == (2, len(ODD))
    assert torch.isfinite(states).all()
    assert states[0].any(-1).all()
    assert batch(made, [ODD, ["a"]]).mask.sum() == len(ODD) + 1
    (tokens,) = made.tokenize([ODD])
    assert (np.diff(tokens.starts) > 0).all()
    assert len({tuple(state.tolist()) for state in states[0]}) == len(ODD)


@settings(max_examples=25)
@given(sentences=st.lists(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=5), min_size=1, max_size=3))
def test_any_words_are_read(sentences: list[list[str]], tiny_bert: str) -> None:
    for config in (Bilstm(word_width=3, char_width=2, width=2, min_count=1), Pretrained(path=tiny_bert)):
        made = MADE.setdefault(config.name, network(config))
        together = batch(made, sentences)
        assert together.mask.sum() == sum(map(len, sentences))
        assert torch.isfinite(words_of(made, sentences)).all()


MADE: dict[str, Network] = {}


def test_no_row_is_longer_than_the_encoder_can_read(tiny_bert: str, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    AutoModel.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    boundless = AutoTokenizer.from_pretrained(tiny_bert)
    boundless.model_max_length = int(1e30)
    boundless.save_pretrained(tmp_path)
    for path in (tiny_bert, tmp_path):
        made = network(Pretrained(path=str(path)))
        assert made.encoder.collate(made.tokenize([["word"] * 60]))["ids"].shape == (4, 96)
        assert torch.isfinite(words_of(made, [["word"] * 60])).all()


LATER = [["A", "quiet", "owl"], ["Bo", "slept"]]


def trained(embeddings: Any, tiny_bert: str, head: Any = None) -> Network:
    """Two steps of a few AdamW updates each."""
    made = network(Pretrained(path=tiny_bert, embeddings=embeddings), head)
    for sentences in (SENTENCES, LATER):
        if sentences is LATER:
            made.finalize()
            torch.manual_seed(1)
            made.start_step(made.inventory.grow(("food",)), sentences)
        made.train()
        optimizer = torch.optim.AdamW(made.parameters(), lr=0.01, weight_decay=0.0)
        for update in range(4):
            together = batch(made, sentences[update % 2 :])
            made.head.loss(made(together), together).total.backward()
            optimizer.step()
            optimizer.zero_grad()
    return made


@pytest.mark.parametrize("head", [Linear(init_std=0.5), Cosine(norm_axis="sequence")], ids=["linear", "sequence"])
def test_touched_embeddings_are_full_embeddings(tiny_bert: str, head: Any) -> None:
    touched, full = (trained(embeddings, tiny_bert, head) for embeddings in ("touched", "full"))
    fewer = sum(parameter.numel() for parameter in touched.parameters())
    assert fewer < sum(parameter.numel() for parameter in full.parameters())
    torch.testing.assert_close(
        words_of(touched, [*SENTENCES, ODD]), words_of(full, [*SENTENCES, ODD]), rtol=0, atol=1e-9
    )
    touched.finalize()
    full.finalize()
    assert touched.state_dict().keys() == full.state_dict().keys()
    for name, weight in full.state_dict().items():
        torch.testing.assert_close(touched.state_dict()[name], weight, rtol=0, atol=1e-9, msg=name)
    fresh = network(Pretrained(path=tiny_bert, embeddings="full")).state_dict()
    table = "encoder.model.embeddings.word_embeddings.weight"
    moved = (touched.state_dict()[table] != fresh[table]).any(-1)
    occurring = {
        int(i) for tokens in full.tokenize([*SENTENCES, *LATER]) for i in tokens.ids
    }  # padding is not among them
    assert set(moved.nonzero()[:, 0].tolist()) == occurring


def test_frozen_embeddings_stay(tiny_bert: str) -> None:
    table = "encoder.model.embeddings.word_embeddings.weight"
    before = network(Pretrained(path=tiny_bert, embeddings="frozen")).state_dict()[table].clone()
    after = trained("frozen", tiny_bert)
    torch.testing.assert_close(after.state_dict()[table], before, rtol=0, atol=0)
    assert table not in {name for name, parameter in after.named_parameters() if parameter.requires_grad}


def test_a_settled_encoder_is_plain_again(tiny_bert: str) -> None:
    made = network(Pretrained(path=tiny_bert))
    assert isinstance(made.encoder.model.get_input_embeddings(), TouchedEmbedding)
    made.finalize()
    plainly = Network(ModelConfig(encoder=Pretrained(path=tiny_bert))).double().encoder.state_dict()
    assert made.encoder.state_dict().keys() == plainly.keys()
    for name, weight in plainly.items():
        torch.testing.assert_close(made.encoder.state_dict()[name], weight, rtol=0, atol=0)
    made.finalize()
    assert made.encoder.state_dict().keys() == plainly.keys(), "twice is once"


def test_a_checkpoint_restores_the_network(encoder: EncoderConfig) -> None:
    made = network(encoder)
    made.finalize()
    again = Network.restore(made.config, made.inventory, made.encoder.memory(), made.state_dict()).double()
    again.load_state_dict(made.state_dict())  # in double
    torch.testing.assert_close(words_of(again, [*SENTENCES, ODD]), words_of(made, [*SENTENCES, ODD]), rtol=0, atol=0)
    assert again.inventory == ONE


def test_nothing_drops_out_unless_asked_to(tiny_bert: str) -> None:
    for config in (Pretrained(path=tiny_bert), Bilstm(width=4)):
        made = network(config).train()
        one, two = (made(batch(made, SENTENCES)).logits for _ in range(2))
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    dropping = (Pretrained(path=tiny_bert, dropout=0.5), Pretrained(path=tiny_bert, output_dropout=0.5))
    for config in (*dropping, Bilstm(width=4, dropout=0.5)):
        made = network(config).train()
        assert not torch.equal(made(batch(made, SENTENCES)).logits, made(batch(made, SENTENCES)).logits)
        torch.testing.assert_close(words_of(made, SENTENCES), words_of(made, SENTENCES), rtol=0, atol=0)


def test_output_dropout_acts_on_the_states_that_the_head_reads_and_on_no_layer(tiny_bert: str) -> None:
    made = network(Pretrained(path=tiny_bert, output_dropout=0.5)).train()
    states = made.states(batch(made, SENTENCES))
    dropped = states.words == 0
    torch.testing.assert_close(states.words[~dropped], 2 * pick(states.layers[-1], states.starts)[~dropped])
    assert 0.3 < dropped[states.starts >= 0].double().mean() < 0.7


def bilstm(**settings: Any) -> Bilstm:
    return Bilstm(**{"word_width": 6, "char_width": 4, "width": 5, "min_count": 1, **settings})


def test_the_vocabulary_only_grows() -> None:
    made = network(bilstm())
    encoder: Any = made.encoder
    words, chars, rows = dict(encoder.word_ids), dict(encoder.char_ids), encoder.words.weight.detach().clone()
    before = words_of(made, SENTENCES)
    made.start_step(made.inventory.grow(("food",)), [["Zebras", "eat", "Ada"]])
    assert words.items() <= encoder.word_ids.items()
    assert chars.items() <= encoder.char_ids.items()
    assert encoder.word_ids.keys() - words.keys() == {"Zebras", "eat"}
    assert sorted(encoder.word_ids.values()) == list(range(1, len(encoder.words.weight)))
    torch.testing.assert_close(encoder.words.weight[: len(rows)].detach(), rows, rtol=0, atol=0)
    torch.testing.assert_close(words_of(made, SENTENCES), before, rtol=0, atol=0)
    assert encoder.words.weight.dtype == torch.float64
    assert not encoder.words.weight[-1].eq(0).all()


def test_rare_words_are_unknown_but_their_characters_are_encoded() -> None:
    made = network(bilstm(min_count=2), sentences=[["Ada", "Ada", "Bo", "Cy"]])
    tokens = made.tokenize([["Ada", "Bo", "Cy"]])[0]
    assert tokens.ids.tolist() == [1, 0, 0]
    states = words_of(made, [["Bo"], ["Cy"]])
    assert not torch.allclose(states[0], states[1])


def test_digits_are_read_as_one_digit() -> None:
    made = network(bilstm(), sentences=[["in", "1990"]])
    torch.testing.assert_close(words_of(made, [["in", "1990"]]), words_of(made, [["in", "2024"]]), rtol=0, atol=0)


def test_a_teacher_reads_its_students_batch() -> None:
    teacher = network(bilstm())
    student = copy.deepcopy(teacher)
    student.start_step(student.inventory.grow(("food",)), [["Zebras", "ζ", "Ada"]])
    sentences = [["Zebras", "met", "Ada", "ζ"], ["Bo"]]
    with teacher.eval_mode():
        theirs = teacher.states(batch(student, sentences)).words
    torch.testing.assert_close(theirs, words_of(teacher, sentences), rtol=0, atol=0)


def test_word_vectors_are_read_cased_then_lower_cased(tmp_path: Path) -> None:
    glove = tmp_path / "glove.txt"
    lines = ["the 1 2 3", "Oslo 4 5 6", "oslo 7 8 9", "paris 1e-1 -2 3", ". . . 9 9 9", ". 5 5 5", "0000 6 6 6"]
    glove.write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = bilstm(word_width=3, vectors=str(glove))
    made: Any = network(config, sentences=[["Oslo", "Paris", "Xyz", "The", ".", "1990"]]).encoder
    rows = {word: made.words.weight[i].tolist() for word, i in made.word_ids.items()}
    assert rows["Oslo"] == [4, 5, 6]
    assert rows["Paris"] == pytest.approx([0.1, -2, 3])
    assert rows["The"] == [1, 2, 3]
    assert rows["0000"] == [6, 6, 6]
    assert rows["."] == [5, 5, 5], "a vector may belong to words with a space between them"
    assert max(map(abs, rows["Xyz"])) <= 0.25
    assert made.words.weight.requires_grad
    made.words.weight.data[made.word_ids["Oslo"]] = 0.0
    made.adapt([["Oslo", "the"]])
    assert made.words.weight[made.word_ids["Oslo"]].tolist() == [0, 0, 0], "what is trained is not read again"
    assert made.words.weight[made.word_ids["the"]].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"the 1 2\n", "glove.txt:1 has 2 numbers after the word; set model.encoder.word_width=2"),
        (b"a 1 2 3\nthe 1 2 3 4\n", "glove.txt:2 has 4 numbers after the word; set model.encoder.word_width=4"),
        (b"the 1 x 3\n", "model.encoder.vectors: cannot read word vectors"),
        (b"the 1 \xff 3\n", "model.encoder.vectors: cannot read word vectors"),
        (None, "model.encoder.vectors: cannot read word vectors"),
    ],
)
def test_invalid_word_vector_files_are_rejected(tmp_path: Path, content: bytes | None, line: str) -> None:
    glove = tmp_path / "glove.txt"
    if content is not None:
        glove.write_bytes(content)
    with pytest.raises(InputError) as error:
        network(bilstm(word_width=3, vectors=str(glove)), sentences=[["The", "the"]])
    assert line in str(error.value)


def test_a_missing_file_of_word_vectors_is_rejected_when_planning() -> None:
    with pytest.raises(InputError, match=r"model\.encoder\.vectors"):
        bilstm(vectors="no/such/file.txt").identity()


@pytest.mark.parametrize("made", ["empty", "missing", "odd"])
def test_invalid_encoders_are_rejected(tmp_path: Path, made: str) -> None:
    folder = tmp_path / made
    if made != "missing":
        folder.mkdir()
    if made == "odd":
        (folder / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError) as error:
        Pretrained(path=str(folder)).build(fresh=True)
    assert str(error.value).startswith(f"model.encoder.path: no encoder at '{folder}'")
    assert "name a folder with config.json" in str(error.value)


def test_tokens_are_arrays(encoder: EncoderConfig) -> None:
    for tokens in network(encoder).tokenize(SENTENCES):
        assert tokens.ids.dtype == tokens.starts.dtype == np.int64
