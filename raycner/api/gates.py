"""Gates: whether a step may take the place of an older one."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypedDict

from rich.console import Console

from raycner.api.notebook import as_html
from raycner.console import TextConsole
from raycner.evaluation.gate import Allowance, GateReport
from raycner.reporting.gate_documents import document, junit
from raycner.reporting.terminal.gate_view import gate_view
from raycner.storage.durable_files import output_file


class GateOptions(TypedDict, total=False):
    """The options of `gate` that `Run.gate` takes as well."""

    may_lose: float
    per_type: Mapping[str, float] | None
    allow_unseen: bool
    without: Sequence[str]
    layout: str | None
    reading: Mapping[str, object] | None
    encoder: str | None
    resamples: int
    seed: int


def gate(
    model: str,
    *files: str | PathLike[str],
    against: str,
    may_lose: float = 1.0,
    per_type: Mapping[str, float] | None = None,
    allow_unseen: bool = False,
    without: Sequence[str] = (),
    store: str | PathLike[str] = "store",
    layout: str | None = None,
    reading: Mapping[str, object] | None = None,
    encoder: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> "Judgement":
    """Compare a step with an older one on annotated files, type by type; without files on the step's own test part.

        report = raycner.gate("base-product", "test.conll", against="base", may_lose=1.0)
        report.passes

    A type passes if its F1 falls by at most `may_lose` points (`per_type` for single types) with 95 % confidence. One
    of which the sentences are too few to say so is unseen, and does not pass unless `allow_unseen`. Types in
    `without` are not compared: the model was made without them. Raises `InputError` where nothing can be compared.
    """
    from raycner.inference import gate as inference

    allowance = Allowance(may_lose, dict(per_type or {}), allow_unseen)
    report = inference.gate(
        model,
        against,
        allowance,
        [fspath(file) for file in files],
        without=without,
        store=fspath(store),
        layout=layout,
        reading=reading,
        encoder=encoder,
        resamples=resamples,
        seed=seed,
    )
    return Judgement(report)


class Judgement:
    """The outcome of a gate: a table, a document, and a JUnit file for CI."""

    def __init__(self, report: GateReport) -> None:
        self.report = report

    @property
    def passes(self) -> bool:
        """Whether the newer step may take the place of the older one."""
        return self.report.passes

    @cached_property
    def data(self) -> dict[str, Any]:
        """The document that `raycner gate --json` prints."""
        return document(self.report)

    def show(self, console: Console | None = None) -> None:
        """Print the table, and the entities that were lost."""
        console = console or TextConsole()
        console.print(gate_view(self.report, console.width), highlight=False)

    def write_junit(self, file: str | PathLike[str]) -> None:
        """Write a JUnit XML file with one test case per type."""
        with output_file(Path(file)) as stream:
            stream.write(junit(self.report))

    def __repr__(self) -> str:
        verdict = "passes" if self.passes else "does not pass"
        return f"<Judgement: {self.report.model} {verdict} against {self.report.against}>"

    def _repr_html_(self) -> str:
        return as_html(self.show)
