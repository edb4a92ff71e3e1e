"""How time grows with the number of sentences, of types and of steps, and what a worker group costs over a plain loop.

Corpora are generated; runs train and evaluate a small BiLSTM for an epoch a step, each in a process of its own. A size
is given with its seconds of processor time, its most memory, and the exponent of growth since the size before: 1 is
linear. The exponent of all sizes is the slope of the logarithms; small sizes hold fixed costs, which make it smaller.

    python tests/benchmarks/growth.py [--largest 100000]
"""

import argparse
import math
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

import raycner

WORDS = 12
"""Of a sentence; two of them are mentions."""
GROUP_STEPS = 18
NETWORK = (
    *("model.encoder.name=bilstm", "model.encoder.word_width=16", "model.encoder.char_width=8"),
    *("model.encoder.width=16", "optim.epochs=1", "optim.batch_size=32", "compute.checkpoint_epochs=0"),
)


class Cost(NamedTuple):
    """What a run took."""

    seconds: float
    """Of processor time."""
    wall: float
    memory: float
    """The most that was in use, in MiB."""
    epoch: float
    """Median seconds of an epoch, by the ledger."""


def write_corpus(folder: Path, sentences: int, types: int) -> Path:
    """Columns with so many training sentences; dev and test have 200 each."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.RandomState(0)
    for part, number in (("train", sentences), ("dev", 200), ("test", 200)):
        words = np.char.add("w", draw.randint(2000, size=(number, WORDS)).astype(str))
        kinds = draw.randint(types, size=(number, 2))
        lines: list[str] = []
        for row, mentioned in zip(words.tolist(), kinds.tolist(), strict=True):
            lines += [f"{word}\tO" for word in row[2:]]
            lines += [f"name{kind}x{word}\tB-t{kind:03d}" for kind, word in zip(mentioned, row, strict=False)]
            lines.append("")
        (folder / f"{part}.conll").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def run(corpus: Path, settings: Sequence[str]) -> Cost:
    """Run in this process, over a store of its own."""
    job = ["scenario.corpus.name=columns", f"scenario.corpus.path={corpus}", "method.name=extend_ner", *NETWORK]
    with tempfile.TemporaryDirectory() as store:
        wall, began = time.monotonic(), time.process_time()
        done = raycner.run([*job, *settings, f"store={store}"], progress=False)
        seconds = time.process_time() - began
        epochs = [epoch.seconds for record in done.ledger.records() for epoch in record.epochs]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return Cost(seconds, time.monotonic() - wall, memory, statistics.median(epochs))


def alone(corpus: Path, *settings: str) -> Cost:
    """A run in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(run, (corpus, settings))


def by_sentences(folder: Path, sentences: int) -> Cost:
    """One step that learns four types."""
    return alone(write_corpus(folder / f"{sentences}", sentences, 4), "scenario.protocol={name: fg_pg, first: 4}")


def by_types(folder: Path, types: int) -> Cost:
    """Half of the types in the first step, and half in the second, of 2,000 sentences in all."""
    half = types // 2
    protocol = f"scenario.protocol={{name: fg_pg, first: {half}, per_step: {half}}}"
    return alone(write_corpus(folder / f"types-{types}", 2000, types), protocol)


def by_steps(folder: Path, steps: int) -> Cost:
    """A type a step, from 60 sentences each."""
    corpus = write_corpus(folder / f"steps-{steps}", 60 * steps, steps)
    return alone(corpus, "scenario.protocol={name: fg_pg, first: 1, per_step: 1}")


def exponents(costs: Mapping[int, Cost]) -> Iterator[float]:
    """Of each size but the first: the slope of the logarithms since the size before."""
    sizes = list(costs)
    for size, larger in pairwise(sizes):
        yield math.log(costs[larger].seconds / costs[size].seconds) / math.log(larger / size)


def show(console: Console, what: str, costs: Mapping[int, Cost]) -> None:
    slope = np.polyfit(np.log([*costs]), np.log([cost.seconds for cost in costs.values()]), 1)[0]
    table = Table(title=f"{what}: exponent {slope:.2f}, aim at most 1.05", box=None, title_justify="left")
    for column in (what, "seconds", "exponent since the size before", "MiB"):
        table.add_column(column, justify="right")
    for (size, cost), exponent in zip(costs.items(), [math.nan, *exponents(costs)], strict=True):
        table.add_row(f"{size:,}", f"{cost.seconds:.1f}", f"{exponent:.2f}", f"{cost.memory:,.0f}")
    console.print(table)


def group(console: Console, folder: Path) -> None:
    """A run of many steps without Ray, and on a worker group of one."""
    corpus = write_corpus(folder / "group", 200 * GROUP_STEPS, GROUP_STEPS)
    protocol = "scenario.protocol={name: fg_pg, first: 1, per_step: 1}"
    here, there = (alone(corpus, protocol, "optim.epochs=4", f"compute.workers={n}") for n in (0, 1))
    console.print(f"{GROUP_STEPS} steps: {here.wall:.0f} s in one process, {there.wall:.0f} s on a worker group of one")
    console.print(f"  the group's start and its steps' overhead: {there.wall - here.wall:.0f} s, aim at most 30 s")
    console.print(f"  an epoch, group / one process: {there.epoch / here.epoch:.2f}, aim at most 1.02")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=100_000, help="sentences of the largest corpus")
    largest = parser.parse_args().largest
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sentences = [n for n in (1_000, 3_000, 10_000, 30_000, 100_000) if n <= largest]
        for what, sizes, measure in (
            ("sentences", sentences, partial(by_sentences, folder)),
            ("types", [4, 20, 100, 500], partial(by_types, folder)),
            ("steps", [3, 10, 30, 100], partial(by_steps, folder)),
        ):
            show(console, what, {size: measure(size) for size in sizes})
        group(console, folder)


if __name__ == "__main__":
    main()
