"""Less memory for the same update: parts of a batch, and layers computed again for the backward pass."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import runs
from raycner.config import RunConfig
from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.errors import InputError
from raycner.networks.encoders.pretrained import Pretrained
from raycner.networks.losses import LossSum
from raycner.networks.network import ModelConfig, Network
from raycner.orchestration.runner import run
from raycner.training.accumulation import PartCounts

SETTINGS = (
    "optim.precision=fp64",
    "scenario.corpus.sentences=63",
    "scenario.order=[location, person]",
    "optim.batch_size=8",  # of 21 sentences a step: the last batch has five, in four parts
    "optim.epochs=1",
    "optim.first.epochs=1",
    "optim.select=last",
)
WAYS = {
    "extend_ner": ["method.name=extend_ner", "method.weighting=mean"],
    "cfner": ["method.name=dld", "method.base={name: cfner, curriculum: true}"],
    "podnet": ["method.name=podnet", "model.head.name=cosine"],
    "gen_cner": ["method.name=gen_cner", "model.head.name=triplets"],
}
SENTENCES = [
    Sentence(0, ("Ada", "otter") * 9, frozenset({Entity(1, 2, "animal")})),
    Sentence(1, ("otter",), frozenset({Entity(0, 1, "animal")})),
]


def steps(store: Path) -> Iterator[tuple[str, dict[str, Tensor]]]:
    return ((path.name, load_file(path / "weights.safetensors")) for path in sorted((store / "steps").iterdir()))


@pytest.mark.parametrize("way", WAYS)
def test_an_update_in_parts_is_the_whole_one(way: str, tmp_path: Path) -> None:
    for parts in (1, 4):
        run(runs.small(tmp_path / str(parts), *SETTINGS, *WAYS[way], f"optim.accumulate={parts}"), runs.silent)
    for (name, whole), (same_name, in_parts) in zip(steps(tmp_path / "1"), steps(tmp_path / "4"), strict=True):
        assert name == same_name
        torch.testing.assert_close(in_parts, whole, rtol=1e-7, atol=1e-9)


def test_counts_that_depend_on_the_encoder_are_refused(tiny_config: RunConfig) -> None:
    counts = PartCounts(Network(tiny_config.model), lambda _: {"ce": LossSum(torch.tensor(0.0), torch.tensor(2))})
    batches: list[Any] = [None, None]
    assert counts.over(batches).tolist() == [4]
    counts.compare([{"ce": LossSum(torch.tensor(1.0), torch.tensor(count))} for count in (1, 3)])
    counts.require_equal("epoch 1")
    counts.compare([{"ce": LossSum(torch.tensor(1.0), torch.tensor(count))} for count in (2, 3)])
    with pytest.raises(InputError, match="epoch 1: the method counts words by what the network predicts"):
        counts.require_equal("epoch 1")


def test_bad_values_are_refused() -> None:
    for settings, message in (
        (["optim.accumulate=0"], "accumulate 0: at least 1"),
        (["optim.accumulate=2", "model.head={name: cosine, norm_axis: sequence}"], "depend on its whole batch"),
    ):
        with pytest.raises(InputError, match=message):
            RunConfig.load(settings)


def test_attention_without_padding_is_refused_where_it_cannot_run(tiny_bert: str) -> None:
    """transformers would fetch a kernel from a hub, and run it."""
    with pytest.raises(InputError, match="flash_attention_2 needs a GPU and the package flash-attn") as refused:
        Pretrained(path=tiny_bert, attention="flash_attention_2").build(fresh=True)
    assert refused.value.location == "model.encoder.attention"


@pytest.mark.parametrize("bf16", [False, True])
def test_layers_computed_again_have_the_same_gradient(tiny_bert: str, bf16: bool) -> None:
    gradients, sizes = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        config = Pretrained(path=tiny_bert, dropout=0.2, attention="eager", checkpointing=checkpointing)
        network = Network(ModelConfig(encoder=config))
        network.start_step(TypeInventory().grow(("animal",)), [["Ada", "otter"]])
        network.bf16 = bf16
        batch = network.collate(SENTENCES, network.tokenize([sentence.words for sentence in SENTENCES]), [0, 1])
        network.train()
        size = 0

        def keep(tensor: Tensor) -> Tensor:
            nonlocal size
            size += tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = network.head.loss(network(batch), batch).total
        sizes.append(size)
        loss.backward()
        gradients.append({name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None})
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=0)
    assert len(gradients[0]) > 20
    assert sizes[1] < 0.5 * sizes[0]
