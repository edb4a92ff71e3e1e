"""raycner history: what an alias named, since when, by whom, and why."""

import argparse

from rich.console import Console

from raycner.cli.parser import Verbs, add_store, add_verb


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "history",
        run,
        summary="show every promotion and rollback of an alias",
        examples="""
            raycner history production
        """,
    )
    parser.add_argument("alias", metavar="ALIAS", help="an alias of the store")
    add_store(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.aliases import history

    history(args.alias, store=args.store).show(console)
