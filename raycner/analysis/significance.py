"""Paired tests that a table asks for: a row against one other, seed by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from raycner.analysis.comparison import Comparison
from raycner.analysis.formatting import listed, p_value
from raycner.analysis.scores import Average, Run
from raycner.analysis.statistics import paired_test


@dataclass(frozen=True, kw_only=True)
class Lead:
    """The difference between two rows, in F1 averaged over steps."""

    mean: float
    p: float | None
    """Of a two-sided paired t-test; None with one seed, or when the difference is the same for every seed."""


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """A row minus another, over the seeds that both have finished."""

    row: str
    against: str
    seeds: tuple[int, ...]
    micro: Lead
    macro: Lead


def significance(comparison: Comparison, runs: Sequence[Run], rivals: Mapping[str, str]) -> list[PairedTest]:
    """A paired test for each row of the comparison for which `rivals` names another row, both by label."""
    by_name = {run.run: run for run in runs}
    averages: dict[str, dict[int, Average]] = {
        row.label: {
            seed: average
            for seed, run in zip(row.seeds, row.runs, strict=True)
            if seed in row.finished and (average := by_name[run].average)
        }
        for row in comparison.rows
    }
    tests: list[PairedTest] = []
    for row, against in rivals.items():
        ours, theirs = averages.get(row, {}), averages.get(against, {})
        if seeds := sorted(ours.keys() & theirs.keys()):
            micro = _lead([ours[seed].micro for seed in seeds], [theirs[seed].micro for seed in seeds])
            macro = _lead([ours[seed].macro for seed in seeds], [theirs[seed].macro for seed in seeds])
            tests.append(PairedTest(row=row, against=against, seeds=tuple(seeds), micro=micro, macro=macro))
    return tests


def sentence(test: PairedTest) -> str:
    """A paired test as a sentence."""
    seeds = f"seed{'s' * (len(test.seeds) > 1)} {listed([str(seed) for seed in test.seeds])}"
    differences = f"average micro {_signed(test.micro)}, average macro {_signed(test.macro)}"
    return f"{test.row} against {test.against}: {differences}, {seeds}."


def _lead(ours: Sequence[float], theirs: Sequence[float]) -> Lead:
    return Lead(mean=fmean(ours) - fmean(theirs), p=paired_test(ours, theirs))


def _signed(lead: Lead) -> str:
    p = "" if lead.p is None else f" (p {p_value(lead.p)})"
    return f"{lead.mean:+z.1f}{p}"
