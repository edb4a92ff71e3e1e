"""Token classifiers of transformers from encoders of many families: the same logits, after being saved and loaded."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from raycner.networks.encoders.pretrained import Pretrained
from test_checkpoints import SHAPE, build, byte_level, modern_bert, roberta, saved

SENTENCES = [["Bob", "visits", "Rome"], ["Anna", "saw", "red", "shoes", "in", "Oslo"]]
LABELS = ("O", "B-x", "I-x")
LAYERS = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_heads": 2, "decoder_start_token_id": 0, "pad_token_id": 1}
DECODER = {"num_key_value_heads": 2, "max_position_embeddings": 128, **SHAPE}


def big_bird(rows: int) -> Any:
    return transformers.BigBirdModel(
        transformers.BigBirdConfig(vocab_size=rows, attention_type="original_full", **SHAPE)
    )


def mobile_bert(rows: int) -> Any:
    shape = {"embedding_size": 32, "intra_bottleneck_size": 32, "num_feedforward_networks": 1, **SHAPE}
    return transformers.MobileBertModel(transformers.MobileBertConfig(vocab_size=rows, **shape))


def llama(rows: int) -> Any:
    return transformers.LlamaModel(transformers.LlamaConfig(vocab_size=rows, **DECODER))


def qwen2(rows: int) -> Any:
    return transformers.Qwen2Model(transformers.Qwen2Config(vocab_size=rows, **DECODER))


def t5(rows: int) -> Any:
    return transformers.T5Model(transformers.T5Config(vocab_size=rows, num_layers=2, **LAYERS))


def bart(rows: int) -> Any:
    shape = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    return transformers.BartModel(transformers.BartConfig(vocab_size=rows, d_model=32, **shape))


def normed_with_bias(rows: int) -> Any:
    shape = modern_bert(rows).config
    shape.norm_bias = True
    return transformers.ModernBertModel(shape)


def checkpoint(model: Any, folder: Path) -> str:
    """A random checkpoint, none of whose norms is the identity."""
    torch.manual_seed(0)
    tokenizer = byte_level()
    made = model(len(tokenizer))
    for name, parameter in made.named_parameters():
        if "norm" in name.lower():
            torch.nn.init.uniform_(parameter, -2, 2)
    return saved(folder, made, tokenizer)


@pytest.mark.parametrize("model", [modern_bert, roberta, big_bird, mobile_bert, llama, qwen2, t5])
def test_logits_are_those_of_the_layer_over_the_encoder(model: Any, tmp_path: Path) -> None:
    path = checkpoint(model, tmp_path / "encoder")
    encoder = build(path).eval()
    weight, bias = torch.randn(len(LABELS), encoder.width), torch.randn(len(LABELS))
    made = encoder.classifier(LABELS, weight, bias)
    encoder.save_frame(tmp_path / "exported")
    made.save_pretrained(tmp_path / "exported")
    loaded, report = transformers.AutoModelForTokenClassification.from_pretrained(
        tmp_path / "exported", output_loading_info=True
    )
    assert not any(report.values()) and loaded.config.id2label == dict(enumerate(LABELS))
    with torch.inference_mode():
        inputs = encoder.collate(encoder.tokenize(SENTENCES))
        states = encoder(inputs).words
        logits: Tensor = loaded.eval()(inputs["ids"], attention_mask=inputs["attend"].long()).logits
    starts = inputs["starts"]
    of_words = logits.gather(1, starts.clamp(min=0)[..., None].expand(-1, -1, len(LABELS)))
    expected = states @ weight.T + bias
    assert torch.allclose(of_words[starts >= 0], expected[starts >= 0], atol=2e-3)
    assert Pretrained(path=path).has_classifier()


@pytest.mark.parametrize("model", [bart, normed_with_bias])
def test_what_transformers_has_no_such_classifier_for_is_known_beforehand(model: Any, tmp_path: Path) -> None:
    path = checkpoint(model, tmp_path / "encoder")
    encoder = build(path)
    assert encoder.classifier(LABELS, torch.ones(len(LABELS), encoder.width), torch.ones(len(LABELS))) is None
    assert not Pretrained(path=path).has_classifier()


def test_a_norm_that_discards_a_channel_cannot_be_undone(tmp_path: Path) -> None:
    encoder = build(checkpoint(modern_bert, tmp_path / "encoder"))
    with torch.no_grad():
        encoder.get_parameter("model.final_norm.weight")[0] = 0
    assert encoder.classifier(LABELS, torch.ones(len(LABELS), encoder.width), torch.ones(len(LABELS))) is None
