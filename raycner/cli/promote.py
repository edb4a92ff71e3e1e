"""raycner promote: point an alias such as `production` at a step."""

import argparse

from rich.console import Console

from raycner.cli.gate import NOT_PASSED, add_comparison
from raycner.cli.parser import Verbs, add_encoder, add_plugins, add_store, add_verb
from raycner.console import TextConsole


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "promote",
        run,
        summary="point an alias at a step, after a gate if test files are given; the alias can stand for RUN:STEP",
        examples="""
            raycner promote base production
            raycner promote base-product production --test test.conll --may-lose 1.0 --why "products, ticket 12"
            raycner promote base-product:2 canary --store s3://bucket/store
        """,
    )
    parser.add_argument("step", metavar="RUN[:STEP]", help="a run and a step (default: its last step)")
    parser.add_argument("alias", metavar="ALIAS", help="a name, such as production")
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, for the history")
    test = "annotated files on which the step must pass a gate against what the alias names now, as in `raycner gate`"
    parser.add_argument("--test", nargs="+", default=(), metavar="FILE", help=test)
    add_comparison(parser)
    add_store(parser)
    add_encoder(parser)
    add_plugins(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from raycner.api.aliases import aliases, promote
    from raycner.api.gates import gate

    errors = TextConsole(stderr=True)
    judgement = None
    if args.test and args.alias in aliases(args.store):
        judgement = gate(
            args.step,
            *args.test,
            against=args.alias,
            may_lose=args.may_lose,
            per_type=args.per_type,
            allow_unseen=args.allow_unseen,
            without=args.without,
            store=args.store,
            layout=args.layout,
            encoder=args.encoder,
        )
        judgement.show(console)
        if not judgement.passes:
            errors.print(f"{args.alias} was not changed", soft_wrap=True)
            return NOT_PASSED
    promoted = promote(args.step, args.alias, why=args.why, gate=judgement, store=args.store, waiting=errors.print)
    console.print(f"{promoted.name}: {promoted.address}", highlight=False, soft_wrap=True)
    return 0
