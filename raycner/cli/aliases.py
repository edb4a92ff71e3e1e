"""raycner aliases: what each alias of a store names."""

import argparse

from rich.console import Console

from raycner.cli.parser import Verbs, add_store, add_verb


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "aliases",
        run,
        summary="show which step each alias names",
        examples="""
            raycner aliases
            raycner aliases --store s3://bucket/store
        """,
    )
    add_store(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.aliases import aliases

    aliases(args.store).show(console)
