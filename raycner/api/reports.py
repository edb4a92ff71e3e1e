"""Reports: several runs side by side, and tables of systems that are run to be compared."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from functools import cached_property, partial
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from raycner.analysis.significance import Contrast
from raycner.analysis.summary import Summary, summary, with_published, with_significance
from raycner.api.notebook import as_html
from raycner.api.progress import Progress, event_handler
from raycner.api.runs import Run, load_runs
from raycner.callbacks.comparison_progress import ComparisonProgressDisplay
from raycner.console import TextConsole
from raycner.errors import InputError
from raycner.events import Message
from raycner.reporting.markdown import as_markdown
from raycner.reporting.report import show
from raycner.storage.searches import SearchRecord
from raycner.storage.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pandas import DataFrame

    from raycner.api.jobs import Job, Overrides
    from raycner.events import EventHandler
    from raycner.orchestration.table_rows import Entry, Row
    from raycner.storage.ledger import RunLedger

log = logging.getLogger(__name__)


def report(
    *names: str,
    store: str | PathLike[str] = "store",
    rows: str | PathLike[str] | Mapping[str, object] | None = None,
    published: bool = False,
) -> "Report":
    """The runs of these names, beginnings or patterns side by side, and the searches; all of the store without any.

    `rows` are those of `compare`: each run is shown under the row whose overrides it has, with the paired tests and the
    controls of the table; runs of no row are left out. `published` adds the published scores of the same setting.
    Raises `InputError` for a name that no run has, and where no run is of a row.
    """
    runs = load_runs(*names, store=store)
    if rows is not None:
        return _table(runs, rows, published)
    patterns = [f"{name}*" for name in names] or ["*"]
    records = SearchRecord.all(ObjectStore(fspath(store)))
    searches = [record for record in records if any(fnmatch(record.name, pattern) for pattern in patterns)]
    return Report(runs, searches=searches, published=published)


def compare(
    job: "Job",
    rows: str | PathLike[str] | Mapping[str, object],
    overrides: "Overrides" = (),
    /,
    *,
    seeds: Sequence[int] = (0,),
    orders: Sequence[str] = (),
    parallel: int = 1,
    published: bool = False,
    progress: Progress = True,
    **settings: object,
) -> "Report":
    """Run every row of a table on a job with every seed, and report on them; the same call resumes.

        raycner.compare("jobs/demo.yaml", "jobs/rows/tag_systems.yaml", seeds=[0, 1, 2])
        raycner.compare("jobs/demo.yaml", {"plain": ["method.name=finetuning"], "kd": ["method.name=extend_ner"]})

    `rows` is a YAML file or the same as a mapping: a name, and the config files and overrides that it adds to the job.
    `orders` are P1, P2 and so on, of the tasks or of the types of `scenario.order`. `parallel` is how many runs
    go at once, on the cluster at RAY_ADDRESS or on this machine; each then has the CPUs and GPUs of one worker. Raises
    `InputError` when a row cannot be run on the job.
    """
    from raycner.api.jobs import load_settings
    from raycner.orchestration.parallel_runs import run_in_parallel
    from raycner.orchestration.table_rows import entries, parse_rows, read_rows

    table = parse_rows(rows, "rows") if isinstance(rows, Mapping) else read_rows(fspath(rows))
    planned = entries(table, load_settings(job, overrides, settings), seeds, orders)
    if parallel < 1:
        raise InputError(f"parallel {parallel}: at least 1", location="parallel", hint="1 runs one after another")
    with event_handler(progress, ComparisonProgressDisplay) as handler:
        if parallel > 1:
            ledgers = run_in_parallel({str(entry): entry.config for entry in planned}, parallel, handler)
        else:
            ledgers = tuple(_run_each(planned, handler))
    runs: dict[str, Run] = {}
    labels: dict[str, str] = {}
    for entry, ledger in zip(planned, ledgers, strict=True):
        if ledger.run in runs:
            log.warning("row %r has the steps of %r on this job: it is left out", entry.row, labels[ledger.run])
            continue
        runs[ledger.run], labels[ledger.run] = Run(ledger, ObjectStore(entry.config.store)), entry.row
    return Report(runs.values(), labels=labels, contrasts=contrasts(table), published=published)


def _run_each(planned: "Sequence[Entry]", emit: "EventHandler") -> "Iterator[RunLedger]":
    """Run one entry after another."""
    from raycner.orchestration.runner import run

    for number, entry in enumerate(planned, start=1):
        emit(Message(f"run {number} of {len(planned)}: {entry}"))
        yield run(entry.config, emit)


def contrasts(rows: "Mapping[str, Row]") -> list[Contrast]:
    """What the rows of a table ask for: a row against another, a system against its control."""
    from raycner.orchestration.table_rows import sections

    rivals = [
        Contrast(row=name, against=row.against, differ_by=sections(row, rows[row.against]))
        for name, row in rows.items()
        if row.against is not None
    ]
    controls = [
        Contrast(row=row.control_of, against=name, isolates=row.isolates, differ_by=sections(row, rows[row.control_of]))
        for name, row in rows.items()
        if row.control_of is not None
    ]
    return rivals + controls


def _table(runs: Sequence[Run], rows: str | PathLike[str] | Mapping[str, object], published: bool) -> "Report":
    """The runs that are of a row, each under its name."""
    from raycner.orchestration.table_rows import parse_rows, read_rows, row_of

    table = parse_rows(rows, "rows") if isinstance(rows, Mapping) else read_rows(fspath(rows))
    labels = {run.name: row for run in runs if (row := row_of(run.data.config, table)) is not None}
    if runs and not labels:
        hint = f"its rows: {', '.join(table)}"
        raise InputError("no run has the overrides of a row", location="rows", hint=hint)
    places = {name: place for place, name in enumerate(table)}
    chosen = sorted((run for run in runs if run.name in labels), key=lambda run: places[labels[run.name]])
    return Report(chosen, labels=labels, contrasts=contrasts(table), published=published)


class Report:
    """Runs side by side: tables, frames, and one page with plots."""

    def __init__(
        self,
        runs: Iterable[Run],
        *,
        labels: Mapping[str, str] | None = None,
        contrasts: Sequence[Contrast] | None = None,
        published: bool = False,
        searches: Sequence[SearchRecord] = (),
    ) -> None:
        """`labels` are the names that tables show, by run; `contrasts` are pairs of them to be tested; `searches` are
        drawn in the page."""
        self.runs, self.searches = list(runs), list(searches)
        self._labels, self._contrasts, self._published = labels or {}, contrasts, published

    @cached_property
    def data(self) -> Summary:
        """Every score; `data.document()` is what `raycner report --json` prints."""
        scores = summary([run.ledger for run in self.runs], self._labels)
        if self._contrasts is not None:
            scores = with_significance(scores, self._contrasts)
        return with_published(scores) if self._published else scores

    def scores(self) -> "DataFrame":
        """`Run.scores` of all runs, with the columns `run`, `label` and `seed`."""
        return self._concatenated([run.scores() for run in self.runs])

    def summary(self) -> "DataFrame":
        """`Run.summary` of all runs, with the columns `run`, `label` and `seed`."""
        return self._concatenated([run.summary() for run in self.runs])

    def show(self, console: Console | None = None, *, details: bool = False) -> None:
        """Print the tables; with `details`, also the step matrix of each of several runs."""
        show(self.data, console or TextConsole(), details=details)

    def markdown(self, *, details: bool = False) -> str:
        """The tables as GitHub markdown; with `details`, also the gap to the joint bound by type."""
        return as_markdown(self.data, details=details)

    def write_html(self, file: str | PathLike[str]) -> None:
        """Write one self-contained page with tables and plots."""
        from raycner.reporting.html import page

        page.write(page.contents(self.data, self.searches), Path(file))

    def write_plots(self, folder: str | PathLike[str]) -> int:
        """Write each plot as PNG and SVG, and return how many there are."""
        from raycner.reporting.html import page

        return page.export(page.contents(self.data, self.searches), Path(folder))

    def _concatenated(self, frames: "Sequence[DataFrame]") -> "DataFrame":
        from pandas import DataFrame, concat

        labelled = []
        for run, frame in zip(self.runs, frames, strict=True):
            label = self._labels.get(run.name, run.label)
            labelled.append(frame.assign(run=run.name, label=label, seed=run.config["seed"]))
        if not labelled:
            return DataFrame()
        together = concat(labelled, ignore_index=True)
        first = ["run", "label", "seed"]
        return together[[*first, *(column for column in together.columns if column not in first)]]

    def __len__(self) -> int:
        return len(self.runs)

    def __repr__(self) -> str:
        return f"<Report of {len(self.runs)} runs: {', '.join(run.name for run in self.runs)}>"

    def _repr_html_(self) -> str:
        return as_html(partial(show, self.data))
