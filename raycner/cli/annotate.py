"""raycner annotate: choose the sentences whose correction teaches a new type fastest, and write them for a tool."""

import argparse

from rich.console import Console

from raycner.cli.parser import Verbs, add_encoder, add_plugins, add_store, add_verb, count, names
from raycner.data.annotation_tools import TOOLS


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "annotate",
        run,
        summary="write the sentences that teach a new type fastest, with suggested entities, for an annotation tool",
        examples="""
            raycner annotate news-steps reviews/ --types product --examples "iPhone 15,Walkman" --output batch.json
            raycner annotate news-steps reviews/ --types product --format doccano --output batch.jsonl
            raycner annotate news-steps notes.jsonl --types drug --examples few.conll --format brat --output batch
        """,
    )
    step = "a run and a step (default: its last step), or an exported folder; the beginning of a run's name suffices"
    parser.add_argument("step", metavar="RUN[:STEP]", help=step)
    sources = "text, jsonl or columns: files, folders, patterns, URIs; - for standard input"
    parser.add_argument("files", nargs="+", metavar="FILE", help=sources)
    types = "the types to annotate; learned types need no examples"
    parser.add_argument("--types", required=True, type=names, metavar="TYPE,TYPE,...", help=types)
    examples = "mentions of the type that occur in the files, or an annotated file with some"
    parser.add_argument("--examples", default="", metavar="MENTION,...|FILE", help=examples)
    parser.add_argument(
        "--format", choices=tuple(TOOLS), default="labelstudio", help="format to write (default: labelstudio)"
    )
    output = "the file to write, for brat a new folder"
    parser.add_argument("--output", required=True, metavar="FILE", help=output)
    parser.add_argument("--top", type=count, default=200, metavar="N", help="sentences to write (default: 200)")
    parser.add_argument(
        "--form", choices=("text", "jsonl", "columns"), help="format of the files (default: by their names)"
    )
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="seed of the background words (default: 0)")
    add_store(parser)
    add_encoder(parser)
    add_plugins(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.annotation import annotate

    batch = annotate(
        args.step,
        *args.files,
        types=args.types,
        examples=args.examples,
        top=args.top,
        store=args.store,
        form=args.form,
        encoder=args.encoder,
        seed=args.seed,
    )
    batch.write(args.output, args.format)
    tool = TOOLS[args.format]
    run_name, types = args.step.partition(":")[0], ",".join(args.types)
    source = tool.pattern.format(path="CORRECTED")
    console.print(
        f"{args.output}: {len(batch)} of {batch.read} sentences, the most useful first\n"
        f"then: raycner extend {run_name} --types {types} --source '{source}' --corpus {tool.layout}",
        highlight=False,
        soft_wrap=True,
    )
