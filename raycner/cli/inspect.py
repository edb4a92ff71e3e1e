"""raycner inspect: show how a file or a folder is read, without storing anything."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from raycner.cli.output import print_inspection
from raycner.cli.parser import Verbs, add_inspection, add_verb
from raycner.errors import InputError

PREFIX = "scenario.corpus."


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "inspect",
        run,
        summary="show how a file or a folder is read, without storing anything",
        examples="""
            raycner inspect data/news
            raycner inspect data/news.tsv scenario.corpus.name=columns scenario.corpus.tag_column=1
            raycner inspect scenario.corpus.train=a.conll scenario.corpus.test=b.conll --json
        """,
    )
    words = "a file, a folder or a pattern, and scenario.corpus.KEY=VALUE settings; the layout is recognised if not set"
    parser.add_argument("files", nargs="*", metavar="PATH", help=words)
    add_inspection(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.inspections import inspect

    path, settings = path_and_settings(args.files)
    layout = settings.pop("name", None)
    print_inspection(inspect(path, layout=layout, reading=settings, encoder=args.encoder), args, console)


def path_and_settings(words: Sequence[str]) -> tuple[str | None, dict[str, Any]]:
    """The path among the words of a command line, and the settings of the layout."""
    from raycner.settings import parse

    paths = [word for word in words if Path(word).exists() or not word.startswith(PREFIX)]
    settings = [word.removeprefix(PREFIX).partition("=") for word in words if word not in paths]
    if len(paths) > 1:
        hint = "name a folder or a pattern, or set scenario.corpus.train, dev and test"
        raise InputError(f"several paths: {', '.join(paths)}", location="inspect", hint=hint)
    return (paths[0] if paths else None), {key: parse(text) for key, _, text in settings}
