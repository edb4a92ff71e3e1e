"""raycner rollback: point an alias at the step that it named before."""

import argparse

from rich.console import Console

from raycner.cli.parser import Verbs, add_store, add_verb
from raycner.console import TextConsole


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "rollback",
        run,
        summary="point an alias at the step that it named before its last promotion",
        examples="""
            raycner rollback production --why "too many products"
        """,
    )
    parser.add_argument("alias", metavar="ALIAS", help="an alias of the store")
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, for the history")
    add_store(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.aliases import rollback

    alias = rollback(args.alias, why=args.why, store=args.store, waiting=TextConsole(stderr=True).print)
    console.print(f"{alias.name}: {alias.address}", highlight=False, soft_wrap=True)
