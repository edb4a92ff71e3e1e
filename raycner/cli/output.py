"""What verbs print: progress while they work, and reports."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from raycner.callbacks.json_log import JsonLog
    from raycner.callbacks.progress import ProgressDisplay
    from raycner.reporting.report import Summary
    from raycner.storage.searches import SearchRecord


def progress(args: argparse.Namespace, console: Console) -> "JsonLog | ProgressDisplay":
    """The handler of a run's events that `--log` chooses."""
    from raycner.callbacks.json_log import JsonLog
    from raycner.callbacks.progress import ProgressDisplay

    return JsonLog(sys.stderr) if args.log == "json" else ProgressDisplay(console)


def print_report(
    summary: "Summary", args: argparse.Namespace, console: Console, searches: "Sequence[SearchRecord]" = ()
) -> None:
    """Print a report, or write it as a page, as the options of `add_report` ask."""
    from raycner.reporting.report import add_published, as_markdown, show

    if args.published:
        add_published(summary)
    if args.html or args.plots:
        _draw(summary, args, searches)
    if args.html:
        return
    if args.json:
        print(json.dumps(summary, indent=1))
    elif args.markdown:
        print(as_markdown(summary))
    else:
        show(summary, console, details=args.details)


def _draw(summary: "Summary", args: argparse.Namespace, searches: "Sequence[SearchRecord]") -> None:
    from raycner.reporting.html import page

    sections = page.contents(summary, searches)
    errors = Console(stderr=True)
    if args.html:
        page.write(sections, args.html)
        errors.print(f"{args.html}: open it in a browser", markup=False, highlight=False, soft_wrap=True)
    if args.plots:
        number = page.export(sections, args.plots)
        errors.print(f"{args.plots}: {number} plots, as PNG and SVG", markup=False, highlight=False, soft_wrap=True)
