"""raycner leaderboard: several tables of systems; which of their runs the store has, and the page of those."""

import argparse

from rich.console import Console

from raycner.cli.output import progress
from raycner.cli.parser import Verbs, add_log, add_verb
from raycner.console import TextConsole, printable

PARTLY_RUN = 1
"""The exit status where a table could not be run."""


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "leaderboard",
        run,
        summary="show which runs of several tables are finished, run the others, or print the page of all",
        examples="""
            raycner leaderboard jobs/leaderboard/small.yaml
            raycner leaderboard jobs/leaderboard/full.yaml store=s3://bucket/store --run --parallel 8
            raycner leaderboard jobs/leaderboard/full.yaml --markdown > leaderboard.md
        """,
    )
    parser.add_argument("file", metavar="FILE", help="a YAML file of tables: a name, a job, rows, seeds and orders")
    overrides = "YAML config files and KEY=VALUE overrides for the jobs of all tables"
    parser.add_argument("configs", nargs="*", metavar="CONFIG", help=overrides)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--run", action="store_true", help="run what is missing; the same command resumes")
    forms.add_argument("--markdown", action="store_true", help="print the page instead of the list")
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="runs at a time (default: 1)")
    add_log(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from raycner.api.leaderboard import leaderboard
    from raycner.reporting.terminal.renderer import render

    board = leaderboard(args.file, args.configs)
    if args.markdown:
        print(printable(board.markdown()), end="")
        return 0
    failed: tuple[str, ...] = ()
    if args.run:
        with progress(args, TextConsole(stderr=True)) as handler:
            failed = board.run(parallel=args.parallel, progress=handler)
    console.print(render(board.status(), console.width), highlight=False)
    for line in failed:
        console.print(f"not run: {line}", highlight=False, markup=False)
    return PARTLY_RUN if failed else 0
