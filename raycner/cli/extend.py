"""raycner extend: teach a finished run new types by one more step, or give it other types without training."""

import argparse
from typing import TYPE_CHECKING

from rich.console import Console

from raycner.cli.gate import NOT_PASSED, add_allowance
from raycner.cli.output import progress
from raycner.cli.parser import (
    Verbs,
    add_configs,
    add_log,
    add_store,
    add_verb,
    merging,
    names,
    pairs,
    points,
    splitting,
)
from raycner.errors import InputError

if TYPE_CHECKING:
    from raycner.api.runs import Run


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "extend",
        run,
        summary="teach a run new types, from a source of their own; or drop, rename, merge or split its types",
        examples="""
            raycner extend news-steps --types food --source my/reviews
            raycner extend news-steps-food --undo
            raycner extend news-steps --types food,drink --source my/reviews at.3.optim.epochs=10
            raycner extend news-steps --drop date --rename PER=person --merge city,country=place
            raycner extend news-steps --split place=city,country --source my/travel
        """,
    )
    parser.add_argument("run", metavar="RUN", help="the name of a run, or its beginning")
    add_configs(parser, "; no setting of an earlier step may change")
    types = "the new types"
    parser.add_argument("--types", type=names, metavar="TYPE,TYPE,...", help=types)
    source = "a folder, a file, a pattern or a URI in which these types are annotated"
    parser.add_argument("--source", help=source)
    parser.add_argument("--corpus", metavar="LAYOUT", help="the layout of the source (default: the run's own)")
    annotated = "old types that the source annotates too, in every sentence"
    parser.add_argument("--annotated", type=names, default=[], metavar="T,T,...", help=annotated)
    partly = "types, new or old, of which the source marks only some entities; the previous step labels all other words"
    parser.add_argument("--partly", type=names, default=[], metavar="T,T,...", help=partly)
    similar = "learn types whose names are probably other names of learned types"
    parser.add_argument("--allow-similar", action="store_true", help=similar)
    drop = "types to remove; nothing is trained"
    parser.add_argument("--drop", type=names, default=[], metavar="T,T,...", help=drop)
    rename = "new names for types; nothing is trained"
    parser.add_argument("--rename", type=pairs, default={}, metavar="T=T,...", help=rename)
    merge = "types to merge into one; may be repeated; nothing is trained"
    parser.add_argument("--merge", type=merging, action="append", default=[], metavar="T,T=T", help=merge)
    split = "types that replace one; the source annotates them"
    parser.add_argument("--split", type=splitting, metavar="T=T,T", help=split)
    undo = "remove this run, which `extend` made; the run that it extends stays"
    parser.add_argument("--undo", action="store_true", help=undo)
    may_lose = "then compare the old types as `raycner gate` does: the exit status is 3 if one loses more points of F1"
    parser.add_argument("--may-lose", type=points, metavar="POINTS", help=may_lose)
    add_allowance(parser)
    add_store(parser)
    add_log(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from raycner.api.runs import load_run
    from raycner.reporting.terminal.extension_report import gains_view

    # The same command resumes: what an earlier try left of the longer run has the same beginning.
    before = load_run(args.run, args.store, without=() if args.undo else args.types or ())
    if args.undo:
        before.undo_extension()
        console.print(f"{before.name} was removed; `raycner store gc` removes its last step", highlight=False)
        return 0
    if args.drop or args.rename or args.merge:
        return _retype(args, console, before)
    if args.split and (args.types or args.annotated or args.partly):
        raise InputError(
            "--split with --types, --annotated or --partly", hint="split first, and extend the run that this makes"
        )
    if not (args.types or args.split) or not args.source:
        raise InputError("the new types or their source are missing", hint="write --types product --source my/reviews")
    with progress(args, console) as handler:
        if args.split:
            name, into = args.split
            longer = before.split(name, into, args.source, args.configs, corpus=args.corpus, progress=handler)
        else:
            longer = before.extend(
                args.types,
                args.source,
                args.configs,
                corpus=args.corpus,
                annotated=args.annotated,
                partly=args.partly,
                allow_similar=args.allow_similar,
                progress=handler,
            )
    console.print(f"{longer.name}", highlight=False)
    console.print(gains_view(*longer.steps[-2:], width=console.width), highlight=False)
    if args.may_lose is None:
        return 0
    judgement = longer.gate(
        may_lose=args.may_lose, per_type=args.per_type, allow_unseen=args.allow_unseen, without=args.without
    )
    judgement.show(console)
    return 0 if judgement.passes else NOT_PASSED


def _retype(args: argparse.Namespace, console: Console, before: "Run") -> int:
    """Give the run other types."""
    from raycner.reporting.terminal.adoption_view import adoption_view

    trains = [option for option in ("types", "source", "split", "configs", "may_lose") if getattr(args, option)]
    if trains:
        what = f"--drop, --rename and --merge train nothing, so they do not read {trains[0]}"
        raise InputError(what.replace(" configs", " settings"), hint="extend the run that they make")
    repeated = [new for number, (new, _) in enumerate(args.merge) if new in [other for other, _ in args.merge[:number]]]
    if repeated:
        raise InputError(f"{repeated[0]!r} is made twice", location="--merge", hint="write all parts in one --merge")
    with progress(args, console) as handler:
        run = before.retype(drop=args.drop, rename=args.rename, merge=dict(args.merge), progress=handler)
    console.print(adoption_view(run.ledger, None, console.width), highlight=False, soft_wrap=True)
    return 0
