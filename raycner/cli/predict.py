"""raycner predict: find the entities in files, with a trained step."""

import argparse
import json

from rich.console import Console

from raycner.cli.parser import Verbs, add_encoder, add_plugins, add_store, add_verb
from raycner.console import TextConsole
from raycner.errors import InputError


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "predict",
        run,
        summary="find the entities in files, with a trained step; prints JSON lines",
        examples="""
            raycner predict demo-fg_pg-dld news.txt
            raycner predict demo-fg_pg-dld:2 notes.jsonl --output entities.jsonl --min-confidence 0.8
            raycner predict demo-fg_pg-dld texts/ "more/**/*.txt"
            cat news.txt | raycner predict demo-fg_pg-dld -
            raycner predict demo-fg_pg-dld s3://bucket/texts --ray 4 --output s3://bucket/entities
        """,
    )
    step = "a run and a step (default: its last step), or an exported folder; the beginning of a run's name suffices"
    parser.add_argument("step", metavar="RUN[:STEP]", help=step)
    sources = "text, jsonl or columns: files, folders, patterns, URIs; - for standard input"
    parser.add_argument("files", nargs="+", metavar="FILE", help=sources)
    parser.add_argument(
        "--form", choices=("text", "jsonl", "columns"), help="format of the files (default: by their names)"
    )
    parser.add_argument("--output", metavar="FILE", help="write to this file instead, atomically")
    least = "leave out entities with a lower confidence, from 0 to 1 (default: 0)"
    parser.add_argument("--min-confidence", type=_confidence, default=0.0, metavar="C", help=least)
    many = "read files, folders, patterns and buckets on N Ray workers; --output is a folder; the same command resumes"
    parser.add_argument("--ray", type=int, metavar="N", help=many)
    add_store(parser)
    add_encoder(parser)
    add_plugins(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    if args.ray is not None:
        _predict_on_ray(args, console)
        return
    from raycner.data.passages import passages, with_forms
    from raycner.inference.predictor import Predictor, as_plain, confident, counted, sink

    files = with_forms(args.files, args.form)
    predictor = Predictor.of(args.step, args.store, args.encoder)
    inputs = (passage for file, form in files for passage in passages(file, form, named=len(files) > 1))
    with sink(args.output) as lines:
        for passage, entities in counted(predictor.read(inputs), TextConsole(stderr=True)):
            line = as_plain(passage, confident(entities, args.min_confidence))
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")


def _confidence(text: str) -> float:
    """A number from 0 to 1."""
    try:
        confidence = float(text)
    except ValueError:
        confidence = -1.0
    if not 0 <= confidence <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return confidence


def _predict_on_ray(args: argparse.Namespace, console: Console) -> None:
    from raycner.inference.bulk import BulkPrediction, Model
    from raycner.inference.predictor import counted

    if args.output is None or args.ray < 1:
        hint = "write --ray N --output FOLDER"
        raise InputError("it needs a worker, and a folder for the outputs", location="--ray", hint=hint)
    model = Model(args.step, args.store, args.encoder, tuple(args.plugins))
    bulk = BulkPrediction.of(model, args.files, args.output, args.form, args.min_confidence)
    present = len(bulk.files) - len(bulk.missing)
    results = list(counted(bulk.run(args.ray), TextConsole(stderr=True)))
    failed = [result for result in results if result.error]
    passages, entities = sum(result.passages for result in results), sum(result.entities for result in results)
    read = len(results) - len(failed)
    line = f"{read} files read, {passages} passages, {entities} entities; {present} were there already"
    console.print(line, highlight=False, soft_wrap=True)
    if failed:
        more = f" (and {len(failed) - 1} more files)" if len(failed) > 1 else ""
        raise InputError(f"{failed[0].error}{more}")
