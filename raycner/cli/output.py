"""What verbs print: progress while they work, and reports."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from raycner.console import TextConsole, printable

if TYPE_CHECKING:
    from raycner.api.inspections import Inspection
    from raycner.api.progress import Progress
    from raycner.api.reports import Report


@contextmanager
def progress(args: argparse.Namespace, console: Console) -> "Iterator[Progress]":
    """Where the events of a run go, as `--log` says: to a display on the console, or to standard error as JSON."""
    if args.log == "text":
        yield console
        return
    from raycner.callbacks.json_log import JsonLog

    with JsonLog(sys.stderr) as log:
        yield log


def print_report(report: "Report", args: argparse.Namespace, console: Console) -> None:
    """Print a report, or write it as a page, as the options of `add_report` ask."""
    errors = TextConsole(stderr=True)
    if args.html:
        report.write_html(args.html)
        errors.print(f"{args.html}: open it in a browser", markup=False, highlight=False, soft_wrap=True)
    if args.plots:
        number = report.write_plots(args.plots)
        errors.print(f"{args.plots}: {number} plots, as PNG and SVG", markup=False, highlight=False, soft_wrap=True)
    if args.html:
        return
    if args.json:
        print(json.dumps(report.data.document(), indent=1))
    elif args.markdown:
        print(printable(report.markdown(details=args.details)))
    else:
        report.show(console, details=args.details)


def print_inspection(inspection: "Inspection", args: argparse.Namespace, console: Console) -> None:
    """Print what was read, or write it as a page, as the options of `add_inspection` ask."""
    if args.json:
        print(json.dumps(inspection.data, ensure_ascii=False, indent=1))
    elif args.html:
        inspection.write_html(args.html)
        line = f"{args.html}: open it in a browser"
        TextConsole(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
    else:
        inspection.show(console)
