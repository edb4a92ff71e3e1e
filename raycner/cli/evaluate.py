"""raycner evaluate: score a step, an exported folder or a Hugging Face token classifier on annotated files."""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from raycner.cli.parser import Verbs, add_encoder, add_plugins, add_store, add_verb, count, pairs
from raycner.console import TextConsole
from raycner.errors import InputError
from raycner.registry import suggest

SETTING = re.compile(r"(?:(?:(reading|eval)|scenario\.corpus)\.)?([a-z_]+)=(.*)", re.DOTALL)
"""A setting among the files; that of a layout may also have the name that the hints of layouts give it."""
READ_OUT = ("decoding", "threshold")
"""The settings of `eval` that may stand among the files."""


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "evaluate",
        run,
        summary="score a step, an exported folder or a Hugging Face token classifier on annotated files",
        examples="""
            raycner evaluate demo-fg_pg-dld --test
            raycner evaluate demo-fg_pg-dld --test eval.decoding=constrained
            raycner evaluate demo-fg_pg-dld:2 news.conll more.jsonl --examples 3
            raycner evaluate my_export data/wnut17/test.conll --seqeval
            raycner evaluate my_classifier test.txt reading.tag_column=3 --types PER,LOC --json
            raycner evaluate my_classifier test.conll --rename PER=person,LOC=location --html evaluation.html
        """,
    )
    model = "a run and a step (default: its last step), an exported folder, or a token classifier: a folder or a hub id"
    parser.add_argument("model", metavar="RUN[:STEP]|FOLDER", help=model)
    files = "annotated files, folders or patterns of any layout; also reading.KEY=VALUE and eval.KEY=VALUE"
    parser.add_argument("files", nargs="*", metavar="FILE", help=files)
    parser.add_argument("--test", action="store_true", help="evaluate on the test part of the run instead of files")
    parser.add_argument("--layout", metavar="NAME", help="the layout of all files (default: by their names)")
    parser.add_argument("--types", type=_names, default=(), metavar="T,T,...", help="score these types only")
    rename = "the model's types under the names that the files use"
    parser.add_argument("--rename", type=pairs, default={}, metavar="T=T,...", help=rename)
    parser.add_argument("--examples", type=count, default=2, metavar="N", help="sentences per mistake (default: 2)")
    resamples = "resamples for the 95 %% intervals; 0 computes none (default: 1000)"
    parser.add_argument("--bootstrap", type=count, default=1000, metavar="N", help=resamples)
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="seed of the resamples (default: 0)")
    parser.add_argument("--seqeval", action="store_true", help="also print seqeval's own report, in strict mode")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print the documented JSON instead of tables")
    forms.add_argument("--html", metavar="FILE", type=Path, help="write one page with plots instead of tables")
    pickle = "also load a token classifier whose weights are pickled, not safetensors"
    parser.add_argument("--allow-pickle", action="store_true", help=pickle)
    add_store(parser)
    add_encoder(parser)
    add_plugins(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.evaluations import evaluate

    files, settings = _files_and_settings(args.files)
    evaluation = evaluate(
        args.model,
        *files,
        test=args.test,
        store=args.store,
        layout=args.layout,
        reading=settings["reading"],
        types=args.types,
        rename=args.rename,
        **settings["eval"],
        encoder=args.encoder,
        allow_pickle=args.allow_pickle,
        resamples=args.bootstrap,
        seed=args.seed,
        examples=args.examples,
        progress=TextConsole(stderr=True),
    )
    seqeval = evaluation.seqeval() if args.seqeval else ""
    if args.json:
        added = {"seqeval": seqeval} if seqeval else {}
        print(json.dumps(evaluation.data | added, ensure_ascii=False, indent=1))
        return
    if args.html:
        evaluation.write_html(args.html)
        TextConsole(stderr=True).print(
            f"{args.html}: open it in a browser", markup=False, highlight=False, soft_wrap=True
        )
    else:
        evaluation.show(console)
    if seqeval:
        console.print(f"\nseqeval, mode=strict:\n\n{seqeval}", highlight=False, markup=False, soft_wrap=True)


def _files_and_settings(words: Sequence[str]) -> tuple[list[str], Mapping[str, dict[str, Any]]]:
    """The files among the words of a command line, and the settings by their family, `reading` or `eval`."""
    from raycner.settings import parse

    files: list[str] = []
    settings: dict[str, dict[str, Any]] = {"reading": {}, "eval": {}}
    for word in words:
        setting = None if Path(word).exists() else SETTING.fullmatch(word)
        if setting is None:
            files.append(word)
            continue
        family, key, text = setting.groups()
        if family == "eval" and key not in READ_OUT:
            raise InputError("no such setting of this verb", location=f"eval.{key}", hint=suggest(key, READ_OUT))
        settings[family or "reading"][key] = parse(text)
    return files, settings


def _names(text: str) -> tuple[str, ...]:
    """T,T,..."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise InputError("no type is named", location="--types", hint="write --types person,location")
    return names
