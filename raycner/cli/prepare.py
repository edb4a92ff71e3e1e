"""raycner prepare: read the corpora of a job into its store, and report what was read."""

import argparse

from rich.console import Console

from raycner.cli.output import print_inspection
from raycner.cli.parser import Verbs, add_configs, add_inspection, add_verb
from raycner.console import TextConsole


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "prepare",
        run,
        summary="read the corpora of a job into its store, and report what was read",
        examples="""
            raycner prepare jobs/demo.yaml
            raycner prepare scenario.corpus.name=columns scenario.corpus.path=my/corpus
            raycner prepare jobs/own_columns.yaml --encoder bert-base-cased --html corpus.html
        """,
    )
    add_configs(parser)
    add_inspection(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.inspections import inspect_job

    progress = TextConsole(stderr=True) if args.json else console
    inspection = inspect_job(args.configs, encoder=args.encoder, progress=progress)
    print_inspection(inspection, args, console)
    if inspection.problem is not None:
        raise inspection.problem
