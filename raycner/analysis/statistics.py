"""Means over runs with their deviation, and paired differences with interval, p-value and correction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import fmean, stdev

import numpy as np
from scipy import stats

LEVEL = 0.95
"""Of the intervals."""
MOST_EXACT = 12
"""Up to so many pairs all sign flips are counted; of more, a fixed random sample."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A mean over runs and its sample standard deviation, None where that is unknown."""

    mean: float
    std: float | None


@dataclass(frozen=True, kw_only=True)
class Spread(Score):
    """A mean over `n` values; `std` has the divisor n - 1 and is None for one value."""

    n: int


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The mean of `n` paired differences."""

    mean: float
    low: float | None
    """The lower end of the 95 % interval, mean - t_{n-1} s / sqrt(n); None for one pair."""
    high: float | None
    p: float | None
    """Of the sign-flip test, two-sided; None for one pair."""
    n: int


def spread(values: Iterable[float | None]) -> Spread | None:
    """The mean of the values that are numbers, and their deviation; None when there are none."""
    numbers = [value for value in values if value is not None]
    if not numbers:
        return None
    return Spread(mean=fmean(numbers), std=stdev(numbers) if len(numbers) > 1 else None, n=len(numbers))


def difference(one: Score | None, other: Score | None) -> float | None:
    """The mean of one minus that of the other; None when either is missing."""
    return None if one is None or other is None else one.mean - other.mean


def paired_effect(ours: Sequence[float], theirs: Sequence[float]) -> Effect:
    """Ours minus theirs, pair by pair. Raises ValueError without a pair."""
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    mean, n = fmean(differences), len(differences)
    if n == 1:
        return Effect(mean=mean, low=None, high=None, p=None, n=n)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * stdev(differences) / sqrt(n)
    return Effect(mean=mean, low=mean - half, high=mean + half, p=sign_flip_test(differences), n=n)


def sign_flip_test(differences: Sequence[float]) -> float:
    """The share of the 2^n sign patterns under which the mean is at least as far from 0 as it is.

    Exact where n is at most `MOST_EXACT`. It assumes that a difference is as likely as its negative if the two systems
    are alike, and no distribution. Source: Fisher, "The Design of Experiments" (1935).
    """
    test = stats.permutation_test(
        (np.round(differences, 9),),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=inf if len(differences) <= MOST_EXACT else 2**MOST_EXACT,
        rng=0,
    )
    return float(test.pvalue)


def smallest_p(pairs: int) -> float:
    """The least p of the sign-flip test with so many pairs: all differences have one sign.

    >>> smallest_p(3)
    0.25
    """
    return float(2.0 ** (1 - pairs))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number: p_(k) -> max over j <= k of min(1, (m - j + 1) p_(j)), in ascending order.

    The chance of any false rejection among the m comparisons is at most the level. None stays None and is not counted.
    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (1979).

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    ascending = sorted((p, place) for place, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (p, place) in enumerate(ascending):
        largest = max(largest, min(1.0, (len(ascending) - rank) * p))
        corrected[place] = largest
    return corrected
