"""The command line: raycner prepare | plan | run | compare | search | report | predict | export | extend."""

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from raycner.arguments import parse
from raycner.errors import InputError
from raycner.reporting.report import (
    Summary,
    add_published,
    add_significance,
    as_markdown,
    render,
    render_search,
    show,
    summary,
)
from raycner.storage.run_names import find_runs
from raycner.storage.searches import SearchRecord
from raycner.storage.store import ObjectStore

if TYPE_CHECKING:
    from raycner.callbacks.json_log import EventLog
    from raycner.callbacks.progress import ProgressDisplay


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Status 0: done. 2: the input is refused, and one line says why. 1: something failed, or is damaged.
    130 and 143: interrupted, and told to end (SIGTERM, as a cluster says it)."""
    console = Console(soft_wrap=False)
    errors = Console(stderr=True)
    handler = RichHandler(console=errors, show_time=False, show_path=False, show_level=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    told = parse(arguments)
    end = Termination()
    try:
        with end:
            return VERBS[told.verb](told, console) or 0
    except InputError as refusal:
        errors.print(f"raycner: {refusal}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        how = "terminated" if end.came else "interrupted"
        errors.print(f"raycner: {how}; the same line goes on where it stopped", soft_wrap=True)
        return 143 if end.came else 130
    except BrokenPipeError:  # whoever reads what is printed has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


class Termination:
    """Makes one SIGTERM an interruption: leases are dropped then, and what was started is ended.

    It must be KeyboardInterrupt that is raised, since nothing else gets out of Ray's calls.
    """

    came = False

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, self._heed)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _heed(self, *_: object) -> None:
        if not self.came:
            self.came = True
            raise KeyboardInterrupt


def _prepare(told: argparse.Namespace, console: Console) -> None:
    from raycner.callbacks.progress import ProgressDisplay
    from raycner.config import RunConfig
    from raycner.orchestration.run_steps import prepare

    _, scenario = prepare(RunConfig.load(told.layers), ProgressDisplay(console))
    for corpus in scenario.corpora:
        sizes = ", ".join(f"{part} {len(corpus[part])}" for part in ("train", "dev", "test"))
        console.print(
            f"{corpus.source}: {corpus.fingerprint}, {sizes}; types {', '.join(corpus.types)}", highlight=False
        )
        for note in corpus.notes:
            console.print(f"  {note}", highlight=False)


def _plan(told: argparse.Namespace, console: Console) -> None:
    from raycner.callbacks.progress import ProgressDisplay
    from raycner.config import RunConfig
    from raycner.orchestration.run_steps import prepare
    from raycner.training.checkpoint import StepCheckpoint
    from raycner.training.plan import plan

    config = RunConfig.load(told.layers)
    store, scenario = prepare(config, ProgressDisplay(console))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("step", "new types", "sentences", "method", "fingerprint", ""):
        table.add_column(column, justify="right" if column in ("step", "sentences") else "left")
    for spec, experience in zip(plan(config, scenario), scenario, strict=True):
        mark = "missing" if StepCheckpoint.find(store, spec.fingerprint) is None else "in the store"
        types = ", ".join(experience.inventory.new)
        row = (str(spec.index + 1), types, str(len(experience.train)), spec.method.label, spec.fingerprint, mark)
        table.add_row(*row, style="dim" if mark == "in the store" else "")
    console.print(table)


def _run(told: argparse.Namespace, console: Console) -> None:
    from raycner.config import RunConfig
    from raycner.orchestration.runner import run

    config = RunConfig.load(told.layers)
    with _display(told, console) as progress:
        ledger = run(config, progress)
    render([ledger], console)


def _compare(told: argparse.Namespace, console: Console) -> None:
    from raycner.orchestration.runner import run
    from raycner.orchestration.table_rows import entries, read

    rows = read(told.rows)
    table = entries(rows, told.layers, told.seeds, told.orders)
    ledgers, names = [], {}
    for number, entry in enumerate(table, start=1):
        with _display(told, Console(stderr=True)) as progress:
            progress("say", line=f"run {number} of {len(table)}: {entry}")
            ledgers.append(run(entry.config, progress))
        names[ledgers[-1].run] = entry.row
    found = summary(ledgers, names)
    add_significance(found, {name: row.against for name, row in rows.items() if row.against})
    _print(found, told, console)


def _search(told: argparse.Namespace, console: Console) -> None:
    from raycner.callbacks.json_log import EventLog
    from raycner.callbacks.progress import ProgressDisplay
    from raycner.callbacks.search_progress import Scoreboard
    from raycner.tuning.search import baseline, forecast, search
    from raycner.tuning.study import Plan, load

    asked = {name: getattr(told, name) for name in ("base", "trials", "seeds", "beam", "strategy", "sampler")}
    plan = Plan.of(load(told.space), told.layers, told.space, {k: v for k, v in asked.items() if v is not None})
    if told.dry_run:
        counted = forecast(plan, ProgressDisplay(console))
        console.print(str(counted), highlight=False)
        return
    with _display(told, console) as progress:
        progress("say", line="trial 0, which all others are compared with")
        against = baseline(plan, progress)
    with Scoreboard(console) if told.log == "text" else EventLog(sys.stderr) as event_queue:
        found = search(plan, told.space, against, event_queue, told.database)
    render_search(found, ObjectStore(plan.job.store), console)


def _report(told: argparse.Namespace, console: Console) -> None:
    store = ObjectStore(told.store)
    ledgers = find_runs(told.runs, store)
    if not ledgers and not told.json:
        raise InputError(
            "no run has been made", location=told.store, hint="start one with `raycner run JOB`, or name a store"
        )
    searches = SearchRecord.all(store)
    asked = [search for search in searches if any(fnmatch(search.name, f"{name}*") for name in told.runs or ("",))]
    _print(summary(ledgers), told, console, asked)


def _store_ls(told: argparse.Namespace, console: Console) -> None:
    from raycner.reporting.terminal.store_view import contents_view

    console.print(contents_view(ObjectStore(told.store)), highlight=False)


def _store_verify(told: argparse.Namespace, console: Console) -> int:
    from raycner.storage.housekeeping import damages

    with console.status("reading") as status:
        found = list(damages(ObjectStore(told.store), status.update))
    for damage in found:
        console.print(f"{damage.key}: {damage.what}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(found)} damaged" if found else "everything is as it was committed", highlight=False)
    return 1 if found else 0


def _store_gc(told: argparse.Namespace, console: Console) -> None:
    from raycner.reporting.terminal.store_view import leftovers_view
    from raycner.storage.housekeeping import leftovers

    found = leftovers(ObjectStore(told.store), told.unused_days)
    if not found:
        console.print("nothing is left over")
        return
    console.print(leftovers_view(found), highlight=False)
    if not told.yes:
        console.print("nothing was removed; --yes removes it", highlight=False)
        return
    for leftover in found:
        leftover.remove()
    console.print("removed")


def _predict(told: argparse.Namespace, console: Console) -> None:
    if told.ray is not None:
        _predict_many(told, console)
        return
    from raycner.data.passages import form_of, passages
    from raycner.data.sources import single
    from raycner.inference.predictor import Predictor, as_plain, counted, sink

    files = [(single(name), told.form or form_of(name)) for name in told.files]
    predictor = Predictor.of(told.step, told.store, told.encoder)
    given = (passage for file, form in files for passage in passages(file, form))
    with sink(told.output) as lines:
        for passage, found in counted(predictor.read(given), Console(stderr=True)):
            lines.write(json.dumps(as_plain(passage, found), ensure_ascii=False) + "\n")


def _predict_many(told: argparse.Namespace, console: Console) -> None:
    from raycner.inference.bulk import Bulk
    from raycner.inference.predictor import counted

    if told.output is None or told.ray < 1:
        raise InputError(
            "it needs a worker, and a folder of outputs", location="--ray", hint="say --ray N --output FOLDER"
        )
    given = {"store": told.store, "form": told.form, "encoder": told.encoder}
    bulk = Bulk.of(told.step, told.files, told.output, **given)
    there = len(bulk.files) - len(bulk.missing)
    done = list(counted(bulk.read(told.ray), Console(stderr=True)))
    refused = [reading for reading in done if reading.refused]
    read, entities = sum(one.passages for one in done), sum(one.entities for one in done)
    made = len(done) - len(refused)
    line = f"{made} files read, {read} passages, {entities} entities; {there} were there already"
    console.print(line, highlight=False, soft_wrap=True)
    if refused:
        more = f" (and {len(refused) - 1} more files)" if len(refused) > 1 else ""
        raise InputError(f"{refused[0].refused}{more}")


def _export(told: argparse.Namespace, console: Console) -> None:
    from raycner.inference.export import export

    form = export(told.step, told.folder, ObjectStore(told.store), told.encoder)
    if form == "pipeline":
        how = f'transformers.pipeline("token-classification", model="{told.folder}", aggregation_strategy="first")'
    else:
        how = f'raycner.Predictor.load("{told.folder}"), for transformers has no such network'
    console.print(f"{told.folder}: load it by {how}", markup=False, highlight=False, soft_wrap=True)


def _extend(told: argparse.Namespace, console: Console) -> None:
    from raycner.orchestration.extend import extend, extended
    from raycner.reporting.terminal.extension_report import gains_view
    from raycner.storage.run_names import find_run

    store = ObjectStore(told.store)
    ledger = find_run(told.run, store)
    config = extended(ledger, store, told.types, told.source, told.corpus, told.layers)
    with _display(told, console) as progress:
        longer = extend(ledger, config, progress)
    console.print(f"{longer.run}", highlight=False)
    console.print(gains_view(*longer.records()[-2:]), highlight=False)


def _display(told: argparse.Namespace, console: Console) -> "EventLog | ProgressDisplay":
    """Who is told what goes on in a run."""
    from raycner.callbacks.json_log import EventLog
    from raycner.callbacks.progress import ProgressDisplay

    return EventLog(sys.stderr) if told.log == "json" else ProgressDisplay(console)


def _print(found: Summary, told: argparse.Namespace, console: Console, searches: Sequence[SearchRecord] = ()) -> None:
    if told.published:
        add_published(found)
    if told.html or told.plots:
        _draw(found, told, searches)
    if told.html:
        return
    if told.json:
        print(json.dumps(found, indent=1))
    elif told.markdown:
        print(as_markdown(found))
    else:
        show(found, console, details=told.details)


def _draw(found: Summary, told: argparse.Namespace, searches: Sequence[SearchRecord]) -> None:
    from raycner.reporting.html import page

    sections = page.contents(found, searches)
    errors = Console(stderr=True)
    if told.html:
        page.write(sections, told.html)
        errors.print(f"{told.html}: open it in a browser", markup=False, highlight=False, soft_wrap=True)
    if told.plots:
        drawn = page.export(sections, told.plots)
        errors.print(f"{told.plots}: {drawn} plots, as PNG and SVG", markup=False, highlight=False, soft_wrap=True)


VERBS: dict[str, Callable[[argparse.Namespace, Console], int | None]] = {
    "prepare": _prepare,
    "plan": _plan,
    "run": _run,
    "compare": _compare,
    "search": _search,
    "report": _report,
    "store_ls": _store_ls,
    "store_verify": _store_verify,
    "store_gc": _store_gc,
    "predict": _predict,
    "export": _export,
    "extend": _extend,
}
"""What is done, by the names that `arguments` has for it. Status 0 where none is given back."""


if __name__ == "__main__":
    sys.exit(main())
