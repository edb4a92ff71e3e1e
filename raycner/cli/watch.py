"""raycner watch: how text changes over time, without annotation, and what may be a new type in it."""

import argparse
import json
from pathlib import Path

from rich.console import Console

from raycner.cli.parser import Verbs, add_encoder, add_plugins, add_store, add_verb, count
from raycner.console import TextConsole

FLAGGED = 3
"""The exit status where a window is flagged, with --alarm."""


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "watch",
        run,
        summary="compare text over time with a step's training text: unknown words, confidence, types, new types",
        examples="""
            raycner watch production october/ november/
            raycner watch base-product letters.jsonl --window 1000 --html drift.html
            raycner watch adopted news.txt --reference usual/ --json --alarm
        """,
    )
    step = "a run and a step (default: its last step), or an alias; the beginning of a run's name suffices"
    parser.add_argument("step", metavar="RUN[:STEP]", help=step)
    sources = "text, jsonl or columns, the oldest first: files, folders, patterns, URIs; - for standard input"
    parser.add_argument("files", nargs="+", metavar="FILE", help=sources)
    reference = "text to compare with (default: dev and test of the step's corpora)"
    parser.add_argument("--reference", nargs="+", default=(), metavar="FILE", help=reference)
    parser.add_argument("--window", type=count, default=500, metavar="N", help="sentences per window (default: 500)")
    parser.add_argument(
        "--form", choices=("text", "jsonl", "columns"), help="format of the files (default: by their names)"
    )
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="seed of the reference sample (default: 0)")
    alarm = f"exit with status {FLAGGED} if a window is flagged"
    parser.add_argument("--alarm", action="store_true", help=alarm)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print the documented JSON instead of tables")
    forms.add_argument("--html", metavar="FILE", type=Path, help="write one page instead of tables")
    add_store(parser)
    add_encoder(parser)
    add_plugins(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    from raycner.api.watching import watch

    drift = watch(
        args.step,
        *args.files,
        reference=args.reference,
        window=args.window,
        store=args.store,
        form=args.form,
        encoder=args.encoder,
        seed=args.seed,
    )
    if args.json:
        print(json.dumps(drift.data, ensure_ascii=False, indent=1))
    elif args.html:
        drift.write_html(args.html)
        line = f"{args.html}: open it in a browser"
        TextConsole(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
    else:
        drift.show(console)
    return FLAGGED if args.alarm and drift.flagged else 0
