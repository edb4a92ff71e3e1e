"""Checkpoints of several families: words read as inside a text, positions kept, and bad ones refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from raycner.errors import InputError
from raycner.networks.encoders.pretrained import Pretrained, Transformer

TEXT = ["Anna visits Lake Como and Rome", "Bob saw the big ship in Oslo", "the company Acme sells red shoes"] * 50
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
OTHERS = {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
WORDS = ["Bob", "visits", "Rome"]


def byte_level(pre_tokenizer: Any = None, normalizer: Any = None, **options: Any) -> PreTrainedTokenizerFast:
    """A tokenizer of RoBERTa's kind, in the generic class, which ignores `add_prefix_space`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.pre_tokenizer = pre_tokenizer or tokenizer.pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    template = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.post_processor = template
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL, **OTHERS, **options)


def saved(folder: Path, model: Any, tokenizer: PreTrainedTokenizerFast) -> str:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def roberta(rows: int, positions: int = 130, padding: int = 1) -> Any:
    shape = {"max_position_embeddings": positions, "pad_token_id": padding, "type_vocab_size": 1, **SHAPE}
    return transformers.RobertaModel(transformers.RobertaConfig(vocab_size=rows, **shape))


def modern_bert(rows: int) -> Any:
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
    shape = {"global_attn_every_n_layers": 2, "local_attention": 16, "max_position_embeddings": 8192, **SHAPE}
    return transformers.ModernBertModel(transformers.ModernBertConfig(vocab_size=rows, **ids, **shape))


def pieces(encoder: Transformer, words: list[str]) -> list[str]:
    (tokens,) = encoder.tokenize([words])
    return list(encoder.tokenizer.convert_ids_to_tokens(tokens.ids.tolist()))


def build(path: str, **settings: Any) -> Transformer:
    return Pretrained(path=path, **settings).build(fresh=True)


@pytest.mark.parametrize("model", [modern_bert, roberta])
@pytest.mark.parametrize(
    "tokenizer",
    [
        byte_level,
        lambda: byte_level(normalizer=normalizers.NFC()),
        lambda: byte_level(
            pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(" ?[^ ]+"), "isolated"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            )
        ),
    ],
    ids=["plain", "normalised", "split"],
)
def test_byte_level_tokenizers_read_words_after_a_space(
    model: Callable[[int], Any], tokenizer: Callable[[], PreTrainedTokenizerFast], tmp_path: Path
) -> None:
    made = tokenizer()
    encoder = build(saved(tmp_path, model(len(made)), made))
    expected = made.convert_ids_to_tokens(made(" Bob visits Rome")["input_ids"])
    assert pieces(encoder, WORDS) == expected
    assert "\u0120visits" in expected
    encoder.save_frame(tmp_path / "frame")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "frame")
    assert again.convert_ids_to_tokens(again("Bob visits Rome")["input_ids"]) == expected


def test_a_tokenizer_that_cannot_read_words_after_a_space_is_rejected(tmp_path: Path) -> None:
    made = byte_level(normalizer=normalizers.Strip())
    made.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex("^ "), "removed"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    with pytest.raises(InputError, match="reads a word by itself otherwise than inside a text"):
        build(saved(tmp_path, modern_bert(len(made)), made))


@pytest.mark.parametrize("padding", [1, 3])
def test_positions_begin_after_padding(padding: int, tmp_path: Path) -> None:
    made = byte_level()
    encoder = build(saved(tmp_path, roberta(len(made), padding=padding), made)).eval()
    assert encoder.max_length == 130 - padding - 1
    (tokens,) = encoder.tokenize([["ship"] * 300])
    assert len(tokens.ids) > encoder.max_length
    with torch.no_grad():
        assert torch.isfinite(encoder(encoder.collate([tokens])).words).all()


@pytest.mark.parametrize(
    ("kind", "settings", "reach"),
    [
        ("Bart", {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "max_position_embeddings": 64}, 64),
        ("MPNet", {"max_position_embeddings": 66, **SHAPE}, 64),
        ("Longformer", {"max_position_embeddings": 66, "attention_window": 16, "pad_token_id": 1, **SHAPE}, 64),
        ("Bert", {"max_position_embeddings": 64, **SHAPE}, 64),
        ("Electra", {"max_position_embeddings": 64, "embedding_size": 16, **SHAPE}, 64),
    ],
)
def test_every_family_reads_as_far_as_it_has_positions(
    kind: str, settings: dict[str, Any], reach: int, tmp_path: Path
) -> None:
    made = byte_level()
    shape = getattr(transformers, f"{kind}Config")(vocab_size=len(made), **settings)
    encoder = build(saved(tmp_path, getattr(transformers, f"{kind}Model")(shape), made)).eval()
    assert encoder.max_length == reach
    with torch.no_grad():
        assert torch.isfinite(encoder(encoder.collate(encoder.tokenize([["ship"] * 300]))).words).all()


@pytest.mark.parametrize("model", [roberta, modern_bert])
def test_a_tokenizer_larger_than_the_table_is_rejected(model: Callable[[int], Any], tmp_path: Path) -> None:
    made = byte_level()
    rows = len(made) - 20
    with pytest.raises(InputError, match=f"ids up to {len(made) - 1}, the embedding table {rows} rows"):
        build(saved(tmp_path, model(rows), made))


def test_a_token_that_was_added_without_a_row_is_rejected(tmp_path: Path) -> None:
    made = byte_level()
    model = roberta(len(made))
    made.add_tokens(["<new>"])
    with pytest.raises(InputError, match="the embedding table"):
        build(saved(tmp_path, model, made))


@pytest.mark.parametrize("lost", ["encoder.layer.1.output.dense.weight", "embeddings.word_embeddings.weight"])
def test_missing_weights_are_rejected(lost: str, tmp_path: Path) -> None:
    made = byte_level()
    path = saved(tmp_path, roberta(len(made)), made)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[lost]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"the checkpoint has no weights for {lost}"):
        build(path)


def test_a_pooler_may_be_missing(tmp_path: Path) -> None:
    made = byte_level()
    shape = transformers.RobertaConfig(vocab_size=len(made), max_position_embeddings=130, pad_token_id=1, **SHAPE)
    build(saved(tmp_path, transformers.RobertaForMaskedLM(shape), made))


def test_weights_of_another_shape_are_rejected_in_one_line(tmp_path: Path) -> None:
    made = byte_level()
    path = saved(tmp_path, roberta(len(made)), made)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "hidden_size": 64}))
    with pytest.raises(InputError) as error:
        build(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("limit", [-1, 0, 2])
def test_an_impossible_limit_of_the_tokenizer_is_rejected(limit: int, tmp_path: Path) -> None:
    made = byte_level(model_max_length=limit)
    with pytest.raises(InputError, match=f"reads at most {limit} pieces"):
        build(saved(tmp_path, roberta(len(made)), made))
