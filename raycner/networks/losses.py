"""Losses: pure functions of tensors, each returned as a sum and a count.

Shapes: B sentences, T words, C tags, E types, H width. Logits are [B, T, C]; `where` is a boolean mask [B, T].
Logarithms are natural: losses are in nats.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

IGNORE = -100
"""The target of a word that has no loss."""


@dataclass(frozen=True, eq=False)
class LossSum:
    """The sum of a loss on this rank, and the number of its elements. The trainer divides once, by the global count."""

    total: Tensor
    """[] the sum over the elements; in the autograd graph even if there is none."""
    count: Tensor
    """[] the number of elements."""

    def __rmul__(self, weight: float) -> "LossSum":
        return LossSum(weight * self.total, self.count)

    def __add__(self, other: "LossSum") -> "LossSum":
        """The mean over the elements of both."""
        return LossSum(self.total + other.total, self.count + other.count)

    def over(self, where: Tensor) -> "LossSum":
        """The same total, divided by the number of words of `where`: gives every word the same weight in two losses."""
        return LossSum(self.total, where.sum())


_indices = WeakTensorKeyDictionary()
"""The index of each mask that is in use, and the version of the mask that it was made of."""


def index_words(*masks: Tensor) -> None:
    """Make the indices of masks of one shape, which `rows` reads next, in one wait for the device.

    The length of an index depends on the values of its mask, which the device has. An index that `rows` must make
    itself is a wait of its own.
    """
    flat = torch.stack(masks).flatten(1)
    for mask, own, size in zip(masks, flat, flat.sum(1).tolist(), strict=True):
        _indices[mask] = mask._version, torch.nonzero_static(own, size=size)[:, 0]


def rows(values: Tensor, where: Tensor) -> Tensor:
    """[N, ...] the values [B, T, ...] of the words of a mask [B, T], in order: `values[where]`."""
    if where not in _indices or _indices[where][0] != where._version:
        index_words(where)
    return values.flatten(0, where.ndim - 1).index_select(0, _indices[where][1])


def cross_entropy(logits: Tensor, targets: Tensor, where: Tensor) -> LossSum:
    """-log softmax(z)[y], summed over the words of `where`."""
    total = F.cross_entropy(rows(logits, where), rows(targets, where), reduction="sum")
    return LossSum(total, where.sum())


def prototype_cross_entropy(weight: Tensor, prototypes: Tensor, tags: Tensor) -> LossSum:
    """-log softmax(W m_c)[c], summed over K prototypes m_c of tags c; a weight that counts a bias reads [m_c, 1].

    Shapes: weight [C, H] or [C, H + 1], prototypes [K, H], tags [K]. Source: IS3 (ACL Findings 2024).
    """
    z = F.pad(prototypes, (0, weight.size(1) - prototypes.size(1)), value=1.0) @ weight.T
    return LossSum(F.cross_entropy(z, tags, reduction="sum"), torch.ones_like(tags).sum())


def weighted_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, where: Tensor) -> LossSum:
    """-w log softmax(z)[y], summed over the words of `where`. Shapes: weights [B, T]. Source: CPFD (EMNLP 2023)."""
    each = F.cross_entropy(rows(logits, where), rows(targets, where), reduction="none")
    return LossSum((rows(weights, where) * each).sum(), where.sum())


def mixed_cross_entropy(logits: Tensor, neighbours: Tensor, near: Tensor, targets: Tensor, where: Tensor) -> LossSum:
    """-log( (p[y] + q[y]) / 2 ), p = softmax(z), q the mean probability of the word's neighbours, summed over `where`.

    Shapes: neighbours [M, C'] log-probabilities of M words, near [B, T, K] indices into [M] of a word's neighbours, -1
    for none (each word of `where` has at least one). No gradient should flow through `neighbours`; the gradient in z is
    p / (p + q) times that of cross-entropy. Computed from logarithms, so no constant is added inside them.
    Source: the direct causal effect of CFNER (EMNLP 2022); with one-hot targets its effect on O has the same form.
    """
    labels, indices = rows(targets, where), rows(near, where)
    p = -F.cross_entropy(rows(logits, where), labels, reduction="none")
    each = neighbours[indices.clamp(min=0), labels[:, None]].masked_fill(indices < 0, float("-inf"))  # [n, K]
    q = each.logsumexp(-1) - (indices >= 0).sum(-1).log()
    return LossSum((math.log(2) - torch.logaddexp(p, q)).sum(), where.sum())


def distillation(
    student: Tensor,
    teacher: Tensor,
    where: Tensor,
    *,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> LossSum:
    """KL(q || s) with q = softmax(z' / T_teacher) over the C' old tags and s = softmax(z / T_student) over all C tags.

    s is cut to the first C' tags and NOT renormalised, so the mass that new tags take is penalised. Padding the
    teacher with zero mass on the new tags gives the same value and the same gradient.
    Source: the distillation term of ExtendNER (AAAI 2021) as the CFNER code computes it; no factor T^2.
    """
    old = teacher.size(-1)
    q = F.log_softmax(rows(teacher, where) / teacher_temperature, dim=-1)
    s = F.log_softmax(rows(student, where) / student_temperature, dim=-1)[..., :old]
    return LossSum((q.exp() * (q - s)).sum(), where.sum())


def squared_error(student: Tensor, teacher: Tensor, where: Tensor) -> LossSum:
    """(z - z')^2, averaged over the C' old tags and summed over the words of `where`."""
    old = teacher.size(-1)
    return LossSum((rows(student, where)[..., :old] - rows(teacher, where)).square().mean(-1).sum(), where.sum())


def squared_error_where_given(logits: Tensor, given: Tensor, where: Tensor) -> LossSum:
    """(z - h)^2, averaged over the tags of which h is a number, summed over the words of `where` that have such tags.

    Shapes: logits [B, T, C], given [B, T, S] with S <= C, NaN where nothing is given. Source: DER++ (NeurIPS 2020).
    """
    is_given = ~given.isnan()
    number = is_given.sum(-1)
    difference = (logits[..., : given.size(-1)] - given.nan_to_num()) * is_given
    have_any = where & (number > 0)
    return LossSum((difference.square().sum(-1) / number.clamp(min=1))[have_any].sum(), have_any.sum())


def bernoulli_cross_entropy(
    student: Tensor,
    teacher: Tensor,
    where: Tensor,
    *,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> LossSum:
    """BCE(s(z / T_student), s(z' / T_teacher)), s the sigmoid, averaged over the C' old tags and summed over `where`.

    Cross-entropy: at s(z) = s(z') it is the teacher's entropy, not zero; compare `bernoulli_divergence`.
    Source: the form of decomposed distillation in segmentation (DKD).
    """
    old = teacher.size(-1)
    q = torch.sigmoid(rows(teacher, where) / teacher_temperature)
    z = rows(student, where)[..., :old] / student_temperature
    return LossSum(F.binary_cross_entropy_with_logits(z, q, reduction="none").mean(-1).sum(), where.sum())


def multi_label(logits: Tensor, labels: Tensor, where: Tensor, *, positive_weight: float = 1.0) -> LossSum:
    """-[ w y log s(z) + (1 - y) log(1 - s(z)) ], s the sigmoid, averaged over types and summed over `where`.

    y is 1 for the types in `labels`, and 0 for all others; w is `positive_weight`. Labels are few, so y is never built:
    the sum over types of log(1 + e^z) is corrected where there is a label.
    Shapes: logits [B, P, E]; labels [B, P, L] type indices, negative for none; where [B, P].
    Source: SpanKL (AAAI 2023), w = 1.
    """
    at = ((labels >= 0) & where[..., None]).nonzero(as_tuple=True)
    positive = logits[at[0], at[1], labels[at]]
    correction = positive_weight * F.softplus(-positive) - F.softplus(positive)
    total = (F.softplus(logits).sum(-1) * where).sum() + correction.sum()
    return LossSum(total / max(logits.size(-1), 1), where.sum())


def bernoulli_divergence(student: Tensor, teacher: Tensor, where: Tensor, *, temperature: float = 1.0) -> LossSum:
    """KL( Bern(s(z' / T)) || Bern(s(z / T)) ), averaged over the E' old types and summed over `where`.

    With q = s(z' / T) and f(z) = T log(1 + e^(z / T)) it is ( q (z' - z) + f(z) - f(z') ) / T: no logarithm of a
    probability is taken, and the two outcomes are not stacked. Its gradient in z is ( s(z / T) - q ) / T. It equals
    `bernoulli_cross_entropy` at one temperature minus the teacher's entropy, so it is zero at s(z) = s(z').
    Shapes: student [B, P, E], teacher [B, P, E'], where [B, P].
    Source: SpanKL (AAAI 2023), T = 1.
    """
    old = teacher.size(-1)
    z, z_old = student[..., :old], teacher.to(student.dtype)
    q = torch.sigmoid(z_old / temperature)
    each = q * (z_old - z) + (F.softplus(z, 1 / temperature) - F.softplus(z_old, 1 / temperature))
    return LossSum((each.sum(-1) * where).sum() / (old * temperature), where.sum())


def soft_cross_entropy(logits: Tensor, targets: Tensor, where: Tensor) -> LossSum:
    """-t log softmax(z), averaged over the C tags and summed over `where`. Shapes: targets [B, T, C] probabilities.

    Source: the soft targets of RDP (CIKM 2023).
    """
    return LossSum(-(rows(targets, where) * rows(logits, where).log_softmax(-1)).mean(-1).sum(), where.sum())


def entropy(logits: Tensor, where: Tensor) -> LossSum:
    """-p log p, p = softmax(z), averaged over the C tags and summed over `where`. Source: RDP (CIKM 2023)."""
    log_p = rows(logits, where).log_softmax(-1)
    return LossSum(-(log_p.exp() * log_p).mean(-1).sum(), where.sum())


def probability_distance(one: Tensor, other: Tensor, where: Tensor) -> LossSum:
    """||softmax(z) - softmax(z')||^2, summed over tags and the words of `where`; both sides have a gradient.

    Source: the consistency of TBCL (2026).
    """
    difference = rows(one, where).softmax(-1) - rows(other, where).softmax(-1)
    return LossSum(difference.square().sum(), where.sum())


def contrast(units: Tensor, alike: Tensor, compared: Tensor, temperature: float) -> LossSum:
    """-log( exp(u_i . u_p / T) / sum_a exp(u_i . u_a / T) ), averaged over the p of i, summed over the i with some.

    Shapes: units [N, H] of unit length; alike and compared [N, N], whether a word is a p, and an a, of word i. Words
    that are alike are compared. Source: supervised contrastive learning (NeurIPS 2020), as OCILNER uses it.
    """
    similarity = (units @ units.T / temperature).masked_fill(~compared, torch.finfo(units.dtype).min)
    number = alike.sum(-1)
    each = -similarity.log_softmax(-1).masked_fill(~alike, 0.0).sum(-1) / number.clamp(min=1)
    return LossSum(each.sum(), (number > 0).sum())


def cosine_distance(student: Tensor, teacher: Tensor, where: Tensor) -> LossSum:
    """1 - cos(f, f'), summed over the words of `where`. Shapes: [B, T, H] each.

    Source: the feature distillation of LUCIR, also the flat term of PODNet.
    """
    return LossSum((1.0 - F.cosine_similarity(rows(student, where), rows(teacher, where), dim=-1)).sum(), where.sum())


def absolute_difference(student: Tensor, teacher: Tensor, where: Tensor) -> LossSum:
    """|a - a'|, averaged over the last axis and summed over the words of `where`. Shapes: [B, T, K] each.

    Differences below the square root of the number format's precision count as zero: a step begins with student and
    teacher equal, where the gradient would be the sign of rounding errors. Source: the spatial term of PODNet.
    """
    difference = F.hardshrink(rows(student, where) - rows(teacher, where), torch.finfo(student.dtype).eps ** 0.5)
    return LossSum(difference.abs().mean(-1).sum(), where.sum())


def margin_ranking(right: Tensor, rivals: Tensor, where: Tensor, *, margin: float, top: int) -> LossSum:
    """max(0, margin - z_right + z_rival), averaged over the `top` strongest rivals, summed over the words of `where`.

    Zero where there is no rival. Shapes: right [B, T], rivals [B, T, R]. Source: LUCIR.
    """
    strongest = rows(rivals, where).topk(min(top, rivals.size(-1)), dim=-1).values  # [N, K]
    short = (margin - rows(right, where)[:, None] + strongest).relu()
    return LossSum(short.sum() / max(short.size(-1), 1), where.sum())


def nca(logits: Tensor, targets: Tensor, where: Tensor, *, scale: float, margin: float) -> LossSum:
    """max(0, -s (z_y - margin) + log sum_{c != y} exp(s z_c)), summed over the words of `where`; s is `scale`.

    Zero where the correct tag outweighs all others together by the margin. Source: PODNet.
    """
    z, right = scale * rows(logits, where), rows(targets, where)[:, None]
    others = z.scatter(-1, right, float("-inf")).logsumexp(-1)
    return LossSum((others - z.gather(-1, right)[:, 0] + scale * margin).relu().sum(), where.sum())


def nca_cancelled(logits: Tensor, targets: Tensor, where: Tensor, *, scale: float) -> LossSum:
    """-s z_y + log(sum_{c != y} exp(s z_c) + exp(s max_c z_c)), summed over the words of `where`; s is `scale`.

    As the published code of PODNet computes it: the margin is subtracted from every tag, so it has no effect, and the
    correct tag's term of the sum is replaced by the largest rather than removed. Where the correct tag has the largest
    logit, this is CE.
    """
    z, right = scale * rows(logits, where), rows(targets, where)[:, None]
    others = z.scatter(-1, right, z.amax(-1, keepdim=True)).logsumexp(-1)
    return LossSum((others - z.gather(-1, right)[:, 0]).sum(), where.sum())


def decompose_by_product(features: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """z+ = sum_h max(0, w_h f_h) and z- = sum_h min(0, w_h f_h): the evidence for a tag, and the evidence against it.

    z+ >= 0 >= z- and z+ + z- = z. With a+ = relu(a), a- = relu(-a) the [B, T, C, H] product is never built:
    z+ = f+ w+' + f- w-', z- = -(f+ w-' + f- w+'). Shapes: features [..., H], weight [C, H] -> two of [..., C].
    Source: INFERRED for DLD from the wording of the paper; equal to DKD's where features are not negative.
    """
    more, less = features.relu(), (-features).relu()
    up, down = weight.relu(), (-weight).relu()
    return more @ up.T + less @ down.T, -(more @ down.T + less @ up.T)


def decompose_by_weight(features: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """z+ = relu(W) f and z- = -relu(-W) f: the split by the sign of the weight alone, as in the code of DKD.

    The two sum to z, but their signs are not guaranteed where features are negative.
    """
    return features @ weight.relu().T, -(features @ (-weight).relu().T)
