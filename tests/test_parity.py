"""The loss of every published system, recomputed in numpy from its equation: value and gradient on random tensors.

Each system is a function of numpy arrays, written as its paper or its code has it, word by word where that reads best.
The method's own terms, divided by the trainer, must agree with it in float64, and their gradient with the central
differences of that function. What the published code does otherwise on purpose (padding in a mean, 1e-10 inside a
logarithm, a teacher in half precision) is not repeated: each method's docstring lists it.

Shapes: B sentences, T words, C tags (C' old ones), L slots, H width, P spans, E types (E' old ones), S symbols.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit, log_expit, log_softmax, logsumexp, rel_entr, softmax
from torch import Tensor
from torch.func import functional_call

from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.methods.add_ner import AddNER
from raycner.methods.cfner import CFNER, Neighbours
from raycner.methods.contrastive import Contrastive
from raycner.methods.cpfd import CPFD, Thresholds
from raycner.methods.der import DER, RememberedLogits
from raycner.methods.dld import DLD
from raycner.methods.duplet import Duplet, SharedWords
from raycner.methods.extend_ner import ExtendNER
from raycner.methods.finetuning import Finetuning
from raycner.methods.gen_cner import GenCNER, PseudoSymbols
from raycner.methods.ice import ICE
from raycner.methods.lucir import LUCIR
from raycner.methods.method import METHODS, Method
from raycner.methods.podnet import PODNet
from raycner.methods.rdp import RDP, Prototypes
from raycner.methods.self_training import SelfTraining
from raycner.methods.span_kl import SpanKL
from raycner.networks.batch import Batch
from raycner.networks.class_statistics import ClassStatistics
from raycner.networks.encoders.encoder import States, pick
from raycner.networks.heads.cosine import Cosine
from raycner.networks.heads.head import GrowthConfig, Head, HeadConfig
from raycner.networks.heads.linear import Linear
from raycner.networks.heads.seq2seq import Seq2Seq
from raycner.networks.heads.spans import Spans
from raycner.networks.heads.stepwise import Stepwise
from raycner.networks.heads.tag_head import TagOutput
from raycner.networks.heads.triplets import END, NEVER, TripletOutput, Triplets
from raycner.networks.losses import IGNORE
from raycner.training.step_trainer import combine

Array = NDArray[np.float64]
Leaves = dict[str, Array]
Published = Callable[[Leaves], float]

OLD = TypeInventory().grow(("animal", "city"))
NOW = OLD.grow(("food",))
C, C_OLD = 7, 5
"""O, then B and I of each type."""
H = 4
TARGETS = torch.tensor([[0, 5, 6, 0, 0], [0, 0, 5, 0, IGNORE], [5, IGNORE, IGNORE, IGNORE, IGNORE]])
NEW = TARGETS.numpy() >= C_OLD
OUTSIDE = TARGETS.numpy() == 0
LABELLED = TARGETS.numpy() != IGNORE
BATCH = Batch(torch.arange(3), {}, TARGETS != IGNORE, TARGETS)


@dataclass
class System:
    """A published system: its own equation, and ours with the networks that it reads."""

    leaves: Leaves
    """The student's tensors, by which both are differentiated."""
    published: Published
    method: Method[Any]
    student: Callable[[Mapping[str, Tensor]], Any]
    """The output of the student's head."""
    teacher: Any = None
    """The output of the teacher's head."""
    head: Any = None
    batch: Batch = BATCH
    inventory: TypeInventory = NOW
    neighbours: Any = None
    """The output of the student for sentences of neighbours."""
    companion: Any = (lambda _: None, None)
    """The outputs of both for the companion of the batch."""
    statistics: ClassStatistics = field(default_factory=ClassStatistics)
    """What the student has stored of old tags."""

    def loss(self, leaves: Mapping[str, Tensor]) -> Tensor:
        """Our loss, as the trainer differentiates it."""
        of_student, of_teacher = self.companion
        student: Any = Fixed(
            self.student(leaves),
            of_student(leaves),
            self.method,
            self.inventory,
            self.head,
            self.neighbours,
            self.statistics,
        )
        teacher: Any = Fixed(self.teacher, of_teacher, self.method, self.inventory)
        return combine(self.method.losses(student, teacher, self.batch))


@dataclass
class Fixed:
    """A network of one output for the batch, and another for its companion."""

    output: Any
    companion: Any
    method: Method[Any]
    inventory: TypeInventory
    head: Any = None
    neighbours: Any = field(default=None, repr=False)
    statistics: ClassStatistics = field(default_factory=ClassStatistics)

    def __call__(self, batch: Batch) -> Any:
        return self.output if len(batch.targets) == 3 else self.companion

    def forward_eval(self, _: Batch) -> Any:
        return self.neighbours

    def recall(self, name: str, batch: Batch) -> Tensor:
        return self.method.teacher_outputs[name](self(batch))


def normal(seed: int, *shape: int) -> Array:
    return np.random.RandomState(seed).standard_normal(shape) * 1.5


def head_of(config: HeadConfig, width: int = H, *inventories: TypeInventory) -> Head[Any]:
    """A head in float64 that has grown step by step."""
    torch.manual_seed(0)
    head = config.build(width)
    for inventory in inventories or (OLD, NOW):
        head.grow(inventory, GrowthConfig())
    return head.double()


def differences(function: Published, leaves: Leaves, step: float = 1e-6) -> Leaves:
    """The gradient of a function by central differences."""
    gradients: Leaves = {}
    for name, values in leaves.items():
        gradients[name] = np.zeros_like(values)
        for index in np.ndindex(values.shape):
            sides = []
            for sign in (1, -1):
                moved = values.copy()
                moved[index] += sign * step
                sides.append(function({**leaves, name: moved}))
            gradients[name][index] = (sides[0] - sides[1]) / (2 * step)
    return gradients


# Tag systems. Logits are leaves, and so are the features and states that a system distils.


def tag_output(z: Tensor) -> TagOutput:
    states = torch.zeros(*z.shape[:2], H, dtype=z.dtype)
    return TagOutput(z, states, torch.zeros(z.size(-1), H, dtype=z.dtype), States.of_words(states))


def of_logits(seed: int, method: Method[Any], published: Callable[[Array, Array], float], **options: Any) -> System:
    """A system that reads the logits alone: `published(z, z')`."""
    z, z_old = normal(seed, 3, 5, C), normal(seed + 100, 3, 5, C_OLD)
    return System(
        {"z": z},
        lambda leaves: published(leaves["z"], z_old),
        method,
        lambda leaves: tag_output(leaves["z"]),
        tag_output(torch.from_numpy(z_old)),
        **{"head": head_of(Linear()), **options},
    )


def cross_entropies(z: Array, targets: Array, where: NDArray[np.bool_]) -> Array:
    """-log p[y] of each word of `where`."""
    p: Array = softmax(z[where], axis=-1)
    return -np.log(p[np.arange(len(p)), targets[where]])


def divergences(z: Array, z_old: Array, where: NDArray[np.bool_], student: float, teacher: float) -> Array:
    """KL( softmax(z' / T_teacher) || softmax(z / T_student) cut to the old tags ) of each word of `where`."""
    q, s = softmax(z_old[where] / teacher, axis=-1), softmax(z[where] / student, axis=-1)
    return np.asarray(rel_entr(q, s[:, : z_old.shape[-1]]).sum(-1))


Y = TARGETS.numpy()
ROOT = np.sqrt(2 / 1)
"""sqrt(old types / new types)."""
TAG_ROOT = np.sqrt(5 / 2)
"""sqrt(old tags / new tags), O among the old ones."""


def extend_ner(student: float, teacher: float, weight: float = 1.0) -> Callable[[Array, Array], float]:
    """CE on new-type words + weight * KL on O words, each a mean over its own words."""
    return lambda z, z_old: float(
        cross_entropies(z, Y, NEW).mean() + weight * divergences(z, z_old, OUTSIDE, student, teacher).mean()
    )


def of_every_word(z: Array, z_old: Array) -> float:
    """ExtendNER with the same weight for every word."""
    total = cross_entropies(z, Y, NEW).sum() + divergences(z, z_old, OUTSIDE, 1, 1).sum()
    return float(total / LABELLED.sum())


PSEUDO = torch.tensor([[1, 5, 6, 3, 4], [0, 0, 5, 1, IGNORE], [5, IGNORE, IGNORE, IGNORE, IGNORE]])
"""The same sentences with the teacher's entities."""


def ce_of(targets: Tensor) -> Callable[[Array, Array], float]:
    labels = targets.numpy()
    return lambda z, _: float(cross_entropies(z, labels, labels != IGNORE).mean())


def tag_systems(seed: int) -> Iterator[tuple[str, System]]:
    yield "finetuning", of_logits(seed, Finetuning(), ce_of(TARGETS))
    pseudo = Batch(torch.arange(3), {}, PSEUDO != IGNORE, PSEUDO)
    yield "self_training, entities", of_logits(seed, SelfTraining(), ce_of(PSEUDO), batch=pseudo)
    versions = {"paper": (2, 2), "CFNER code": (2, 1), "SpanKL code": (1, 1), "as Self-Training": (2, 0.01)}
    for name, (student, teacher) in versions.items():
        method = ExtendNER(weighting="mean", student_temperature=student, teacher_temperature=teacher)
        yield f"extend_ner, {name}", of_logits(seed, method, extend_ner(student, teacher))
    yield "extend_ner, every word alike", of_logits(seed, ExtendNER(), of_every_word)
    control = ExtendNER(weighting="mean", kd_weight=2, adaptive=True)
    yield "extend_ner, CFNER's weights", of_logits(seed, control, extend_ner(1, 1, 2 * ROOT))
    yield "extend_ner, on the cosine head", on_the_cosine_head(seed)
    yield "ice", of_logits(seed, ICE(), ice)
    yield "seq_star, rows of all types", rows_of_all_types(seed)
    yield "is3", is3(seed)


def ice(z: Array, _: Array) -> float:
    """CE of O words and new words, in the softmax over O and the new tags."""
    own = np.concatenate([z[..., :1], z[..., C_OLD:]], axis=-1)
    return float(cross_entropies(own, np.where(NEW, Y - C_OLD + 1, 0), LABELLED).mean())


def rows_of_all_types(seed: int) -> System:
    """CE in the softmax over the tags so far and those of two types to come."""
    head = head_of(Linear(preallocate=5))
    leaves = {"states": normal(seed, 3, 5, H), "rows": normal(seed + 1, C, H + 1), "spare": normal(seed + 2, 4, H + 1)}

    def published(leaves: Leaves) -> float:
        f = np.concatenate([leaves["states"], np.ones((3, 5, 1))], axis=-1)
        z = f @ np.concatenate([leaves["rows"], leaves["spare"]]).T
        return float(cross_entropies(z, Y, LABELLED).mean())

    def student(leaves: Mapping[str, Tensor]) -> Any:
        rows = {name: leaves[name] for name in ("rows", "spare")}
        return functional_call(head, rows, (States.of_words(leaves["states"]), BATCH))

    return System(leaves, published, Finetuning(), student, head=head)


def is3(seed: int) -> System:
    """CE on new words + 2 KL on O words + 0.1 CE of prototypes; the first reaches old rows with 0.6 of its gradient.

    The fourth of the old tags has no prototype: its step had no word with it.
    """
    head, z_old = head_of(Linear()), normal(seed + 2, 3, 5, C_OLD)
    prototypes, of_tags = unit(normal(seed + 3, 3, H)), np.array([1, 2, 3])
    leaves = {"states": normal(seed, 3, 5, H), "rows": normal(seed + 1, C, H + 1)}
    start = leaves["rows"]

    def published(leaves: Leaves) -> float:
        f = np.concatenate([leaves["states"], np.ones((3, 5, 1))], axis=-1)
        damped = leaves["rows"].copy()
        damped[1:C_OLD] = start[1:C_OLD] + 0.6 * (leaves["rows"] - start)[1:C_OLD]
        ce = cross_entropies(f @ damped.T, Y, NEW).mean()
        kd = divergences(f @ leaves["rows"].T, z_old, OUTSIDE, 1, 1).mean()
        z_prototypes = prototypes @ leaves["rows"][:, :-1].T + leaves["rows"][:, -1]
        rehearsed = cross_entropies(z_prototypes, of_tags, np.full(3, True)).mean()
        return float(ce + 2 * kd + 0.1 * rehearsed)

    def student(leaves: Mapping[str, Tensor]) -> Any:
        return functional_call(head, {"rows": leaves["rows"]}, (States.of_words(leaves["states"]), BATCH))

    method = ExtendNER(weighting="mean", kd_weight=2, old_row_gradient=0.6, prototype_weight=0.1)
    by_tag = dict(zip([head.tags[tag] for tag in of_tags], torch.from_numpy(prototypes), strict=True))
    statistics = ClassStatistics(prototypes=by_tag)
    return System(leaves, published, method, student, tag_output(torch.from_numpy(z_old)), head, statistics=statistics)


def on_the_cosine_head(seed: int) -> System:
    """z = scale * < F^, W / |W| >, F^ scaled to unit norm along the padded sentence, as the CFNER code has it."""
    head = head_of(Cosine(norm_axis="sequence", scale=1.0))
    slots, weight, z_old = normal(seed, 3, 7, H), normal(seed + 1, C, H), normal(seed + 2, 3, 5, C_OLD)
    starts = torch.tensor([[1, 2, 3, 4, 5], [1, 3, 4, 5, -1], [2, -1, -1, -1, -1]])

    def published(leaves: Leaves) -> float:
        f = leaves["slots"] / np.sqrt((leaves["slots"] ** 2).sum(1, keepdims=True))
        w = leaves["rows"] / np.sqrt((leaves["rows"] ** 2).sum(1, keepdims=True))
        z = np.zeros((3, 5, C))
        for b, t in zip(*LABELLED.nonzero(), strict=True):
            z[b, t] = leaves["scale"] * (w @ f[b, starts[b, t]])
        return extend_ner(2, 1)(z, z_old)

    def student(leaves: Mapping[str, Tensor]) -> Any:
        states = States(pick(leaves["slots"], starts), leaves["slots"], (leaves["slots"],), starts)
        parameters = {"rows": leaves["rows"], "scale": leaves["scale"]}
        return functional_call(head, parameters, (states, BATCH))

    method = ExtendNER(weighting="mean", student_temperature=2)
    leaves = {"slots": slots, "rows": weight, "scale": np.asarray(3.0)}
    return System(leaves, published, method, student, tag_output(torch.from_numpy(z_old)), head)


# Systems that distil features


def unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.sqrt((vectors**2).sum(-1, keepdims=True)))


def feature_systems(seed: int) -> Iterator[tuple[str, System]]:
    for top in (1, 2):
        yield f"lucir, K {top}", lucir(seed, top)
    yield "podnet, published", podnet(seed, PODNet(nca="cancelled", spatial_gradient=False))
    yield "podnet", podnet(seed, PODNet(scale=2.0, flat_weight=3.0, spatial_weight=5.0))


def with_states(z: Tensor, layers: Tensor) -> TagOutput:
    """The output of a head over words that are the slots behind the first one."""
    starts = torch.arange(1, 1 + z.size(1)).expand(z.shape[:2])
    states = States(pick(layers[-1], starts), layers[-1], tuple(layers), starts)
    return TagOutput(z, states.words, torch.zeros(z.size(-1), H, dtype=z.dtype), states)


def lucir(seed: int, top: int) -> System:
    states, states_old = normal(seed + 1, 1, 3, 6, H), normal(seed + 2, 1, 3, 6, H)

    def published(leaves: Leaves) -> float:
        z, f, f_old = leaves["z"], leaves["layers"][-1][:, 1:][OUTSIDE], states_old[-1][:, 1:][OUTSIDE]
        feature = (1 - (unit(f) * unit(f_old)).sum(-1)).mean()
        rivals = np.sort(z[OUTSIDE][:, C_OLD:])[:, ::-1][:, :top]
        margin = np.maximum(0, 0.5 - z[OUTSIDE][:, :1] + rivals).mean()
        return float(cross_entropies(z, Y, NEW).mean() + 50 * TAG_ROOT * feature + 1 * margin)

    teacher = with_states(torch.zeros(3, 5, C_OLD, dtype=torch.float64), torch.from_numpy(states_old))
    leaves = {"z": normal(seed, 3, 5, C), "layers": states}
    student = lambda leaves: with_states(leaves["z"], leaves["layers"])  # noqa: E731
    return System(leaves, published, LUCIR(top=top), student, teacher, SimpleNamespace(num_old=C_OLD))


def podnet(seed: int, method: PODNet) -> System:
    leaves, layers_old = (
        {"z": normal(seed, 3, 5, C), "layers": normal(seed + 1, 3, 3, 6, H)},
        normal(seed + 2, 3, 3, 6, H),
    )
    at_start = leaves["layers"]

    def nca(z: Array, y: int) -> float:
        if method.nca == "margin":  # of the paper
            others = logsumexp(method.scale * np.delete(z, y))
            return float(max(0, others - method.scale * (z[y] - method.margin)))
        s = method.scale * (z - method.margin)  # of the code: the margin is off every tag
        s = s - s.max()
        return float(-s[y] + np.log(np.exp(np.delete(s, y)).sum() + 1))

    def published(leaves: Leaves) -> float:
        z, layers = leaves["z"], leaves["layers"]
        ce = np.mean([nca(row, y) for row, y in zip(z[NEW], Y[NEW], strict=True)])
        f, f_old = layers[-1][:, 1:][OUTSIDE], layers_old[-1][:, 1:][OUTSIDE]
        flat = (1 - (unit(f) * unit(f_old)).sum(-1)).mean()
        if not method.spatial_gradient:
            layers = at_start
        sums, sums_old = (unit(each[:, :, 1:][:, OUTSIDE]).sum(-1) for each in (layers, layers_old))
        spatial = np.abs(sums - sums_old).mean()
        return float(ce + method.flat_weight * TAG_ROOT * flat + method.spatial_weight * spatial)

    teacher = with_states(torch.zeros(3, 5, C_OLD, dtype=torch.float64), torch.from_numpy(layers_old))
    student = lambda leaves: with_states(leaves["z"], leaves["layers"])  # noqa: E731
    return System(leaves, published, method, student, teacher, SimpleNamespace(num_old=C_OLD))


# CFNER

M = 4
NEAR = torch.tensor(
    [
        [[-1, -1], [0, 2], [-1, -1], [1, 3], [-1, -1]],
        [[2, -1], [-1, -1], [3, 1], [0, 1], [-1, -1]],
        [[1, 0], [-1, -1], [-1, -1], [-1, -1], [-1, -1]],
    ]
)
"""The neighbours of each word, among M; -1 for none. O words that have some are those of a confident teacher."""


def cfner(seed: int, method: CFNER, epoch: int = 0) -> System:
    lent = normal(seed + 3, M, C)
    threshold = max(0.9 - 0.1 * epoch, 0.0) if method.curriculum else 0.0

    def published(z: Array, z_old: Array) -> float:
        dce, odce = [], []
        for b, t in zip(*LABELLED.nonzero(), strict=True):
            p, y, near = softmax(z[b, t]), Y[b, t], [i for i in NEAR[b, t].tolist() if i >= 0]
            if y >= C_OLD:
                q = np.mean([softmax(lent[i])[y] for i in near]) if near else p[y]
                dce.append(-np.log((p[y] + q) / 2))
            elif near and p[:C_OLD].max() >= threshold:
                best = z_old[b, t].argmax()
                r = np.mean([softmax(lent[i][:C_OLD])[best] for i in near])
                odce.append(-np.log((p[best] + r) / 2))
            else:
                odce.append(rel_entr(softmax(z_old[b, t]), p[:C_OLD]).sum())
        if method.weighting == "word":
            return float((np.sum(dce) + 2 * ROOT * np.sum(odce)) / LABELLED.sum())
        return float(np.mean(dce) + 2 * ROOT * np.mean(odce))

    other = Batch(torch.tensor([9]), {}, torch.ones(1, M, dtype=torch.bool), torch.zeros(1, M, dtype=torch.long))
    batch = Batch(torch.arange(3), {}, TARGETS != IGNORE, TARGETS, epoch=epoch)
    batch = batch.with_column(Neighbours(NEAR, None, (other,)))
    return of_logits(seed, method, published, batch=batch, neighbours=tag_output(torch.from_numpy(lent)[None]))


def neighbour_systems(seed: int) -> Iterator[tuple[str, System]]:
    yield "cfner", cfner(seed, CFNER(top_k=2))
    yield "cfner, every word alike", cfner(seed, CFNER(top_k=2, weighting="word"))
    for epoch in (0, 6, 9):
        yield f"cfner, curriculum, epoch {epoch}", cfner(seed, CFNER(top_k=2, curriculum=True), epoch)


# DLD

DECOMPOSED: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "product": lambda f, w: (np.maximum(f * w, 0).sum(-1), np.minimum(f * w, 0).sum(-1)),
    "weight": lambda f, w: ((f * np.maximum(w, 0)).sum(-1), (f * np.minimum(w, 0)).sum(-1)),
}
"""z+ and z- of features [..., 1, H] and weight [C, H]: the product of all four axes is built."""


def bernoulli(z: Array, z_old: Array) -> Array:
    """BCE(s(z), s(z')), averaged over the old tags."""
    q = expit(z_old)
    return np.asarray(-(q * log_expit(z) + (1 - q) * log_expit(-z)).mean(-1))


def dld(seed: int, decomposition: Any, form: Any, words: Any) -> System:
    features_old, weight_old = normal(seed + 2, 3, 5, H), normal(seed + 3, C_OLD, H)
    where = OUTSIDE if words == "outside" else LABELLED

    def published(leaves: Leaves) -> float:
        f, w = leaves["features"], leaves["weight"]
        parts = DECOMPOSED[decomposition](f[..., None, :], w)
        parts_old = DECOMPOSED[decomposition](features_old[..., None, :], weight_old)
        loss = extend_ner(2, 1)(f @ w.T, features_old @ weight_old.T)
        for z, z_old in zip(parts, parts_old, strict=True):
            each = {
                "kl": lambda z=z, z_old=z_old: divergences(z, z_old, where, 1, 1),
                "mse": lambda z=z, z_old=z_old: ((z[where][:, :C_OLD] - z_old[where]) ** 2).mean(-1),
                "bce": lambda z=z, z_old=z_old: bernoulli(z[where][:, :C_OLD], z_old[where]),
            }
            loss += 2 * float(each[form]().mean())
        return loss

    def output(features: Tensor, weight: Tensor) -> TagOutput:
        return TagOutput(features @ weight.T, features, weight, States.of_words(features))

    method = DLD(
        base=ExtendNER(weighting="mean", student_temperature=2),
        weight_positive=2,
        weight_negative=2,
        decomposition=decomposition,
        form=form,
        words=words,
    )
    leaves = {"features": normal(seed, 3, 5, H), "weight": normal(seed + 1, C, H)}
    teacher = output(torch.from_numpy(features_old), torch.from_numpy(weight_old))
    student = lambda leaves: output(leaves["features"], leaves["weight"])  # noqa: E731
    return System(leaves, published, method, student, teacher, SimpleNamespace(num_old=C_OLD))


def decomposed_systems(seed: int) -> Iterator[tuple[str, System]]:
    for decomposition, form, words in (
        ("product", "kl", "outside"),
        ("product", "mse", "all"),
        ("weight", "bce", "outside"),
    ):
        yield f"dld, {decomposition}, {form}, {words}", dld(seed, decomposition, form, words)


# Duplet


def duplet(seed: int) -> System:
    """ExtendNER on sentences and on their twins, which lack the new entities, and the consistency of old words."""
    z_old, z_twin_old = normal(seed + 2, 3, 5, C_OLD), normal(seed + 3, 2, 3, C_OLD)
    words = [(0, 0), (0, 3), (0, 4), (1, 0), (1, 1), (1, 3)]
    twin_words = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    nowhere = np.zeros((2, 3), dtype=bool)

    def published(leaves: Leaves) -> float:
        z, z_twin = leaves["z"], leaves["z_twin"]
        twin = cross_entropies(z_twin, np.zeros((2, 3), dtype=int), nowhere).sum()
        twin += divergences(z_twin, z_twin_old, ~nowhere, 1, 1).mean()
        apart = [
            ((softmax(z[i]) - softmax(z_twin[j])) ** 2).sum()
            for i, j in zip(words, twin_words, strict=True)
            if z_twin_old[j].argmax() != 0
        ]
        return float(extend_ner(1, 1)(z, z_old) + twin + 0.5 * np.mean(apart))

    companion = Batch(torch.arange(2), {}, torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.long))
    batch = replace(BATCH, companion=companion)
    shared = SharedWords(
        *((torch.tensor([w[0] for w in each]), torch.tensor([w[1] for w in each])) for each in (words, twin_words))
    )
    return System(
        {"z": normal(seed, 3, 5, C), "z_twin": normal(seed + 1, 2, 3, C)},
        published,
        Duplet(base=ExtendNER(weighting="mean"), consistency_weight=0.5),
        lambda leaves: tag_output(leaves["z"]),
        tag_output(torch.from_numpy(z_old)),
        head_of(Linear()),
        batch.with_column(shared),
        companion=(lambda leaves: tag_output(leaves["z_twin"]), tag_output(torch.from_numpy(z_twin_old))),
    )


def twin_systems(seed: int) -> Iterator[tuple[str, System]]:
    yield "duplet", duplet(seed)


# The contrast of words


def contrastive(seed: int, *, outside: bool) -> System:
    """CE on all words, and supervised contrast of the words of each class and, by a threshold, of O words."""
    z_old = normal(seed + 2, 3, 5, C_OLD)
    p_old = softmax(z_old, axis=-1)
    pseudo = np.where(p_old.max(-1) >= 0.6, p_old.argmax(-1), 0)
    classes = np.where(OUTSIDE, pseudo, Y)[LABELLED]

    def published(leaves: Leaves) -> float:
        u = unit(leaves["states"][LABELLED])
        cosine = u @ u.T
        members = [u[classes == kind] for kind in range(1, C)]
        tau = np.median([(own @ unit(own.mean(0))).min() for own in members if len(own) > 1])
        terms = []
        for i, kind in enumerate(classes):
            others = [j for j in range(len(u)) if j != i]
            positive = [j for j in others if classes[j] == kind and (kind > 0 or cosine[i, j] > tau)]
            against = others if kind > 0 else positive + [j for j in others if classes[j] > 0]
            if positive and (kind > 0 or outside):
                each = cosine[i, positive] / 0.2 - logsumexp(cosine[i, against] / 0.2)
                terms.append(-each.mean())
        return float(cross_entropies(leaves["z"], Y, LABELLED).mean() + 0.3 * np.mean(terms))

    def student(leaves: Mapping[str, Tensor]) -> TagOutput:
        return replace(tag_output(leaves["z"]), source=States.of_words(leaves["states"]))

    return System(
        {"z": normal(seed, 3, 5, C), "states": normal(seed + 1, 3, 5, H)},
        published,
        Contrastive(base=Finetuning(), weight=0.3, temperature=0.2, confidence=0.6, outside=outside),
        student,
        tag_output(torch.from_numpy(z_old)),
        head_of(Linear()),
    )


def contrastive_systems(seed: int) -> Iterator[tuple[str, System]]:
    yield "ocilner, entities", contrastive(seed, outside=False)
    yield "ocilner, entities and O", contrastive(seed, outside=True)


# Remembered logits


def der(seed: int) -> System:
    """CE on all words, and the mean square of what remembered logits have moved, over the tags of their step."""
    h = np.full((3, 5, C_OLD), np.nan)
    h[1, :4], h[2, :1, :3] = normal(seed + 2, 4, C_OLD), normal(seed + 3, 1, 3)  # two steps, of 5 and 3 tags

    def published(leaves: Leaves) -> float:
        z = leaves["z"]
        moved = [((z[1, t, :5] - h[1, t]) ** 2).mean() for t in range(4)]
        moved.append(((z[2, 0, :3] - h[2, 0, :3]) ** 2).mean())
        return float(cross_entropies(z, Y, LABELLED).mean() + 0.25 * np.mean(moved))

    return System(
        {"z": normal(seed, 3, 5, C)},
        published,
        DER(base=Finetuning(), logit_weight=0.25),
        lambda leaves: tag_output(leaves["z"]),
        head=head_of(Linear()),
        batch=BATCH.with_column(RememberedLogits(torch.from_numpy(h))),
    )


def memory_systems(seed: int) -> Iterator[tuple[str, System]]:
    yield "der", der(seed)


# Pseudo-labels of words: RDP and CPFD


def rdp(seed: int, method: RDP) -> System:
    """CE on pseudo-labels by prototypes, KD on O words, soft targets and entropy on all words."""
    states, means = normal(seed + 2, 3, 5, H), normal(seed + 3, C_OLD, H)

    def published(z: Array, z_old: Array) -> float:
        p, p_old = softmax(z, axis=-1), softmax(z_old, axis=-1)
        distance = np.linalg.norm(states[:, :, None] - means, axis=-1)  # [B, T, C']
        near = softmax(-distance, axis=-1) if method.prototypes == "mean" else 1.0
        labels = np.where(OUTSIDE, (near * p_old).argmax(-1), Y)
        new = np.eye(C)[np.maximum(Y, 0)][..., C_OLD:]
        soft = softmax(np.concatenate([expit(z_old), new], axis=-1), axis=-1)
        ce = cross_entropies(z, labels, LABELLED).mean()
        kd = divergences(z, z_old, OUTSIDE, 1, 1).mean()
        s = -(soft * np.log(p)).mean(-1)[LABELLED].mean()
        h = -(p * np.log(p)).mean(-1)[LABELLED].mean()
        return float(ce + 2 * kd + 0.3 * s + 0.1 * h)

    system = of_logits(seed, method, published)
    words = States.of_words(torch.from_numpy(states))
    teacher = TagOutput(system.teacher.logits, words.words, system.teacher.weight, words)
    batch = BATCH.with_column(Prototypes(torch.from_numpy(means)))
    return replace(system, teacher=teacher, batch=batch)


def cpfd(seed: int) -> System:
    """CE on the words that the teacher labels with less than the usual entropy, and KD on O words."""
    limits = np.asarray([np.inf, 0.9, 0.8, 0.95, 0.85])

    def published(z: Array, z_old: Array) -> float:
        p_old = softmax(z_old, axis=-1)
        entropies = -(p_old * np.log(p_old)).sum(-1) / np.log(C_OLD)
        best = p_old.argmax(-1)
        certain = OUTSIDE & (entropies <= limits[best])
        labels = np.where(OUTSIDE, best, Y)
        total = 0.0
        for b, t in zip(*(certain | NEW).nonzero(), strict=True):
            a = certain[b].sum() / max(OUTSIDE[b].sum(), 1)
            is_old = certain[b] & (best[b] > 0)
            boost = 0.5 + expit(is_old.sum() / max(NEW[b].sum(), 1)) if is_old[t] else 1.0
            total += a * boost * -np.log(softmax(z[b, t])[labels[b, t]])
        ce = total / (certain | NEW).sum()
        return float(ce + 2 * ROOT * divergences(z, z_old, OUTSIDE, 1, 1).mean())

    batch = BATCH.with_column(Thresholds(torch.from_numpy(limits)))
    return of_logits(seed, CPFD(), published, batch=batch)


def pseudo_label_systems(seed: int) -> Iterator[tuple[str, System]]:
    yield "rdp", rdp(seed, RDP())
    yield "rdp, no prototypes", rdp(seed, RDP(prototypes="none"))
    yield "cpfd", cpfd(seed)


# AddNER

BLOCKS = (slice(0, 5), slice(5, 8))
"""Two types and one, each with an O of its own."""


def add_ner(seed: int, temperature: float) -> System:
    targets = torch.tensor([[0, 6, 7, 0, 0], [0, 0, 6, 0, IGNORE], [6, IGNORE, IGNORE, IGNORE, IGNORE]])
    labels = np.maximum(targets.numpy() - 5, 0)

    def published(z: Array, z_old: Array) -> float:
        """CE inside the newest block on all words + KL of every older block on all words, padding apart."""
        ce = cross_entropies(z[..., BLOCKS[1]], labels, LABELLED).mean()
        kd = divergences(z[..., BLOCKS[0]], z_old, LABELLED, temperature, temperature).mean()
        return float(ce + kd)

    head = head_of(Stepwise())
    z, z_old = normal(seed, 3, 5, 8), normal(seed + 1, 3, 5, 5)
    student = lambda leaves: SimpleNamespace(logits=leaves["z"], blocks=head.blocks)  # noqa: E731
    return System(
        {"z": z},
        lambda leaves: published(leaves["z"], z_old),
        AddNER(temperature=temperature),
        student,
        SimpleNamespace(logits=torch.from_numpy(z_old)),
        head,
        Batch(torch.arange(3), {}, targets != IGNORE, targets),
        OLD,
    )


def stepwise(seed: int) -> System:
    """The first step: one block, a linear layer over the states."""
    head = head_of(Stepwise(), H, OLD)
    states = normal(seed, 3, 5, H)
    targets = TARGETS.where(TARGETS < C_OLD, TARGETS - 2)

    def published(leaves: Leaves) -> float:
        z = leaves["states"] @ leaves["rows"][:, :-1].T + leaves["rows"][:, -1]
        return float(cross_entropies(z, targets.numpy(), LABELLED).mean())

    def student(leaves: Mapping[str, Tensor]) -> Any:
        return functional_call(head, {"rows": leaves["rows"]}, (States.of_words(leaves["states"]), BATCH))

    leaves = {"states": states, "rows": normal(seed + 1, C_OLD, H + 1)}
    batch = Batch(torch.arange(3), {}, TARGETS != IGNORE, targets)
    return System(leaves, published, Finetuning(), student, head=head, batch=batch)


def stepwise_systems(seed: int) -> Iterator[tuple[str, System]]:
    yield "stepwise, first step", stepwise(seed)
    yield "add_ner, SpanKL code", add_ner(seed, 1.0)
    yield "add_ner, paper", add_ner(seed, 2.0)


# SpanKL

K = 3
ENTITIES = [{Entity(0, 2, "food"), Entity(4, 5, "food")}, {Entity(1, 2, "food")}, set()]
SENTENCES = [
    Sentence(i, tuple("abcde"[:length]), frozenset(entities))
    for i, (length, entities) in enumerate(zip((5, 4, 1), ENTITIES, strict=True))
]


def span_scores(states: Array, rows: Array, i: int, j: int) -> Array:
    """[E] < S_e(i), E_e(j) > / sqrt(K), each vector a linear function of its word's state."""
    w = rows.reshape(len(rows), 2, K, H + 1)
    start, end = (w[:, side, :, :H] @ states[word] + w[:, side, :, H] for side, word in ((0, i), (1, j)))
    return np.asarray((start * end).sum(-1) / np.sqrt(K))


def span_kl(seed: int, method: Method[Any], *, distil: bool) -> System:
    head, teacher_head = head_of(Spans(vector=K)), head_of(Spans(vector=K), H, OLD)
    states_old, rows_old = normal(seed + 2, 3, 5, H), normal(seed + 3, 2, 2 * K * (H + 1))

    def published(leaves: Leaves) -> float:
        """BCE of the new types and KL of the old ones: a mean over types, summed over spans, a mean over sentences."""
        first = 2 if distil else 0
        loss = 0.0
        for b, sentence in enumerate(SENTENCES):
            for j in range(len(sentence.words)):
                for i in range(j + 1):
                    z = span_scores(leaves["states"][b], leaves["rows"], i, j)
                    y = np.array([Entity(i, j + 1, kind) in sentence.entities for kind in NOW.types])
                    bce = -np.where(y, log_expit(z), log_expit(-z))
                    loss += bce[first:].mean()
                    if distil:
                        z_old = span_scores(states_old[b], rows_old, i, j)
                        yes = rel_entr(expit(z_old), expit(z[:2]))
                        no = rel_entr(expit(-z_old), expit(-z[:2]))
                        loss += (yes + no).mean()
        return float(loss / len(SENTENCES))

    targets = head.targets(SENTENCES)
    batch = Batch(torch.arange(3), {}, TARGETS != IGNORE, targets)

    def scored(head: Head[Any], states: Tensor, rows: Tensor) -> Any:
        return functional_call(head, {"rows": rows}, (States.of_words(states), batch))

    leaves = {"states": normal(seed, 3, 5, H), "rows": normal(seed + 1, 3, 2 * K * (H + 1))}
    teacher = scored(teacher_head, torch.from_numpy(states_old), torch.from_numpy(rows_old))
    student = lambda leaves: scored(head, leaves["states"], leaves["rows"])  # noqa: E731
    return System(leaves, published, method, student, teacher, head, batch)


def span_systems(seed: int) -> Iterator[tuple[str, System]]:
    yield "spans, first step and Non-CL", span_kl(seed, Finetuning(), distil=False)
    yield "span_kl", span_kl(seed, SpanKL(), distil=True)


# GenCNER

SYMBOLS = torch.tensor([[1, 1, 3, 2, 2, 5, END], [1, 2, 5, END, *[IGNORE] * 3], [END, *[IGNORE] * 6]])
"""Two words a sentence: symbols are END, the words 1 and 2, the old types 3 and 4, the new type 5."""
TAUGHT = torch.tensor([[True] * 3 + [False] * 4, [False] * 7, [False] * 7])


def gen_cner(seed: int, method: GenCNER) -> System:
    z_old = normal(seed + 1, 3, 7, 5)
    pseudo, real, labels = TAUGHT.numpy(), SYMBOLS.numpy() != IGNORE, SYMBOLS.numpy()
    begins = real & (np.arange(7) % 3 == 0) if method.hold == "begins" else pseudo

    def published(leaves: Leaves) -> float:
        """CE on gold symbols and END, KL on pseudo symbols (and where triplets begin): all symbols weigh the same."""
        ce = cross_entropies(leaves["z"], labels, real if method.supervise == "all" else real & ~pseudo)
        kd = divergences(leaves["z"], z_old, pseudo | begins, method.temperature, method.temperature)
        return float((ce.sum() + method.kd_weight * kd.sum()) / real.sum())

    distilled = torch.from_numpy(pseudo | begins)
    logits = torch.from_numpy(z_old).masked_fill(~distilled[..., None], NEVER)
    batch = Batch(torch.arange(3), {}, torch.ones(3, 2, dtype=torch.bool), SYMBOLS)
    batch = batch.with_column(PseudoSymbols(TAUGHT, distilled, logits))
    student = lambda leaves: TripletOutput(leaves["z"])  # noqa: E731
    return System({"z": normal(seed, 3, 7, 6)}, published, method, student, batch=batch)


def triplet_systems(seed: int) -> Iterator[tuple[str, System]]:
    yield "gen_cner", gen_cner(seed, GenCNER())
    yield "gen_cner, held where triplets begin", gen_cner(seed, GenCNER(hold="begins"))
    yield "gen_cner, all supervised", gen_cner(seed, GenCNER(supervise="all", temperature=2.0, kd_weight=2.5))
    head = head_of(Triplets(attention_heads=2))
    labels, z = SYMBOLS.numpy(), normal(seed, 3, 7, 6)
    yield (
        "triplets, first step",
        System(
            {"z": z},
            lambda leaves: float(cross_entropies(leaves["z"], labels, labels != IGNORE).mean()),
            Finetuning(),
            lambda leaves: TripletOutput(leaves["z"]),
            head=head,
            batch=Batch(torch.arange(3), {}, torch.ones(3, 2, dtype=torch.bool), SYMBOLS),
        ),
    )


# Seq2Seq


def seq2seq(seed: int, start: Any) -> System:
    """An attention decoder: z = W relu(V [s ; c] + v) + b of each word, given the tag of the word before."""
    width = 6
    head = head_of(Seq2Seq(start=start), width, OLD, NOW)
    n = {name: parameter.detach().numpy() for name, parameter in head.named_parameters()}
    half = width // 2

    def published(leaves: Leaves) -> float:
        losses = []
        for words, targets in zip(leaves["states"], Y, strict=True):
            labels = [y for y in targets.tolist() if y != IGNORE]
            memory = words[: len(labels)]
            s = memory[-1, :half] if start == "forward" else memory[0, half:]
            cell, previous = np.zeros(half), -1
            for i, y in enumerate(labels):
                attention = softmax((memory @ n["key.weight"].T + n["key.bias"]) @ s)
                c = attention @ memory
                x = np.concatenate([leaves["labels"][previous + 1], c, memory[i]])
                gates = n["cell.weight_ih"] @ x + n["cell.bias_ih"] + n["cell.weight_hh"] @ s + n["cell.bias_hh"]
                inward, forget, new, outward = np.split(gates, 4)
                cell = expit(forget) * cell + expit(inward) * np.tanh(new)
                s = expit(outward) * np.tanh(cell)
                f = np.maximum(n["mix.weight"] @ np.concatenate([s, c]) + n["mix.bias"], 0)
                z = leaves["rows"][:, :-1] @ f + leaves["rows"][:, -1]
                losses.append(-log_softmax(z)[y])
                previous = y
        return float(np.mean(losses))

    def student(leaves: Mapping[str, Tensor]) -> Any:
        given = {"rows": leaves["rows"], "labels": leaves["labels"]}
        return functional_call(head, given, (States.of_words(leaves["states"]), BATCH))

    leaves = {
        "states": normal(seed, 3, 5, width),
        "rows": normal(seed + 1, C, half + 1),
        "labels": normal(seed + 2, 1 + C, half),
    }
    return System(leaves, published, Finetuning(), student, head=head)


def tagger(seed: int) -> System:
    """z = W relu(V f + v) + b, the tagger of the code: CE on all words."""
    head = head_of(Linear(hidden=3))
    n = {name: parameter.detach().numpy() for name, parameter in head.named_parameters()}

    def published(leaves: Leaves) -> float:
        f = np.maximum(leaves["states"] @ n["hidden.weight"].T + n["hidden.bias"], 0)
        z = f @ leaves["rows"][:, :-1].T + leaves["rows"][:, -1]
        return float(cross_entropies(z, Y, LABELLED).mean())

    def student(leaves: Mapping[str, Tensor]) -> Any:
        return functional_call(head, {"rows": leaves["rows"]}, (States.of_words(leaves["states"]), BATCH))

    leaves = {"states": normal(seed, 3, 5, H), "rows": normal(seed + 1, C, 4)}
    return System(leaves, published, Finetuning(), student, head=head)


def decoder_systems(seed: int) -> Iterator[tuple[str, System]]:
    yield "blstm, code", tagger(seed)
    yield "seq2seq, paper", seq2seq(seed, "forward")
    yield "seq2seq, code", seq2seq(seed, "backward")


FAMILIES = (
    tag_systems,
    feature_systems,
    neighbour_systems,
    decomposed_systems,
    twin_systems,
    contrastive_systems,
    memory_systems,
    pseudo_label_systems,
    stepwise_systems,
    span_systems,
    triplet_systems,
    decoder_systems,
)
SYSTEMS = [
    pytest.param(system, id=f"{name}-{seed}")
    for seed in (0, 1)
    for each in FAMILIES
    for name, system in each(10 * seed)
]


@pytest.mark.parametrize("system", SYSTEMS)
def test_value_and_gradient_are_those_of_the_published_equation(system: System) -> None:
    leaves = {name: torch.tensor(values, requires_grad=True) for name, values in system.leaves.items()}
    loss = system.loss(leaves)
    assert loss.item() == pytest.approx(system.published(system.leaves), rel=1e-5)
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    expected = differences(system.published, system.leaves)
    for name, gradient in zip(leaves, gradients, strict=True):
        scale = float(np.abs(expected[name]).max())
        np.testing.assert_allclose(gradient.numpy(), expected[name], rtol=1e-5, atol=1e-5 * scale, err_msg=name)
        assert scale > 0, f"{name} has no gradient, so nothing was compared"


def test_every_method_has_a_system() -> None:
    compared = {type(parameter.values[0].method) for parameter in SYSTEMS}
    assert compared >= {kind for kind in METHODS.values() if kind.__module__.startswith("raycner.")}
