"""raycner settings: list what a job may set."""

import argparse
from itertools import groupby

from rich.console import Console
from rich.table import Table

from raycner.cli.parser import Verbs, add_verb


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "settings",
        run,
        summary="list the settings of a job, with type, default and meaning",
        examples="""
            raycner settings
            raycner settings optim
            raycner settings method.kd_weight
        """,
    )
    words = "a dotted path, such as optim or model.head: list what is at or below it (default: all of every run)"
    parser.add_argument("path", nargs="?", default="", metavar="PATH", help=words)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.setting_list import describe_settings

    for kind, docs in groupby(describe_settings(args.path), key=lambda doc: doc.kind):
        table = Table(
            "setting", "type", "default", "", box=None, pad_edge=False, header_style="bold", title_justify="left"
        )
        table.title = kind and f"\n{kind}"
        for doc in docs:
            table.add_row(doc.name, doc.type, "required" if doc.default is None else doc.default, doc.summary)
        console.print(table, markup=False, highlight=False)
