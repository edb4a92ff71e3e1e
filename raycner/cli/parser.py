"""The parser of a verb, and the options that several verbs share.

A verb is a file of `raycner.cli` with two functions:

    add_parser(verbs)      add the verb's parser, with its help, its examples and its options
    run(args, console)     do it; the exit status is what it returns, 0 for None
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeAlias

from rich.console import Console

from raycner.errors import InputError

Run = Callable[[argparse.Namespace, Console], int | None]
CONFIGS = "YAML config files and KEY=VALUE overrides, read from left to right; later ones win"


class Parser(argparse.ArgumentParser):
    """A parser that raises `InputError` for what it cannot parse."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message.replace("argument ", "", 1), hint=f"see `{self.prog} --help`")


Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"


def add_verb(verbs: Verbs, name: str, run: Run, *, summary: str, examples: str) -> Parser:
    """The parser of a new verb. `summary` is a line without a full stop; `examples` are shown below the options."""
    lines = "\n".join(f"  {line.strip()}" for line in examples.strip().splitlines())
    parser = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"examples:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(func=run, parser=parser)
    return parser


def add_configs(parser: Parser, more: str = "") -> None:
    """The config files and overrides of a job."""
    parser.add_argument("configs", nargs="*", metavar="CONFIG", help=CONFIGS + more)


def add_store(parser: Parser) -> None:
    """The store, of verbs that read no job."""
    parser.add_argument("--store", default="store", help="folder or URI of the store (default: store)")


def add_log(parser: Parser) -> None:
    """How progress is shown."""
    form = "show progress as text, or as one line of JSON per event on standard error (default: text)"
    parser.add_argument("--log", choices=("text", "json"), default="text", help=form)


def add_encoder(parser: Parser) -> None:
    """Where a trained step finds its pretrained encoder."""
    parser.add_argument("--encoder", metavar="PATH", help="the pretrained encoder, if it has moved since training")


def add_plugins(parser: Parser) -> None:
    """The plugins that a run was trained with: its ledger is not believed, so the user names them again."""
    what = "import this module or .py file first, for a run that was trained with it; may be repeated"
    parser.add_argument("--plugin", dest="plugins", action="append", default=[], metavar="PLUGIN", help=what)


def add_report(parser: Parser) -> None:
    """What a report shows, and in which form."""
    parser.add_argument(
        "--details",
        action="store_true",
        help="also show each run's step matrix, with precision, recall and support after every step",
    )
    parser.add_argument("--published", action="store_true", help="compare with the published scores of this setting")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print the documented JSON instead of tables")
    forms.add_argument("--markdown", action="store_true", help="print GitHub markdown instead of tables")
    forms.add_argument("--html", metavar="FILE", type=Path, help="write one page with plots instead of tables")
    parser.add_argument("--plots", metavar="DIR", type=Path, help="also write each plot as PNG and SVG")


def names(text: str) -> list[str]:
    """NAME,NAME and so on."""
    return [name.strip() for name in text.split(",")]


def pairs(text: str) -> dict[str, str]:
    """T=T,T=T,..."""
    parts = [pair.partition("=") for pair in text.split(",")]
    if not all(name and other for name, _, other in parts):
        raise InputError(f"{text!r} names no pairs", location="--rename", hint="write --rename PER=person,LOC=location")
    return {name.strip(): other.strip() for name, _, other in parts}


def merging(text: str) -> tuple[str, tuple[str, ...]]:
    """T,T=NEW: the new type, and those that it is made of."""
    parts, _, new = text.rpartition("=")
    merged = tuple(names(parts))
    if not new.strip() or not all(merged):
        raise argparse.ArgumentTypeError(f"{text!r} merges nothing; write city,country=place")
    return new.strip(), merged


def splitting(text: str) -> tuple[str, tuple[str, ...]]:
    """T=NEW,NEW: a type, and those that take its place."""
    old, _, new = text.partition("=")
    replacements = tuple(names(new))
    if not old.strip() or len(replacements) < 2 or not all(replacements):
        raise argparse.ArgumentTypeError(f"{text!r} splits nothing; write place=city,country")
    return old.strip(), replacements


def count(text: str) -> int:
    """A whole number that is not negative."""
    if not text.isascii() or not text.isdigit() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def amounts(text: str) -> dict[str, float]:
    """T=NUMBER,T=NUMBER,..."""
    parts = [pair.rpartition("=") for pair in text.split(",")]
    try:
        return {name.strip(): points(number if name.strip() else text) for name, _, number in parts}
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; write person=0.5,location=2") from None


def points(text: str) -> float:
    """A number of points of F1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of points from 0 to 100")
    return number


def add_inspection(parser: Parser) -> None:
    """What an inspection compares with, and in which form it is shown."""
    reach = "also list the sentences that are too long for this pretrained encoder (a folder or a hub id)"
    parser.add_argument("--encoder", metavar="PATH", help=reach)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print the documented JSON instead of tables")
    forms.add_argument("--html", metavar="FILE", type=Path, help="write one page instead of tables")
