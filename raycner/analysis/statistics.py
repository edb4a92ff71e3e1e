"""Means over seeds with their deviation, and the paired test between two systems."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import ttest_rel


@dataclass(frozen=True, kw_only=True)
class Score:
    """A mean over runs and its sample standard deviation, None where that is unknown."""

    mean: float
    std: float | None


@dataclass(frozen=True, kw_only=True)
class Spread(Score):
    """A mean over `n` values; `std` has the divisor n - 1 and is None for one value."""

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


def paired_test(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """p of a two-sided paired t-test; None where it is undefined: one pair, or the same difference in every pair."""
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    if len(differences) < 2 or max(differences) - min(differences) < 1e-9:
        return None
    return float(ttest_rel(ours, theirs).pvalue)
