"""raycner extend: teach a finished run new types, by one more step."""

import argparse

from rich.console import Console

from raycner.cli.output import progress
from raycner.cli.parser import Verbs, add_configs, add_log, add_store, add_verb


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "extend",
        run,
        summary="teach a run of the protocol `steps` new types, from a source of their own",
        examples="""
            raycner extend news-steps --types food --source my/reviews
            raycner extend news-steps --types food,drink --source my/reviews at.3.optim.epochs=10
        """,
    )
    parser.add_argument("run", metavar="RUN", help="the name of a run, or its beginning")
    add_configs(parser, "; no setting of an earlier step may change")
    types = "the new types"
    parser.add_argument(
        "--types", required=True, type=lambda text: text.split(","), metavar="TYPE,TYPE,...", help=types
    )
    source = "a folder, a file, a pattern or a URI in which these types are annotated"
    parser.add_argument("--source", required=True, help=source)
    parser.add_argument("--corpus", metavar="LAYOUT", help="the layout of the source (default: the run's own)")
    add_store(parser)
    add_log(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.runs import load_run
    from raycner.reporting.terminal.extension_report import gains_view

    before = load_run(args.run, args.store)
    with progress(args, console) as handler:
        longer = before.extend(args.types, args.source, args.configs, corpus=args.corpus, progress=handler)
    console.print(f"{longer.name}", highlight=False)
    console.print(gains_view(*longer.steps[-2:], width=console.width), highlight=False)
