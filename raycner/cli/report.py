"""raycner report: show the scores of the runs in a store. It needs no torch."""

import argparse

from rich.console import Console

from raycner.cli.output import print_report
from raycner.cli.parser import Verbs, add_report, add_store, add_verb
from raycner.errors import InputError


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "report",
        run,
        summary="show the scores of the runs in a store",
        examples="""
            raycner report
            raycner report 'demo-fg_pg-*' --details
            raycner report 'columns-fg_pg-*' --rows jobs/rows/tag_systems.yaml --markdown
            raycner report --store s3://bucket/store --html report.html
        """,
    )
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="names of runs, their beginnings or patterns (default: all)"
    )
    rows = "name the runs by the rows of this file, with the tests and controls of the table that `compare` made of it"
    parser.add_argument("--rows", metavar="FILE", help=rows)
    add_store(parser)
    add_report(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.reports import report

    everything = report(*args.runs, store=args.store, rows=args.rows, published=args.published)
    if not everything.runs and not args.json:
        hint = "start one with `raycner run JOB`, or name another store"
        raise InputError("there is no run in this store", location=args.store, hint=hint)
    print_report(everything, args, console)
