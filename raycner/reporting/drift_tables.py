"""Drift as tables, for the terminal and the page."""

import math
from collections.abc import Iterator

from raycner.analysis.drift import CONSIDERABLE, DriftReport, NewType
from raycner.analysis.formatting import DASH
from raycner.analysis.table import Table, by_rows


def windows_table(report: DriftReport) -> Table:
    """A row per window, after the reference."""
    before = report.reference
    rows = [["reference", str(before.sentences), percent(before.unknown), number(before.confidence), DASH, DASH, ""]]
    rows += [
        [
            f"{window.first}{DASH}{window.first + window.sentences - 1}",
            str(window.sentences),
            percent(window.unknown),
            number(window.confidence),
            number(window.confidence_psi),
            number(window.prior_psi),
            ", ".join(window.flags),
        ]
        for window in report.windows
    ]
    headers = ["sentences", "number", "unknown words", "confidence", "its PSI", "PSI of types", "differs in"]
    note = (
        f"Reference: {report.source}. Unknown words: share of words that the training text lacks. Confidence: mean of "
        f"entities. PSI: population stability index against the reference; flagged from {CONSIDERABLE} on, if it is "
        "more than chance."
    )
    return by_rows("Windows", headers, rows, notes=[note], rules=[1])


def priors_table(report: DriftReport) -> Table:
    """A row per type, a column per window."""
    types = list(report.reference.priors)
    headers = ["type", "reference", *(str(window.first) for window in report.windows)]
    shares = [report.reference.priors, *(window.priors for window in report.windows)]
    rows = [[kind, *(percent(priors[kind]) for priors in shares)] for kind in types]
    note = "Estimated share of words in entities of each type, by expectation maximisation; columns: first sentence."
    return by_rows("Types over time", headers, rows, notes=[note])


def new_types_table(report: DriftReport) -> Table:
    """What may be a new type, a row per example."""
    rows = [row for window in report.windows for proposal in window.new_types for row in _rows(window.first, proposal)]
    note = (
        "Clusters of words that look like entities and are in none, denser than in the reference. Expected: sentences "
        "of the window by its density in the reference. The name is a guess from a list of names."
    )
    headers = ["window", "name?", "sentences", "expected", "example"]
    return by_rows("What may be a new type", headers, rows, notes=[note], lead=2)


def _rows(first: int, proposal: NewType) -> Iterator[list[str]]:
    lead = [str(first), proposal.name, str(proposal.sentences), f"{proposal.before:.1f}"]
    yield [*lead, ", ".join(proposal.words)]
    for example in proposal.examples:
        yield ["", "", "", "", example]


def percent(share: float) -> str:
    """A share in percent, with one decimal."""
    return f"{100 * share:.1f}"


def number(value: float) -> str:
    """Two decimals, or a dash."""
    return DASH if math.isnan(value) else f"{value:.2f}"
