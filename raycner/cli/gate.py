"""raycner gate: whether a step may take the place of an older one, by what each old type loses."""

import argparse
import json
from pathlib import Path

from rich.console import Console

from raycner.cli.parser import (
    Parser,
    Verbs,
    add_encoder,
    add_plugins,
    add_store,
    add_verb,
    amounts,
    count,
    names,
    points,
)

NOT_PASSED = 3
"""The exit status of a gate that does not pass."""


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "gate",
        run,
        summary="compare a step with an older one, type by type; the exit status is 3 if an old type loses too much",
        examples="""
            raycner gate base-product --against base --test test.conll
            raycner gate base-product:2 --against base-product:1 --test test.conll --may-lose 0.5 --junit gate.xml
            raycner gate base-product --against base --per-type person=0.2,location=2 --allow-unseen --json
        """,
    )
    parser.add_argument("model", metavar="RUN[:STEP]", help="the newer step, or a folder")
    parser.add_argument("--against", required=True, metavar="RUN[:STEP]", help="the older step, or a folder")
    test = "annotated files (default: the test part of the newer step)"
    parser.add_argument("--test", nargs="+", default=(), metavar="FILE", help=test)
    add_comparison(parser)
    resamples = "resamples for the 95 %% intervals (default: 1000)"
    parser.add_argument("--bootstrap", type=count, default=1000, metavar="N", help=resamples)
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="seed of the resamples (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the documented JSON instead of a table")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="also write a JUnit XML file")
    add_store(parser)
    add_encoder(parser)
    add_plugins(parser)


def add_comparison(parser: Parser) -> None:
    """How test files are read, and what types may lose in them."""
    parser.add_argument("--layout", metavar="NAME", help="the layout of these files (default: by their names)")
    parser.add_argument(
        "--may-lose",
        type=points,
        default=1.0,
        metavar="POINTS",
        help="points of F1 that each type may lose (default: 1.0)",
    )
    add_allowance(parser)


def add_allowance(parser: Parser) -> None:
    """What single types may lose, and whether too few sentences pass."""
    per_type = "other limits for single types"
    parser.add_argument("--per-type", type=amounts, default={}, metavar="T=POINTS,...", help=per_type)
    unseen = "pass types whose loss is small in sentences that are too few to exclude a larger one"
    parser.add_argument("--allow-unseen", action="store_true", help=unseen)
    without = "types that the newer step was made without; they are not compared"
    parser.add_argument("--without", type=names, default=[], metavar="T,T,...", help=without)


def run(args: argparse.Namespace, console: Console) -> int:
    from raycner.api.gates import gate

    judgement = gate(
        args.model,
        *args.test,
        against=args.against,
        may_lose=args.may_lose,
        per_type=args.per_type,
        allow_unseen=args.allow_unseen,
        without=args.without,
        store=args.store,
        layout=args.layout,
        encoder=args.encoder,
        resamples=args.bootstrap,
        seed=args.seed,
    )
    if args.junit:
        judgement.write_junit(args.junit)
    if args.json:
        print(json.dumps(judgement.data, ensure_ascii=False, indent=1))
    else:
        judgement.show(console)
    return 0 if judgement.passes else NOT_PASSED
