"""raycner extend: teach a finished run new types, by one more step."""

import argparse

from rich.console import Console

from raycner.cli.gate import NOT_PASSED, add_allowance
from raycner.cli.output import progress
from raycner.cli.parser import Verbs, add_configs, add_log, add_store, add_verb, points
from raycner.errors import InputError


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "extend",
        run,
        summary="teach a run of the protocol `steps` new types, from a source of their own",
        examples="""
            raycner extend news-steps --types food --source my/reviews
            raycner extend news-steps-food --undo
            raycner extend news-steps --types food,drink --source my/reviews at.3.optim.epochs=10
        """,
    )
    parser.add_argument("run", metavar="RUN", help="the name of a run, or its beginning")
    add_configs(parser, "; no setting of an earlier step may change")
    types = "the new types"
    parser.add_argument("--types", type=lambda text: text.split(","), metavar="TYPE,TYPE,...", help=types)
    source = "a folder, a file, a pattern or a URI in which these types are annotated"
    parser.add_argument("--source", help=source)
    parser.add_argument("--corpus", metavar="LAYOUT", help="the layout of the source (default: the run's own)")
    similar = "learn types whose names are probably other names of learned types"
    parser.add_argument("--allow-similar", action="store_true", help=similar)
    undo = "instead remove this run, which extends another one; that one stays"
    parser.add_argument("--undo", action="store_true", help=undo)
    may_lose = "then compare the old types as `raycner gate` does: the exit status is 3 if one loses more points of F1"
    parser.add_argument("--may-lose", type=points, metavar="POINTS", help=may_lose)
    add_allowance(parser)
    add_store(parser)
    add_log(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from raycner.api.runs import load_run
    from raycner.reporting.terminal.extension_report import gains_view

    before = load_run(args.run, args.store)
    if args.undo:
        before.undo_extension()
        console.print(f"{before.name} was removed; `raycner store gc` removes its last step", highlight=False)
        return 0
    if not args.types or not args.source:
        raise InputError("the new types or their source are missing", hint="write --types product --source my/reviews")
    with progress(args, console) as handler:
        longer = before.extend(
            args.types,
            args.source,
            args.configs,
            corpus=args.corpus,
            allow_similar=args.allow_similar,
            progress=handler,
        )
    console.print(f"{longer.name}", highlight=False)
    console.print(gains_view(*longer.steps[-2:], width=console.width), highlight=False)
    if args.may_lose is None:
        return 0
    judgement = longer.gate(may_lose=args.may_lose, per_type=args.per_type, allow_unseen=args.allow_unseen)
    judgement.show(console)
    return 0 if judgement.passes else NOT_PASSED
