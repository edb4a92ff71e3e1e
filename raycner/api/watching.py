"""Watching: how text changes over time, without annotation, and what may be a new type in it."""

from collections.abc import Sequence
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from rich.console import Console

from raycner.analysis.drift import DriftReport
from raycner.api.notebook import as_html
from raycner.console import TextConsole
from raycner.errors import InputError
from raycner.reporting.drift_document import document
from raycner.reporting.terminal.drift_view import drift_view


def watch(
    model: str,
    *files: str | PathLike[str],
    reference: Sequence[str | PathLike[str]] = (),
    window: int = 500,
    store: str | PathLike[str] = "store",
    form: str | None = None,
    encoder: str | None = None,
    seed: int = 0,
) -> "Drift":
    """Compare text, in the order of the files, with the text of a step's corpora, in windows of so many sentences.

        drift = raycner.watch("production", "october.jsonl", "november.jsonl")
        drift.flagged

    `model` is a step RUN or RUN:STEP, or an alias. Without `reference`, text is compared with dev and test of its
    corpora, and words with those of its training sentences. Raises `InputError` for a step whose corpora the store
    lacks, and for files without text.
    """
    from raycner.data.passages import passages, with_forms
    from raycner.inference.predictor import Predictor
    from raycner.inference.watch import given, held_out
    from raycner.inference.watch import watch as read
    from raycner.storage.run_names import find_step
    from raycner.storage.store import ObjectStore

    if window < 1:
        raise InputError(f"a window of {window} sentences", location="--window", hint="write --window 500")
    inputs, references = (with_forms([fspath(file) for file in sources], form) for sources in (files, reference))
    place = ObjectStore(fspath(store))
    predictor = Predictor.of(model, fspath(store), encoder)
    if references:
        text = given((passage for file, of_file in references for passage in passages(file, of_file)), seed)
    else:
        ledger, record = find_step(model, place)
        text = held_out(ledger, record.index + 1, place, seed)
    stream = (passage for file, of_file in inputs for passage in passages(file, of_file))
    return Drift(read(predictor, model, text, stream, window))


class Drift:
    """Text over time: a table per measure, a document, and one page."""

    def __init__(self, report: DriftReport) -> None:
        self.report = report

    @property
    def flagged(self) -> bool:
        """Whether any window differs from the reference by much, and by more than chance."""
        return self.report.flagged

    @cached_property
    def data(self) -> dict[str, Any]:
        """The document that `raycner watch --json` prints."""
        return document(self.report)

    def show(self, console: Console | None = None) -> None:
        """Print the tables."""
        console = console or TextConsole()
        console.print(drift_view(self.report, console.width), highlight=False)

    def write_html(self, file: str | PathLike[str]) -> None:
        """Write one self-contained page."""
        from raycner.reporting.html import page
        from raycner.reporting.html.drift_section import HEADING, OPENING, drift_section

        page.write([drift_section(self.report)], Path(file), HEADING, OPENING)

    def __repr__(self) -> str:
        flags = sorted({flag for window in self.report.windows for flag in window.flags})
        return f"<Drift: {len(self.report.windows)} windows, {', '.join(flags) or 'nothing flagged'}>"

    def _repr_html_(self) -> str:
        return as_html(self.show)
