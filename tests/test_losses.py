"""Every divergence against plain numpy, its gradient against differences, and what must hold of it exactly."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, log_expit
from torch import Tensor

from raycner.networks import losses
from raycner.networks.losses import IGNORE, LossSum

B, T, C, OLD, H = 2, 4, 5, 3, 7
Array = NDArray[np.float64]
WHERE = torch.tensor([[True, False, True, True], [False, True, False, False]])
NOWHERE = torch.zeros(B, T, dtype=torch.bool)
temperatures = st.floats(0.25, 4)
seeds = st.integers(0, 1000)


def normal(seed: int, *shape: int, grad: bool = False) -> Tensor:
    drawn = torch.from_numpy(np.random.RandomState(seed).standard_normal(shape) * 2)
    return drawn.requires_grad_(grad)


def softmax(z: Array) -> Array:
    shifted = np.exp(z - z.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def value(mean: LossSum) -> float:
    return float(mean.total.detach())


def both(seed: int, grad: bool = False) -> tuple[Tensor, Tensor, Array, Array]:
    """Student and teacher logits, and those of them that WHERE selects as numpy sees them."""
    student, teacher = normal(seed, B, T, C, grad=grad), normal(seed + 1, B, T, OLD)
    return student, teacher, student.detach().numpy()[WHERE], teacher.numpy()[WHERE]


@given(seed=seeds)
def test_cross_entropy(seed: int) -> None:
    z = normal(seed, B, T, C)
    targets = torch.from_numpy(np.random.RandomState(seed).randint(0, C, (B, T))).where(WHERE, IGNORE)
    loss = losses.cross_entropy(z, targets, WHERE)
    p, y = softmax(z.numpy()[WHERE]), targets.numpy()[WHERE]
    assert value(loss) == pytest.approx(-np.log(p[np.arange(len(y)), y]).sum())
    assert int(loss.count) == 4


LENT = 6
NEAR = torch.tensor(
    [[[0, 1, 2], [-1, -1, -1], [3, -1, 4], [5, -1, -1]], [[-1, -1, -1], [2, 2, 0], [-1, -1, -1], [4, 3, 2]]]
)
"""Rows of LENT words; every word of WHERE has one neighbour or more."""


@given(seed=seeds, classes=st.sampled_from([C, OLD]))
def test_mixed_cross_entropy(seed: int, classes: int) -> None:
    """Whether the neighbours speak of all tags or of the old ones only."""
    z, lent = normal(seed, B, T, C), normal(seed + 1, LENT, classes).log_softmax(-1)
    targets = torch.from_numpy(np.random.RandomState(seed).randint(0, classes, (B, T))).where(WHERE, IGNORE)
    loss = losses.mixed_cross_entropy(z, lent, NEAR, targets, WHERE)
    by_hand = 0.0
    for b, t in WHERE.nonzero().tolist():
        y, p = int(targets[b, t]), softmax(z[b, t].numpy())
        q = np.mean([np.exp(lent[i, y].item()) for i in NEAR[b, t].tolist() if i >= 0])
        by_hand -= np.log((p[y] + q) / 2)
    assert value(loss) == pytest.approx(by_hand)
    assert int(loss.count) == 4


def test_the_gradient_of_mixed_cross_entropy_is_that_of_cross_entropy_scaled() -> None:
    """By p / (p + q); half of it where the neighbours say what the word says, and then the value is the same."""
    z = normal(0, B, T, C, grad=True)
    targets = torch.full((B, T), 1)
    same = z.detach().log_softmax(-1).flatten(0, 1)
    itself = torch.arange(B * T).reshape(B, T, 1).expand(B, T, 3)
    mixed = losses.mixed_cross_entropy(z, same, itself, targets, WHERE)
    plain = losses.cross_entropy(z, targets, WHERE)
    assert value(mixed) == pytest.approx(value(plain))
    ours, theirs = (torch.autograd.grad(loss.total, z)[0] for loss in (mixed, plain))
    torch.testing.assert_close(ours, 0.5 * theirs)


def test_mixed_cross_entropy_is_finite_where_the_label_has_no_probability() -> None:
    z = (1e3 * torch.eye(C, dtype=torch.float64)[0]).expand(B, T, C).clone().requires_grad_()
    ones = torch.ones(B, T, dtype=torch.long)
    loss = losses.mixed_cross_entropy(z, z.detach().log_softmax(-1)[0], NEAR.clamp(max=3), ones, WHERE)
    assert value(loss) == pytest.approx(4e3)
    (gradient,) = torch.autograd.grad(loss.total, z)
    assert torch.isfinite(gradient).all()


def test_mixed_cross_entropy_of_nothing_is_nothing_in_the_graph() -> None:
    z = normal(0, B, T, C, grad=True)
    nobody = torch.empty(0, C, dtype=torch.float64)
    loss = losses.mixed_cross_entropy(z, nobody, NEAR, WHERE.long(), NOWHERE)
    assert (value(loss), int(loss.count)) == (0.0, 0)
    loss.total.backward()
    assert z.grad is not None
    assert not z.grad.any()


@given(seed=seeds, warm=temperatures, cool=temperatures)
def test_distillation(seed: int, warm: float, cool: float) -> None:
    student, teacher, z, z_old = both(seed)
    loss = losses.distillation(student, teacher, WHERE, student_temperature=warm, teacher_temperature=cool)
    q, s = softmax(z_old / cool), softmax(z / warm)[:, :OLD]
    assert value(loss) == pytest.approx((q * (np.log(q) - np.log(s))).sum())
    assert (s.sum(-1) < 1).all(), "the student's share of the old tags is not made a whole again"
    assert int(loss.count) == 4


@given(seed=seeds)
def test_squared_error(seed: int) -> None:
    student, teacher, z, z_old = both(seed)
    loss = losses.squared_error(student, teacher, WHERE)
    assert value(loss) == pytest.approx((((z[:, :OLD] - z_old) ** 2).sum(-1) / OLD).sum())
    assert int(loss.count) == 4


@given(seed=seeds, warm=temperatures, cool=temperatures)
def test_bernoulli_cross_entropy(seed: int, warm: float, cool: float) -> None:
    student, teacher, z, z_old = both(seed)
    loss = losses.bernoulli_cross_entropy(student, teacher, WHERE, student_temperature=warm, teacher_temperature=cool)
    q, z = 1 / (1 + np.exp(-z_old / cool)), z[:, :OLD] / warm
    yes, no = -np.logaddexp(0, -z), -np.logaddexp(0, z)  # the logarithms of sigmoid(z) and of 1 - sigmoid(z)
    assert value(loss) == pytest.approx((-(q * yes + (1 - q) * no).sum(-1) / OLD).sum())
    assert int(loss.count) == 4


@given(seed=seeds)
def test_cosine_distance(seed: int) -> None:
    one, two = normal(seed, B, T, H), normal(seed + 1, B, T, H)
    loss = losses.cosine_distance(one, two, WHERE)
    f, f_old = one.numpy()[WHERE], two.numpy()[WHERE]
    cosine = (f * f_old).sum(-1) / np.sqrt((f**2).sum(-1) * (f_old**2).sum(-1))
    assert value(loss) == pytest.approx((1 - cosine).sum())
    assert value(losses.cosine_distance(3 * one, 0.1 * one, WHERE)) == pytest.approx(0, abs=1e-12)
    assert int(loss.count) == 4


@given(seed=seeds)
def test_absolute_difference(seed: int) -> None:
    one, two = normal(seed, B, T, H), normal(seed + 1, B, T, H)
    loss = losses.absolute_difference(one, two, WHERE)
    assert value(loss) == pytest.approx((np.abs(one.numpy()[WHERE] - two.numpy()[WHERE]).sum(-1) / H).sum(), abs=1e-6)
    assert int(loss.count) == 4


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_differences_within_rounding_have_no_gradient(kind: torch.dtype) -> None:
    teacher = normal(0, B, T, H).to(kind)
    student = (teacher * (1 + 4 * torch.finfo(kind).eps)).requires_grad_()
    assert not torch.equal(student, teacher)
    loss = losses.absolute_difference(student, teacher, WHERE)
    assert value(loss) == 0
    assert not torch.autograd.grad(loss.total, student)[0].any()


@given(seed=seeds, margin=st.floats(0, 3), top=st.integers(1, 6), rivals=st.integers(0, 4))
def test_margin_ranking(seed: int, margin: float, top: int, rivals: int) -> None:
    right, others = normal(seed, B, T), normal(seed + 1, B, T, rivals)
    loss = losses.margin_ranking(right, others, WHERE, margin=margin, top=top)
    strongest = -np.sort(-others.numpy()[WHERE], axis=-1)[:, :top]
    short = np.maximum(0, margin - right.numpy()[WHERE][:, None] + strongest)
    assert value(loss) == pytest.approx(short.mean(-1).sum() if rivals else 0)
    assert int(loss.count) == 4


@given(seed=seeds, scale=st.floats(0.2, 5), margin=st.floats(0, 3))
def test_nca(seed: int, scale: float, margin: float) -> None:
    z = normal(seed, B, T, C)
    targets = torch.from_numpy(np.random.RandomState(seed).randint(0, C, (B, T)))
    margined, cancelled = 0.0, 0.0
    for row, y in zip(z.numpy()[WHERE], targets.numpy()[WHERE], strict=True):
        powers = np.exp(scale * np.delete(row, y))
        margined += max(0, np.log(powers.sum()) - scale * (row[y] - margin))
        s = scale * (row - margin)  # as the published code has it: off every tag, then the largest is zero
        s = s - s.max()
        cancelled += -s[y] + np.log(np.exp(np.delete(s, y)).sum() + 1)
    loss = losses.nca(z, targets, WHERE, scale=scale, margin=margin)
    assert value(loss) == pytest.approx(margined, abs=1e-12)
    as_published = losses.nca_cancelled(z, targets, WHERE, scale=scale)
    assert value(as_published) == pytest.approx(cancelled)
    assert int(loss.count) == int(as_published.count) == 4


def test_nca_without_a_margin_is_cross_entropy_where_the_right_tag_leads() -> None:
    z = normal(0, B, T, C)
    leading = z.argmax(-1)
    cancelled = losses.nca_cancelled(z, leading, WHERE, scale=1.0)
    assert value(cancelled) == pytest.approx(value(losses.cross_entropy(z, leading, WHERE)))
    assert value(losses.nca(z + 50 * torch.eye(C)[leading], leading, WHERE, scale=1.0, margin=0.6)) == 0


OTHER, ANSWERS = normal(7, B, T, C), torch.arange(B * T).reshape(B, T) % C
OF_ONE: dict[str, Callable[[Tensor, Tensor], LossSum]] = {
    "cosine_distance": lambda z, where: losses.cosine_distance(z, OTHER, where),
    "absolute_difference": lambda z, where: losses.absolute_difference(z, OTHER, where),
    "margin_ranking": lambda z, where: losses.margin_ranking(z[..., 0], z[..., 2:], where, margin=9.0, top=2),
    "nca": lambda z, where: losses.nca(z, ANSWERS, where, scale=0.7, margin=6.0),
    "nca_cancelled": lambda z, where: losses.nca_cancelled(z, ANSWERS, where, scale=0.7),
}


@pytest.mark.parametrize("name", list(OF_ONE))
def test_terms_of_lucir_and_podnet_have_true_gradients_and_read_what_is_asked(name: str) -> None:
    z = normal(0, B, T, C, grad=True)
    assert torch.autograd.gradcheck(lambda z: OF_ONE[name](z, WHERE).total, (z,))
    (gradient,) = torch.autograd.grad(OF_ONE[name](z, WHERE).total, z)
    assert not gradient[~WHERE].any()
    assert gradient[WHERE].any(-1).all()
    nothing = OF_ONE[name](z, NOWHERE)
    assert (value(nothing), int(nothing.count)) == (0, 0)
    assert not torch.autograd.grad(nothing.total, z)[0].any()


Divergence = Callable[..., LossSum]
DIVERGENCES: list[Any] = [losses.distillation, losses.squared_error, losses.bernoulli_cross_entropy]


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_gradients_are_those_of_the_value(divergence: Divergence) -> None:
    student, teacher, *_ = both(0, grad=True)
    assert torch.autograd.gradcheck(lambda z: divergence(z, teacher, WHERE).total, (student,))
    targets = torch.randint(C, (B, T))
    assert torch.autograd.gradcheck(lambda z: losses.cross_entropy(z, targets, WHERE).total, (student,))


@pytest.mark.parametrize("decompose", [losses.decompose_by_product, losses.decompose_by_weight])
def test_gradients_of_the_parts_are_those_of_their_values(decompose: Callable[..., tuple[Tensor, Tensor]]) -> None:
    features, weight = normal(3, B, T, H, grad=True), normal(4, C, H, grad=True)
    assert torch.autograd.gradcheck(decompose, (features, weight))


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_no_word_means_zero_that_is_still_in_the_graph(divergence: Divergence) -> None:
    student, teacher, *_ = both(0, grad=True)
    targets = torch.full((B, T), IGNORE)
    for loss in (divergence(student, teacher, NOWHERE), losses.cross_entropy(student, targets, NOWHERE)):
        assert value(loss) == 0
        assert int(loss.count) == 0
        (gradient,) = torch.autograd.grad(loss.total, student)
        assert not gradient.any()


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_only_the_words_asked_for_are_read(divergence: Divergence) -> None:
    student, teacher, *_ = both(0, grad=True)
    loss = divergence(student, teacher, WHERE)
    (gradient,) = torch.autograd.grad(loss.total, student)
    assert not gradient[~WHERE].any()
    assert gradient[WHERE].any(-1).all()
    wild = teacher.masked_fill(~WHERE[..., None], float("nan"))
    assert value(divergence(student, wild, WHERE)) == value(loss)


@given(seed=seeds, warm=temperatures, cool=temperatures)
def test_cutting_equals_padding_the_teacher_with_no_mass(seed: int, warm: float, cool: float) -> None:
    student, teacher, *_ = both(seed, grad=True)
    cut = losses.distillation(student, teacher, WHERE, student_temperature=warm, teacher_temperature=cool)
    padded = torch.cat([teacher, torch.full((B, T, C - OLD), -1e30, dtype=teacher.dtype)], dim=-1)
    whole = losses.distillation(student, padded, WHERE, student_temperature=warm, teacher_temperature=cool)
    assert value(cut) == pytest.approx(value(whole), rel=1e-12)
    one, two = (torch.autograd.grad(loss.total, student)[0] for loss in (cut, whole))
    torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-13)
    assert (one[WHERE][:, OLD:] > 0).all(), "new tags are pushed down where the teacher knows better"


@given(seed=seeds, temperature=temperatures)
def test_equal_outputs_of_student_and_teacher_have_zero_loss(seed: int, temperature: float) -> None:
    teacher = normal(seed, B, T, OLD)
    student = teacher.clone().requires_grad_()
    same = {"student_temperature": temperature, "teacher_temperature": temperature}
    for loss in (losses.distillation(student, teacher, WHERE, **same), losses.squared_error(student, teacher, WHERE)):
        assert value(loss) == pytest.approx(0, abs=1e-12)
        assert torch.autograd.grad(loss.total, student)[0].abs().max() < 1e-12
    entropy = losses.bernoulli_cross_entropy(student, teacher, WHERE, **same)
    assert torch.autograd.grad(entropy.total, student)[0].abs().max() < 1e-12, "the least that a BCE can be"


@given(seed=seeds)
def test_divergences_are_never_negative(seed: int) -> None:
    student, teacher, *_ = both(seed)
    assert all(value(divergence(student, teacher, WHERE)) >= 0 for divergence in DIVERGENCES)


def test_near_one_hot_teachers_stay_finite() -> None:
    student, teacher, *_ = both(0)
    loss = losses.distillation(student, 1e4 * teacher, WHERE, teacher_temperature=0.01)
    hard = losses.cross_entropy(student, teacher.argmax(-1), WHERE)
    assert value(loss) == pytest.approx(value(hard))


@given(seed=seeds, negative=st.booleans())
def test_decomposition(seed: int, negative: bool) -> None:
    features, weight = normal(seed, B, T, H), normal(seed + 1, C, H)
    if not negative:
        features = features.abs()
    products = features[..., None, :] * weight  # [B, T, C, H]: never built by the loss itself
    above, below = losses.decompose_by_product(features, weight)
    torch.testing.assert_close(above, products.clamp(min=0).sum(-1))
    torch.testing.assert_close(below, products.clamp(max=0).sum(-1))
    assert (above >= 0).all()
    assert (below <= 0).all()
    torch.testing.assert_close(above + below, features @ weight.T)
    up, down = losses.decompose_by_weight(features, weight)
    torch.testing.assert_close(up, torch.where(weight > 0, products, 0.0).sum(-1))
    torch.testing.assert_close(up + down, features @ weight.T)
    if not negative:
        torch.testing.assert_close(up, above)
        torch.testing.assert_close(down, below)


def test_the_two_decompositions_are_not_the_same() -> None:
    features, weight = normal(0, B, T, H), normal(1, C, H)
    up, down = losses.decompose_by_weight(features, weight)
    assert (up < 0).any()
    assert (down > 0).any()


def test_a_loss_sum_is_scaled_divided_and_added() -> None:
    loss = LossSum(torch.tensor(6.0), torch.tensor(3))
    assert (float((0.5 * loss).total), int((0.5 * loss).count)) == (3.0, 3)
    assert (float(loss.over(WHERE).total), int(loss.over(WHERE).count)) == (6.0, 4)
    both = loss + loss.over(WHERE)
    assert (float(both.total), int(both.count)) == (12.0, 7)


P, E, OLD_TYPES = 6, 4, 3
SPANS = torch.tensor([[True] * 6, [True, True, True, False, False, False]])


@given(seed=seeds, weight=st.floats(0.1, 5))
def test_multi_label(seed: int, weight: float) -> None:
    z = normal(seed, B, P, E)
    gold = np.random.RandomState(seed).rand(B, P, E) < 0.2
    labels = torch.full((B, P, E), -1)
    for b, p, e in zip(*gold.nonzero(), strict=True):
        labels[b, p, int((labels[b, p] >= 0).sum())] = int(e)
    loss = losses.multi_label(z, labels, SPANS, positive_weight=weight)
    sure = 1 / (1 + np.exp(-z.numpy()))
    by_hand = -np.where(gold, weight * np.log(sure), np.log(1 - sure))[SPANS.numpy()].sum() / E
    assert value(loss) == pytest.approx(by_hand)
    assert int(loss.count) == 9


@pytest.mark.parametrize(("types", "labels", "where"), [(0, -1, SPANS), (E, 0, ~SPANS & SPANS)])
def test_multi_label_without_types_or_places_is_zero_in_the_graph(types: int, labels: int, where: Tensor) -> None:
    logits = normal(0, B, P, types, grad=True)
    loss = losses.multi_label(logits, torch.full((B, P, 1), labels), where)
    loss.total.backward()
    assert value(loss) == 0
    assert logits.grad is not None and not logits.grad.any()


@given(seed=seeds, temperature=temperatures)
def test_bernoulli_divergence(seed: int, temperature: float) -> None:
    student, teacher = normal(seed, B, P, E, grad=True), normal(seed + 1, B, P, OLD_TYPES)
    loss = losses.bernoulli_divergence(student, teacher, SPANS, temperature=temperature)
    z, z_old = (x.detach().numpy()[..., :OLD_TYPES] / temperature for x in (student, teacher))
    s, q = expit(z), expit(z_old)
    by_hand = q * (log_expit(z_old) - log_expit(z)) + (1 - q) * (log_expit(-z_old) - log_expit(-z))
    assert value(loss) == pytest.approx(by_hand[SPANS.numpy()].sum() / OLD_TYPES, rel=1e-6, abs=1e-7)
    assert int(loss.count) == 9
    loss.total.backward()
    assert student.grad is not None
    slope = torch.from_numpy((s - q) / temperature / OLD_TYPES) * SPANS[..., None]
    torch.testing.assert_close(student.grad[..., :OLD_TYPES], slope, rtol=1e-6, atol=1e-8)
    assert not student.grad[..., OLD_TYPES:].any(), "a new type asks nothing of the past"


@pytest.mark.parametrize("size", [1.0, 50.0, 1e4])
def test_bernoulli_divergence_is_finite_however_sure_both_are(size: float) -> None:
    student = (size * normal(0, B, P, E).float()).requires_grad_()
    teacher = (size * normal(1, B, P, OLD_TYPES)).half()
    loss = losses.bernoulli_divergence(student, teacher, SPANS)
    loss.total.backward()
    assert loss.total.isfinite() and value(loss) > 0
    assert student.grad is not None and student.grad.isfinite().all()
    same = losses.bernoulli_divergence(student, student.detach(), SPANS)
    assert value(same) == pytest.approx(0, abs=1e-6 * size)
