"""Paired tests: a row against one other that it was meant to be tested against, seed by seed."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TypedDict

from raycner.analysis.comparison import Comparison, paired_test
from raycner.analysis.formatting import listed
from raycner.analysis.scores import Average, Run


class Lead(TypedDict):
    """How far a row lies above another, in F1 averaged over steps."""

    mean: float
    p: float | None
    """Of a two-sided paired t-test; None with one seed, or when the difference is the same for every seed."""


class PairedTest(TypedDict):
    """A row against another, over the seeds that both have finished."""

    row: str
    against: str
    seeds: list[int]
    micro: Lead
    macro: Lead


def significance(comparison: Comparison, runs: Sequence[Run], rivals: Mapping[str, str]) -> list[PairedTest]:
    """A paired test for each row of the comparison that `rivals` names another row for, both by label."""
    by_name = {run["run"]: run for run in runs}
    averages: dict[str, dict[int, Average]] = {
        row["label"]: {
            seed: average
            for seed, run in zip(row["seeds"], row["runs"], strict=True)
            if seed in row["finished"] and (average := by_name[run]["average"])
        }
        for row in comparison["rows"]
    }
    fought: list[PairedTest] = []
    for row, against in rivals.items():
        ours, theirs = averages.get(row, {}), averages.get(against, {})
        if seeds := sorted(ours.keys() & theirs.keys()):
            micro = _lead([ours[seed]["micro"] for seed in seeds], [theirs[seed]["micro"] for seed in seeds])
            macro = _lead([ours[seed]["macro"] for seed in seeds], [theirs[seed]["macro"] for seed in seeds])
            fought.append({"row": row, "against": against, "seeds": seeds, "micro": micro, "macro": macro})
    return fought


def sentence(test: PairedTest) -> str:
    """A paired test in words."""
    seeds = f"seed{'s' * (len(test['seeds']) > 1)} {listed([str(seed) for seed in test['seeds']])}"
    said = f"average micro {_signed(test['micro'])}, average macro {_signed(test['macro'])}, {seeds}"
    return f"{test['row']} against {test['against']}: {said}."


def p_value(p: float) -> str:
    """As tables write it."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _lead(ours: Sequence[float], theirs: Sequence[float]) -> Lead:
    return {"mean": fmean(ours) - fmean(theirs), "p": paired_test(ours, theirs)}


def _signed(lead: Lead) -> str:
    tested = "" if lead["p"] is None else f" (p {p_value(lead['p'])})"
    return f"{lead['mean']:+z.1f}{tested}"
