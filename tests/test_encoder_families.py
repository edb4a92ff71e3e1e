"""The contract of encoders, over tiny random checkpoints of many families, from loading to export."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.networks.batch import Batch
from raycner.networks.encoders.pretrained import Pretrained
from raycner.networks.heads.linear import Linear
from raycner.networks.network import ModelConfig, Network
from test_checkpoints import byte_level

SENTENCES = [["Bob", "visits", "Rome"], ["a"], ["Acme", "sells", "red", "shoes", "in", "Oslo", "."], ["x"] * 40]
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 130,
}
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 130}
LLAMA = BERT | {"num_key_value_heads": 1, "head_dim": 8}
ALBERT = {"embedding_size": 8, "num_hidden_groups": 1}
BART = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
BART |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 130}
DISTIL = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 16, "max_position_embeddings": 130}
FAMILIES: dict[str, dict[str, Any]] = {
    "albert": BERT | ALBERT,
    "bart": BART,
    "bert": BERT,
    "big_bird": BERT | {"attention_type": "original_full"},
    "camembert": BERT,
    "convbert": BERT | {"embedding_size": 16, "conv_kernel_size": 3},
    "data2vec-text": BERT,
    "deberta": BERT,
    "deberta-v2": BERT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "distilbert": DISTIL,
    "electra": BERT | {"embedding_size": 16},
    "ernie": BERT,
    "gpt2": GPT,
    "llama": LLAMA,
    "longformer": BERT | {"attention_window": [8, 8]},
    "megatron-bert": BERT,
    "modernbert": BERT | {"global_attn_every_n_layers": 2, "local_attention": 16},
    "mpnet": BERT,
    "qwen2": LLAMA,
    "roberta": BERT,
    "roformer": BERT | {"embedding_size": 16},
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 2, "num_heads": 2},
    "xlm-roberta": BERT,
}
BYTE_LEVEL = {"bart", "data2vec-text", "deberta", "gpt2", "llama", "longformer", "modernbert", "qwen2", "roberta"}
ONE = TypeInventory().grow(("city",))


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(family: str, tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a random checkpoint of the family."""
    if family in BYTE_LEVEL:
        tokenizer: PreTrainedTokenizerBase = byte_level()
    else:
        tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    ids = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": 0, "eos_token_id": 2}
    shape = AutoConfig.for_model(family, vocab_size=len(tokenizer), **ids, **FAMILIES[family])
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(family)
    AutoModel.from_config(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def network(checkpoint: str) -> Network:
    """A network after one update of its step."""
    torch.manual_seed(0)
    made = Network(ModelConfig(encoder=Pretrained(path=checkpoint), head=Linear(init_std=0.5)))
    made.start_step(ONE, SENTENCES)
    made.train()
    optimizer = torch.optim.SGD([p for p in made.parameters() if p.requires_grad], lr=1e-4)
    batch = collated(made)
    before = made.head.loss(made(batch), batch).total
    before.backward()
    gradients = [parameter.grad for parameter in made.parameters() if parameter.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)
    optimizer.step()
    assert made.head.loss(made(batch), batch).total < before
    made.finalize()
    return made.eval()


def collated(network: Network, sentences: list[list[str]] = SENTENCES) -> Batch:
    made = [Sentence(i, tuple(words), frozenset({Entity(0, 1, "city")})) for i, words in enumerate(sentences)]
    return network.collate(made, network.tokenize(sentences), range(len(sentences)))


def logits(network: Network, sentences: list[list[str]]) -> list[torch.Tensor]:
    """Of each sentence, without padding."""
    with network.eval_mode():
        output = network(collated(network, sentences)).logits
    return [row[: len(words)] for row, words in zip(output, sentences, strict=True)]


def test_a_sentence_has_the_same_logits_alone_and_in_a_batch(network: Network) -> None:
    together = logits(network, SENTENCES)
    for words, expected in zip(SENTENCES, together, strict=True):
        (alone,) = logits(network, [words])
        torch.testing.assert_close(alone, expected, rtol=0, atol=1e-4)
        assert torch.isfinite(alone).all()


def test_every_sentence_is_predicted(network: Network) -> None:
    assert len(network.predict(collated(network))) == len(SENTENCES)


def test_long_sentences_are_read(network: Network) -> None:
    (long,) = logits(network, [["Rome", "a"] * 200])
    assert torch.isfinite(long).all()


def test_a_checkpoint_restores_the_network(network: Network, tmp_path: Path) -> None:
    network.encoder.save_frame(tmp_path)
    config = ModelConfig(encoder=Pretrained(path=str(tmp_path)), head=network.config.head)
    again = Network.restore(config, network.inventory, network.encoder.memory(), network.state_dict())
    for one, two in zip(logits(network, SENTENCES), logits(again, SENTENCES), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)


NOT_EXPORTED = {"bart"}
"""Families without a token classifier in transformers."""


def test_an_export_has_the_same_logits(network: Network, family: str) -> None:
    layer = network.head.as_linear(0.0)
    assert layer is not None
    classifier = network.encoder.classifier(layer.labels, layer.weight, layer.bias)
    assert (classifier is None) == (family in NOT_EXPORTED)
    if classifier is None:
        return
    words = SENTENCES[2]
    (tokens,) = network.tokenize([words])
    with torch.no_grad():
        output = classifier(input_ids=torch.from_numpy(tokens.ids)[None]).logits[0]
    (expected,) = logits(network, [words])
    torch.testing.assert_close(output[torch.from_numpy(tokens.starts)], expected, rtol=0, atol=1e-4)
