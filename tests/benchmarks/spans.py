"""The span head against the plain formulation, at the sizes of Few-NERD's last task: forward, both losses, backward.

The plain one has a layer for every task there will ever be, scores every pair of words in both orders, masks what is
no span, and stacks both outcomes for its KL. Here all 66 types are seen, so that neither side saves anything by that.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.methods.span_kl import SpanKL
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.head import GrowthConfig
from raycner.networks.heads.spans import SpanHead, SpanOutput, Spans

SENTENCES, WORDS, WIDTH, VECTOR = 8, 128, 384, 50
TASKS = (8, 8, 8, 8, 8, 9, 9, 8)
"""How many types each task brings: 66."""


class Plain(nn.Module):
    """A layer per task, a square per type."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, 2 * VECTOR * types) for types in TASKS)

    def scores(self, words: Tensor) -> Tensor:
        """[B, T, T, E]"""
        halves = [layer(words).chunk(2, dim=-1) for layer in self.layers]
        starts, ends = (
            torch.cat([half.unflatten(-1, (-1, VECTOR)) for half in side], 2) for side in zip(*halves, strict=True)
        )
        products: Tensor = torch.einsum("biek,bjek->bije", starts, ends)
        return products.div(VECTOR**0.5)

    def loss(self, words: Tensor, gold: Tensor, taught: Tensor) -> Tensor:
        z, spans = self.scores(words), torch.ones(WORDS, WORDS, device=words.device).triu()
        old = taught.size(-1)
        bce = F.binary_cross_entropy_with_logits(z[..., old:], gold[..., old:], reduction="none").mean(-1)
        student, teacher = (torch.stack([F.logsigmoid(s), F.logsigmoid(-s)], dim=-1) for s in (z[..., :old], taught))
        kd = F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1).mean(-1)
        return ((bce + kd) * spans).sum() / SENTENCES


class FixedNetwork:
    """A network that says one thing of every batch."""

    def __init__(self, head: SpanHead, output: SpanOutput) -> None:
        self.head, self.inventory, self._output = head, head.inventory, output

    def __call__(self, _: Batch) -> SpanOutput:
        return self._output

    forward_eval = __call__


def sides() -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """The losses of the plain formulation and of the head, on the same sentences: what a step differentiates."""
    torch.manual_seed(0)
    where = "cuda" if torch.cuda.is_available() else "cpu"
    words = torch.randn(SENTENCES, WORDS, WIDTH, device=where, requires_grad=True)
    inventory = TypeInventory()
    heads: list[SpanHead] = []
    for step, types in enumerate(TASKS):
        inventory = inventory.grow([f"{step}-{number}" for number in range(types)])
        if step >= len(TASKS) - 2:
            heads.append(Spans().build(WIDTH))
            heads[-1].grow(inventory, GrowthConfig())
    gold = frozenset(Entity(at, at + 2, kind) for at, kind in zip(range(0, 40, 5), inventory.new, strict=True))
    sentences = [Sentence(row, ("w",) * WORDS, gold) for row in range(SENTENCES)]
    mask = torch.ones(SENTENCES, WORDS, dtype=torch.bool)
    batch = Batch(torch.arange(SENTENCES), {}, mask, heads[1].targets(sentences)).to(torch.device(where))
    states = States.of_words(words)
    teacher, student = (head.to(where) for head in heads)
    with torch.no_grad():
        cached = SpanOutput(teacher(states, batch).logits.half().contiguous())
    plain = Plain().to(where)
    with torch.no_grad():
        taught = plain.scores(words)[..., : inventory.num_old].clone()
    square = torch.zeros(SENTENCES, WORDS, WORDS, len(inventory), device=where)
    for entity in gold:
        square[:, entity.start, entity.end - 1, inventory.types.index(entity.type)] = 1.0

    def ours() -> Tensor:
        terms = SpanKL().losses(FixedNetwork(student, student(states, batch)), FixedNetwork(teacher, cached), batch)  # type: ignore[arg-type]
        return torch.stack([term.total / term.count for term in terms.values()]).sum()

    return lambda: plain.loss(words, square, taught), ours


def saved(loss: Callable[[], Tensor]) -> int:
    """Bytes of the tensors that are kept for the backward pass, each storage once."""
    tensors: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        tensors[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss()
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors.values())


def measure(rounds: int) -> tuple[float, float]:
    """How many times faster the head is than the plain formulation, and the share of its saved activations."""
    plain, ours = sides()
    ratios = []
    for _ in range(rounds + 1):  # the first round warms up
        seconds = []
        for side in (plain, ours):
            began = time.perf_counter()
            torch.autograd.backward(side())
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios[1:]), saved(ours) / saved(plain)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("times faster: {:.2f}, share of saved activations: {:.2f}".format(*measure(5)))
