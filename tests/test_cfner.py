"""CFNER: neighbours against brute force, what is matched, what is looked at, and what changes the two effects."""

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import runs
from raycner.config import RunConfig
from raycner.data.corpora import Corpus
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.scenario import Scenario, Split
from raycner.errors import InputError
from raycner.methods.cfner import CFNER, Matches, Neighbours
from raycner.methods.dld import DLD
from raycner.methods.extend_ner import ExtendNER
from raycner.methods.method import METHODS, Method, balance
from raycner.networks import neighbours
from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.tag_head import TagOutput
from raycner.networks.losses import LossSum
from raycner.networks.neighbours import nearest
from raycner.networks.network import Network
from raycner.orchestration.runner import run
from raycner.settings import build
from raycner.training import ranks
from raycner.training.loader import SplitLoader
from raycner.training.teacher import Teacher

# Neighbours


def units(seed: int, number: int, width: int = 16, dtype: torch.dtype = torch.float64) -> Tensor:
    drawn = np.random.RandomState(seed).standard_normal((number, width))
    return F.normalize(torch.from_numpy(drawn), dim=-1).to(dtype)


def distances(points: Tensor, candidates: int = 0) -> Tensor:
    """[N, M] Euclidean distances in float64, infinite from each point to itself."""
    pool = points[: candidates or None].double()
    apart = (points.double()[:, None] - pool).norm(dim=-1)
    return apart.fill_diagonal_(float("inf"))


@given(
    rows=st.lists(st.tuples(*[st.integers(-1, 1)] * 3).filter(any), max_size=12),
    count=st.integers(1, 4),
    candidates=st.integers(0, 14),
    tile=st.integers(1, 14),
)
def test_neighbours_are_those_of_brute_force(
    rows: list[tuple[int, ...]], count: int, candidates: int, tile: int
) -> None:
    """Small pools with many equal distances: which of equally near words is taken is free, how near they are is not."""
    points = F.normalize(torch.tensor(rows, dtype=torch.float64).reshape(-1, 3), dim=-1)
    with patch.object(neighbours, "TILE", tile):
        near = nearest(points, count, candidates)
    size = min(candidates or len(points), len(points))
    assert near.shape == (len(points), max(0, min(count, size - 1)))
    for point, mine in enumerate(near.tolist()):
        assert point not in mine
        assert len(set(mine)) == len(mine)
        assert all(0 <= other < size for other in mine)
    if near.size(1):
        apart = distances(points, candidates)
        best = apart.topk(near.size(1), largest=False).values
        torch.testing.assert_close(apart.gather(1, near), best, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("candidates", [0, 150])
def test_the_search_in_tiles_is_the_whole_search_and_brute_force(dtype: torch.dtype, candidates: int) -> None:
    points = units(0, 200, dtype=dtype)
    brute = distances(points, candidates).topk(3, largest=False).indices
    for tile in (7, 50, 64, 200, 2048):
        with patch.object(neighbours, "TILE", tile):
            assert torch.equal(nearest(points, 3, candidates), brute)
    assert not (brute == torch.arange(200)[:, None]).any()


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor had that any operation made."""

    numbers = 0

    def __torch_dispatch__(self, call: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = call(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return made


@pytest.mark.parametrize("number", [400, 800, 1600])
def test_memory_is_a_tile_and_the_points_however_many(number: int) -> None:
    points = units(0, number, width=4)
    with patch.object(neighbours, "TILE", 32), Largest() as largest:
        nearest(points, 3)
    assert 32 * 32 <= largest.numbers <= 4 * number
    with Largest() as largest:
        nearest(points, 3)
    assert largest.numbers == min(number, neighbours.TILE) ** 2, "the measure sees a whole matrix where there is one"


# Matching


@dataclasses.dataclass
class Step:
    """The second step over the tiny corpus: a teacher, the student that grew from it, and sentences."""

    teacher: Network
    student: Network
    split: Split

    def annotated(self, method: Method) -> Split:
        return method.annotate(self.split, self.recalling(method))

    def recalling(self, method: Method[Any]) -> Teacher:
        return Teacher(self.teacher, Path(), method.teacher_outputs)

    def batch(self, method: Method, positions: Sequence[int]) -> Batch:
        return method.collate(SplitLoader(self.annotated(method), self.student), positions)

    def losses(self, method: Method, positions: Sequence[int]) -> dict[str, LossSum]:
        return method.losses(self.student, self.recalling(method), self.batch(method, positions))


@pytest.fixture
def step(tiny_config: RunConfig, tiny_corpus: Corpus) -> Step:
    first, second, *_ = Scenario(tiny_config.scenario, [tiny_corpus])
    torch.manual_seed(0)
    teacher = Network(tiny_config.model)
    teacher.start_step(first.inventory, [s.words for s in first.train.sentences()])
    with torch.no_grad():
        teacher.head.rows.normal_()
    student = copy.deepcopy(teacher)
    student.start_step(second.inventory, [s.words for s in second.train.sentences()])
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    teacher.double().eval().requires_grad_(False)
    return Step(teacher, student.double(), second.train)


def never_in_doubt(step: Step) -> Step:
    """The same, with a teacher that takes every word for O."""
    with torch.no_grad():
        step.teacher.head.rows[0, -1] += 1e3
    return step


def spoken(step: Step, position: int) -> tuple[Tensor, Tensor]:
    """The teacher's states and logits of one sentence."""
    output = step.teacher(SplitLoader(step.split, step.teacher).batch([position]))
    return output.states[0], output.logits[0]


def pools(step: Step) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(sentence, word) of the words of new types, and of the O words that the teacher takes for an old type."""
    new, old = [], []
    for position, sentence in enumerate(step.split.sentences()):
        inside = {word for entity in sentence.entities for word in range(entity.start, entity.end)}
        best = spoken(step, position)[1].argmax(-1).tolist()
        new += [(position, word) for word in sorted(inside)]
        old += [(position, word) for word in range(len(sentence.words)) if word not in inside and best[word] != 0]
    return new, old


def neighbours_by_word(matches: Matches) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Each matched word's neighbours, as (sentence, word)."""
    named = list(zip(matches.sentences.tolist(), matches.words.tolist(), strict=True))
    return {name: [named[i] for i in row if i >= 0] for name, row in zip(named, matches.nearest.tolist(), strict=True)}


def test_words_are_matched_within_their_pool_by_the_teachers_states(step: Step) -> None:
    new, old = pools(step)
    assert min(len(new), len(old)) > 4
    matches = neighbours_by_word(step.annotated(CFNER()).column(Matches))
    assert list(matches) == sorted(new + old), "in the order of the split"
    for pool in (new, old):
        states = torch.stack([F.normalize(spoken(step, at)[0][word], dim=-1) for at, word in pool])
        apart = distances(states)
        best = apart.topk(3, largest=False).values
        for word, one in enumerate(pool):
            mine = [pool.index(other) for other in matches[one]]
            torch.testing.assert_close(apart[word, mine], best[word], rtol=0, atol=1e-6)


def test_only_the_beginning_of_a_pool_may_be_searched(step: Step) -> None:
    new, old = pools(step)
    matches = neighbours_by_word(step.annotated(CFNER(candidates=4)).column(Matches))
    for pool in (new, old):
        assert {len(matches[word]) for word in pool} == {3}
        assert {other for word in pool for other in matches[word]} <= set(pool[:4])


@pytest.mark.parametrize(("new_types", "old_types"), [(True, False), (False, True), (False, False)])
def test_an_effect_that_is_off_matches_nothing(step: Step, new_types: bool, old_types: bool) -> None:
    new, old = pools(step)
    matches = neighbours_by_word(step.annotated(CFNER(new_types=new_types, old_types=old_types)).column(Matches))
    assert list(matches) == (new if new_types else []) + (old if old_types else [])


@pytest.mark.parametrize("left", [1, 2, 3])
def test_a_word_alone_in_its_pool_has_no_neighbour(step: Step, left: int) -> None:
    """K' = min(K, N - 1)."""
    never_in_doubt(step)
    with_new = [i for i, s in enumerate(step.split.sentences()) if len(s.entities) == 1]
    single = [i for i in with_new if sum(e.end - e.start for e in step.split[i].entities) == 1][:left]
    step.split = dataclasses.replace(step.split, rows=step.split.rows[single])
    matches = neighbours_by_word(step.annotated(CFNER()).column(Matches))
    assert [len(others) for others in matches.values()] == [left - 1] * left
    terms = step.losses(CFNER(), range(left))
    assert torch.isfinite(terms["dce"].total)
    if left == 1:
        alone = step.losses(ExtendNER(weighting="mean"), range(left))
        assert terms["dce"].total.item() == alone["ce"].total.item()


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_reading_and_agree_on_the_matches(
    step: Step, monkeypatch: pytest.MonkeyPatch, world_size: int
) -> None:
    step.split = dataclasses.replace(step.split, rows=np.tile(step.split.rows, 20))  # more than one batch to read
    alone = step.annotated(CFNER()).column(Matches)
    read: list[list[Any]] = []

    class Deaf(Teacher):
        def survey(self, split: Split, look: Callable[[Batch, Any], Any]) -> list[Any]:
            read.append(super().survey(split, look))
            return [item for part in reversed(read) for item in part]  # however they were gathered

    monkeypatch.setattr(ranks, "world_size", lambda: world_size)
    monkeypatch.setattr(ranks, "gather", lambda items, _: items)
    for rank in range(world_size):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        together = CFNER().annotate(step.split, Deaf(step.teacher, Path())).column(Matches)
    assert sum(map(len, read)) > world_size - 1
    assert all(np.array_equal(one, two) for one, two in zip(alone, together, strict=True))


# Looking


def test_a_batch_brings_the_sentences_of_its_neighbours_each_once(step: Step) -> None:
    method, positions = CFNER(), [5, 2, 9]
    split = step.annotated(method)
    matches = neighbours_by_word(split.column(Matches))
    feed = SplitLoader(split, step.student)
    batch = method.collate(feed, positions)
    neighbours = [position for other in batch.column(Neighbours).sentences for position in other.positions.tolist()]
    wanted = {at for (position, _), others in matches.items() if position in positions for at, _ in others}
    assert sorted(neighbours) == sorted(wanted)
    logits = torch.cat(
        [step.student.forward_eval(other).logits.flatten(0, 1) for other in batch.column(Neighbours).sentences]
    )
    near = batch.column(Neighbours).nearest
    assert near.shape == (*batch.mask.shape, 3)
    for row, position in enumerate(positions):
        for word in range(batch.mask.size(1)):
            others = matches.get((position, word), [])
            assert (near[row, word] >= 0).sum() == len(others)
            for slot, (at, there) in zip(near[row, word].tolist(), others, strict=False):
                alone = step.student.forward_eval(feed.batch([at])).logits[0, there]
                torch.testing.assert_close(logits[slot], alone)


def test_asking_before_the_epoch_is_asking_with_every_batch_while_the_student_stands_still(step: Step) -> None:
    now, before = CFNER(), CFNER(refresh="epoch")
    feed = SplitLoader(step.annotated(now), step.student)
    feed.split = before.on_epoch_start(feed)
    for positions in ([5, 2, 9], [0], list(range(8))):
        again, heard = now.collate(feed, positions), before.collate(feed, positions)
        before_epoch = heard.column(Neighbours)
        assert before_epoch.sentences == () and before_epoch.logits is not None
        assert len(before_epoch.logits) <= sum(other.mask.numel() for other in again.column(Neighbours).sentences)
        ours, theirs = (m.losses(step.student, step.recalling(m), b) for m, b in ((now, again), (before, heard)))
        for name, term in ours.items():
            torch.testing.assert_close(term.total, theirs[name].total)
            assert term.count == theirs[name].count
    with torch.no_grad():
        step.student.head.rows.normal_()
    moved, heard = (m.losses(step.student, step.recalling(m), b) for m, b in ((now, again), (before, heard)))
    assert not torch.allclose(moved["dce"].total, heard["dce"].total), "what was heard is of before"


def test_a_batch_without_matched_words_looks_at_nothing(step: Step) -> None:
    never_in_doubt(step)
    without = [i for i, s in enumerate(step.split.sentences()) if not s.entities][:2]
    batch = step.batch(CFNER(), without)
    assert batch.column(Neighbours).sentences == ()
    assert (batch.column(Neighbours).nearest == -1).all()
    terms = step.losses(CFNER(), without)
    assert terms["odce"].count.item() > 0


def test_the_network_looks_as_it_is_without_learning_from_it(step: Step) -> None:
    """In eval mode and without gradient; training mode is restored."""
    batch = step.batch(CFNER(), range(4))
    glances: list[tuple[bool, bool]] = []

    def listen(network: Network, _: Any, output: TagOutput) -> None:
        glances.append((network.training, output.logits.requires_grad))

    step.student.register_forward_hook(listen)
    CFNER().losses(step.student.train(), step.recalling(CFNER()), batch)
    assert glances == [(True, True), *[(False, False)] * len(batch.column(Neighbours).sentences)]
    assert step.student.training


# Effects


def gradients(step: Step, terms: dict[str, LossSum]) -> list[Tensor]:
    total = torch.stack([term.total / term.count.clamp(min=1) for term in terms.values()]).sum()
    return list(torch.autograd.grad(total, list(step.student.parameters())))


@pytest.mark.parametrize("weighting", ["mean", "word"])
@pytest.mark.parametrize(
    "method", [CFNER(new_types=False), CFNER(new_types=False, old_types=False)], ids=["empty", "off"]
)
def test_with_empty_pools_it_is_extend_ner(
    step: Step, method: CFNER, weighting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if method.old_types:
        never_in_doubt(step)
    method = dataclasses.replace(method, weighting=weighting)
    batch = step.batch(method, range(8))
    three = TypeInventory(("a", "b", "c"), (2, 1))  # so that adaptive weights are not 1
    monkeypatch.setattr(Network, "inventory", property(lambda _: three))
    control = ExtendNER(kd_weight=2.0, adaptive=True, weighting=weighting)
    ours, plain = (each.losses(step.student, step.recalling(each), batch) for each in (method, control))
    assert balance(step.student.inventory) == pytest.approx(math.sqrt(2))
    for one, two in (("dce", "ce"), ("odce", "kd")):
        assert ours[one].total.item() == plain[two].total.item()
        assert ours[one].count.item() == plain[two].count.item() > 0
    assert all(torch.equal(a, b) for a, b in zip(gradients(step, ours), gradients(step, plain), strict=True))


def test_neighbours_do_change_what_is_learned(step: Step) -> None:
    ours, plain = step.losses(CFNER(), range(8)), step.losses(ExtendNER(kd_weight=2.0, weighting="mean"), range(8))
    for one, two in (("dce", "ce"), ("odce", "kd")):
        assert ours[one].count.item() == plain[two].count.item()
        assert abs(ours[one].total.item() - plain[two].total.item()) > 0.01


ONE = TypeInventory().grow(("animal",))
TWO = ONE.grow(("city",))
TARGETS = torch.tensor([[0, 3, 0, 4, 0]])
NEAR = torch.tensor([[[-1, -1], [0, 2], [1, -1], [-1, -1], [2, 1]]])
"""The second word is near the first and third of the neighbouring words, and so on; the first and fourth near none."""


class FixedNetwork:
    """A network with one fixed output for its batch, and another for the neighbours' batch."""

    def __init__(self, inventory: TypeInventory, seed: int, neighbours: Tensor | None = None) -> None:
        self.inventory, self._neighbours = inventory, neighbours
        self.head = SimpleNamespace(num_old=1 + 2 * inventory.num_old)
        features = torch.from_numpy(np.random.RandomState(seed).standard_normal((1, 5, 4)) * 2)
        weight = torch.from_numpy(np.random.RandomState(seed + 1).standard_normal((1 + 2 * len(inventory), 4)))
        self.output = TagOutput(features @ weight.T, features, weight, States.of_words(features))

    def __call__(self, _: Batch) -> TagOutput:
        return self.output

    def forward_eval(self, _: Batch) -> Any:
        return dataclasses.replace(self.output, logits=self._neighbours)


def toy(seed: int, epoch: int = 0) -> tuple[Any, Any, Batch, dict[str, Any]]:
    """Student, teacher and batch, and the same as numpy: p, q over all tags, r over old ones, the teacher's logits."""
    neighbours = torch.from_numpy(np.random.RandomState(seed + 7).standard_normal((1, 3, 5)) * 2)
    student, teacher = FixedNetwork(TWO, seed, neighbours), FixedNetwork(ONE, seed + 3)
    other = Batch(torch.tensor([9]), {}, torch.ones(1, 3, dtype=torch.bool), torch.zeros(1, 3, dtype=torch.long))
    batch = Batch(torch.tensor([0]), {}, TARGETS >= 0, TARGETS, epoch=epoch)
    batch = batch.with_column(Neighbours(NEAR, None, (other,)))
    lent = neighbours[0].numpy()
    rows = [[i for i in row if i >= 0] for row in NEAR[0].tolist()]
    return (
        student,
        teacher,
        batch,
        {
            "p": softmax(student.output.logits[0].numpy()),
            "q": [softmax(lent[i]).mean(0) if i else None for i in rows],
            "r": [softmax(lent[i][:, :3]).mean(0) if i else None for i in rows],
            "z_old": teacher.output.logits[0].numpy(),
        },
    )


def softmax(z: Any) -> Any:
    shifted = np.exp(z - z.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def distilled(n: dict[str, Any], word: int) -> float:
    g = softmax(n["z_old"][word])
    return float((g * (np.log(g) - np.log(n["p"][word, :3]))).sum())


def mixed(n: dict[str, Any], word: int) -> float:
    best = n["z_old"][word].argmax()
    return -math.log((n["p"][word, best] + n["r"][word][best]) / 2 + 1e-10)


@given(seed=st.integers(0, 1000))
def test_neighbours_with_equal_predictions_change_nothing(seed: int) -> None:
    """With q := p the direct effect is cross-entropy, however many neighbours say it."""
    student, teacher, batch, n = toy(seed)
    student._neighbours = student.output.logits[:, [1, 1, 1]]
    term = CFNER(top_k=2).losses(student, teacher, batch)["dce"]
    assert term.total.item() == pytest.approx(-math.log(n["p"][1, 3]) - math.log(n["p"][3, 4]))


def test_the_weight_grows_with_the_past() -> None:
    """CoNLL2003 FG-1-PG-1, steps 2 to 4: 2 * (1, 1.414, 1.732); OntoNotes5 FG-8-PG-2, step 2: 2 * 2."""
    student, teacher, batch, n = toy(0)
    odce = distilled(n, 0) + mixed(n, 2) + mixed(n, 4)
    for sizes, weight in (((1, 1), 2.0), ((1, 1, 1), 2.828), ((1, 1, 1, 1), 3.464), ((8, 2), 4.0)):
        student.inventory = TypeInventory(tuple("abcdefghij"[: sum(sizes)]), sizes)
        adaptive = CFNER(top_k=2).losses(student, teacher, batch)["odce"].total.item()
        assert adaptive == pytest.approx(weight * odce, rel=1e-3)
        assert CFNER(top_k=2, adaptive=False).losses(student, teacher, batch)["odce"].total.item() == pytest.approx(
            2 * odce
        )


# Curriculum


def test_the_confidence_falls_along_a_line_and_rests() -> None:
    published = CFNER(curriculum=True)
    weights = [published.confidence(epoch) for epoch in range(12)]
    assert weights == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0, 0.0, 0.0])
    other = CFNER(curriculum=True, confidence_start=1.0, confidence_end=0.5, confidence_epochs=3)
    assert [other.confidence(epoch) for epoch in range(4)] == [1.0, 0.75, 0.5, 0.5]
    assert CFNER(curriculum=True, confidence_epochs=1).confidence(0) == 0.0
    assert {CFNER().confidence(epoch) for epoch in range(12)} == {0.0}


@given(seed=st.integers(0, 1000), epoch=st.integers(0, 12))
def test_o_words_are_mixed_where_the_student_is_sure(seed: int, epoch: int) -> None:
    student, teacher, batch, n = toy(seed, epoch)
    method = CFNER(top_k=2, kd_weight=1.0, curriculum=True)
    odce = distilled(n, 0)
    for word in (2, 4):
        sure = n["p"][word, :3].max() >= max(0.9 - 0.1 * epoch, 0.0)
        odce += mixed(n, word) if sure else distilled(n, word)
    terms = method.losses(student, teacher, batch)
    assert terms["odce"].total.item() == pytest.approx(odce)
    without = CFNER(top_k=2, kd_weight=1.0).losses(student, teacher, batch)
    assert terms["dce"].total.item() == without["dce"].total.item(), "new types have no curriculum"
    if epoch >= 9:
        assert terms["odce"].total.item() == without["odce"].total.item()


def test_batches_know_the_epoch(tmp_path: Path) -> None:
    """Through training, and from one device to another."""
    seen: list[int] = []
    honest = CFNER.losses

    def listening(self: CFNER, student: Any, teacher: Any, batch: Batch) -> dict[str, LossSum]:
        seen.append(batch.epoch)
        return honest(self, student, teacher, batch)

    settings = ("method.name=cfner", "scenario.corpus.sentences=40", "scenario.order=[location, person]")
    with patch.object(CFNER, "losses", listening):
        run(runs.small(tmp_path, *settings, "optim.epochs=3"), runs.silent)
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2}
    assert dataclasses.replace(toy(0)[2], epoch=4).to(torch.device("cpu")).epoch == 4


# With others


def test_dld_composes_with_it(step: Step) -> None:
    alone = step.losses(CFNER(), range(6))
    wrapped = step.losses(DLD(base=CFNER()), range(6))
    assert wrapped.keys() == alone.keys() | {"dld_positive", "dld_negative"}
    assert all(wrapped[name].total.item() == term.total.item() for name, term in alone.items())
    silent = step.losses(DLD(base=CFNER(), weight_positive=0.0, weight_negative=0.0), range(6))
    assert all(torch.equal(a, b) for a, b in zip(gradients(step, silent), gradients(step, alone), strict=True))


@pytest.mark.parametrize(
    "settings",
    [
        {"kd_weight": -1.0},
        {"top_k": 0},
        {"candidates": -1},
        {"confidence_epochs": 0},
        {"confidence_start": 1.5},
        {"confidence_end": -0.1},
        {"weighting": "entity"},
    ],
    ids=str,
)
def test_settings_out_of_range_are_rejected(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        build(METHODS["cfner"], settings)
