"""raycner init: write a first job for files."""

import argparse
import shlex
from pathlib import Path

from rich.console import Console

from raycner.cli.inspect import path_and_settings
from raycner.cli.parser import Verbs, add_verb


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "init",
        run,
        summary="write a first job for a file or a folder, and print the commands that follow",
        examples="""
            raycner init data/news
            raycner init data/news.tsv --job news.yaml scenario.corpus.tag_column=1
            raycner init data/news --memory
        """,
    )
    words = "a file, a folder or a pattern (default: this folder), and scenario.corpus.KEY=VALUE settings"
    parser.add_argument("files", nargs="*", metavar="FOLDER", help=words)
    parser.add_argument(
        "--job", metavar="FILE", type=Path, default="my_job.yaml", help="the job to write (default: my_job.yaml)"
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--memory", action="store_true", help="keep some sentences of each step, and train on them again in later steps"
    )
    reservoir = "draw sentences with old entities from this folder of other text"
    forms.add_argument("--reservoir", metavar="FOLDER", help=reservoir)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.first_job import init

    path, settings = path_and_settings(args.files)
    layout = settings.pop("name", None)
    made = init(path or ".", args.job, layout=layout, reading=settings, memory=args.memory, reservoir=args.reservoir)
    job = shlex.quote(str(made))
    lines = (
        f"{job}: read it, and change what you like; then",
        f"  raycner plan {job}    # the steps; nothing is trained",
        f"  raycner run {job}     # train them; rerun it to resume",
        "  raycner report" + " " * len(job) + "   # compare all runs of the store",
    )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
