"""One rank equals two: the same parameters in float64, without dropout, for every method and both kinds of encoder."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file

import runs
from raycner.config import RunConfig
from raycner.errors import InputError
from raycner.methods.method import METHODS
from raycner.orchestration.runner import run

WAYS = {
    "finetuning": ["method.name=finetuning"],
    "frozen_imprinted": [
        "method.name=finetuning",
        "model.head.name=cosine",
        "model.growth.freeze_old=true",
        "model.growth.imprint=train",
    ],
    "preallocated": ["method.name=finetuning", "model.head.preallocate=3", "model.growth.freeze_old=true"],
    "self_training": ["method.name=self_training", "method.threshold=0.4"],
    "extend_ner": ["method.name=extend_ner"],
    "is3": ["method={name: extend_ner, weighting: mean, adaptive: true, old_row_gradient: 0.6, prototype_weight: 0.1}"],
    "dld": ["method.name=dld", "method.base.name=extend_ner"],
    "dld_kl": ["method.form=kl", "method.words=outside", "method.base.weighting=mean"],
    "cfner": ["method.name=cfner"],
    "cfner_curriculum": ["method.name=cfner", "method.weighting=word", "method.curriculum=true"],
    "cfner_epoch": ["method.name=cfner", "method.refresh=epoch"],
    "dld_cfner": ["method.name=dld", "method.base.name=cfner"],
    "dld_self_training": ["method.name=dld", "method.base.name=self_training"],
    "duplet": ["method={name: duplet, base: {name: extend_ner}}"],
    "der": ["method={name: der, base: {name: extend_ner}}", "scenario.memory={size: 2, keep: logits}"],
    "feature_replay": ["method.name=extend_ner", "optim={feature_replay: 0.5, feature_replay_words: 2, ema: 0.9}"],
    "feature_replay_by_dev": ["method.name=extend_ner", "optim={feature_replay: dev, feature_replay_words: 2}"],
    "memory": ["method.name=self_training", "scenario.memory={size: 2, choose: herding}"],
    "lucir": ["method.name=lucir", "model.head.name=cosine"],
    "podnet": ["method.name=podnet", "model.head.name=cosine"],
    "add_ner": ["method.name=add_ner", "model.head.name=stepwise"],
    "gen_cner": ["method.name=gen_cner", "model.head.name=triplets"],
    "span_kl": ["method.name=span_kl", "model.head.name=spans"],
    "span_kl_by_span": [
        "method={name: span_kl, temperature: 2}",
        "model.head={name: spans, reduction: span, max_width: 4, positive_weight: 2}",
    ],
    "self_training_spans": ["method.name=self_training", "method.threshold=0.5", "model.head.name=spans"],
    "seq2seq": ["model.head={name: seq2seq, scheme: BIOES, beam: 2}", "model.growth.init=moments"],
    "adapters": ["method.name=extend_ner", "model.encoder.adapters={rank: 2, targets: [query, value]}"],
    "analytic": [
        *("method={name: self_training}", "model.head={name: analytic, features: 20}", "model.encoder.frozen=always")
    ],
    "latent_replay": [
        *("method={name: extend_ner}", "scenario.memory={size: 2, keep: states}", "model.encoder.frozen=after_first")
    ],
    "podnet_published": ["method.name=podnet", "method.nca=cancelled", "method.spatial_gradient=false"],
}
"""Overrides of the small run, by the name of its store."""
OF_PRETRAINED = {"adapters", "analytic", "latent_replay"}
"""Ways that only a pretrained encoder has."""
WHOLE_BATCHES = {"contrastive": ["method={name: contrastive, base: {name: extend_ner}}"]}
"""Ways whose loss compares all words of a batch: two ranks refuse them."""
NAMED = {RunConfig.load([*runs.SMALL, *WAYS[way]]).method.name for way in WAYS.keys() - OF_PRETRAINED}
WAYS |= {name: [f"method.name={name}"] for name in METHODS if name not in NAMED | WHOLE_BATCHES.keys()}
IN_PARTS = ("is3", "dld_cfner", "duplet", "span_kl", "add_ner", "memory")
"""Ways whose updates two ranks compute in two parts each."""
SETTINGS = (
    "optim.precision=fp64",
    "scenario.corpus.sentences=63",  # 21 a step in batches of 4: the last batch has one sentence for two ranks
    "optim.batch_size=4",
    "optim.select=last",
    "scenario.order=[location, person]",
)


def config(folder: Path, way: str, encoder: list[str], *settings: str) -> RunConfig:
    return runs.small(folder / way, *SETTINGS, *encoder, *WAYS[way], *settings)


def ways(encoder: list[str]) -> list[str]:
    """The ways for an encoder."""
    return [way for way in WAYS if encoder or way not in OF_PRETRAINED]


def work(rank: int, folder: Path, encoder: list[str], meeting: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    for way in ways(encoder):
        runs.learn_in_group(config(folder, way, encoder, f"optim.accumulate={2 if way in IN_PARTS else 1}"))
    dist.destroy_process_group()


@pytest.mark.parametrize("kind", ["bilstm", "pretrained"])
def test_two_ranks_end_where_one_does(kind: str, tmp_path: Path, tiny_bert: Path) -> None:
    encoder = [] if kind == "bilstm" else ["model.encoder.name=pretrained", f"model.encoder.path={tiny_bert}"]
    alone, together = tmp_path / "alone", tmp_path / "together"
    for way in ways(encoder):
        run(config(alone, way, encoder), runs.silent)
    checkpointing = ["model.encoder.checkpointing=true"] if kind == "pretrained" else []
    mp.spawn(work, args=(together, [*encoder, *checkpointing], str(tmp_path / "meeting")), nprocs=2)
    for way in ways(encoder):
        steps = sorted((alone / way / "steps").iterdir())
        assert len(steps) == 2
        for step in steps:
            one = load_file(step / "weights.safetensors")
            two = load_file(together / way / "steps" / step.name / "weights.safetensors")
            for name, tensor in one.items():
                assert tensor.dtype == torch.float64
                torch.testing.assert_close(two[name], tensor, rtol=1e-7, atol=1e-9, msg=f"{way} {name}")
        assert [r.test for r in runs.ledger(alone / way).records()] == [
            r.test for r in runs.ledger(together / way).records()
        ]


@pytest.mark.parametrize("way", WHOLE_BATCHES)
@pytest.mark.parametrize("parts", ["compute.workers=2", "optim.accumulate=2"])
def test_what_compares_all_words_of_a_batch_is_computed_whole(way: str, parts: str) -> None:
    whole = [*runs.SMALL, *WHOLE_BATCHES[way]]
    assert RunConfig.load([*whole, "compute.workers=1"]).method.batch_dependent
    with pytest.raises(InputError, match="compares the words of a whole batch, which one worker must see") as refused:
        RunConfig.load([*whole, parts])
    assert refused.value.location == "method.name"
