"""raycner run: train the missing steps of a job, and show its scores."""

import argparse

from rich.console import Console

from raycner.cli.output import progress
from raycner.cli.parser import Verbs, add_configs, add_log, add_verb


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "run",
        run,
        summary="train the missing steps of a job and show its scores; the same command resumes",
        examples="""
            raycner run jobs/demo.yaml
            raycner run jobs/demo.yaml clusters/laptop/compute.yaml method.name=finetuning seed=3
        """,
    )
    add_configs(parser)
    add_log(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.reports import Report
    from raycner.api.runs import run

    with progress(args, console) as handler:
        finished = run(args.configs, progress=handler)
    Report([finished]).show(console)
