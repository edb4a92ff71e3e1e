"""raycner export: write a trained step to a folder that other software loads."""

import argparse
from pathlib import Path

from rich.console import Console

from raycner.cli.parser import Verbs, add_encoder, add_plugins, add_store, add_verb


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "export",
        run,
        summary="write a trained step to a folder that other software loads",
        examples="""
            raycner export demo-fg_pg-dld exported
            raycner export demo-fg_pg-dld exported --license apache-2.0 --language en
            raycner export demo-fg_pg-dld exported --onnx
            raycner export demo-fg_pg-dld:2 exported-step-2 --store s3://bucket/store
        """,
    )
    step = "a run and a step (default: its last step); the beginning of a run's name suffices"
    parser.add_argument("step", metavar="RUN[:STEP]", help=step)
    parser.add_argument("folder", metavar="DIR", type=Path, help="a new folder, or an empty one")
    parser.add_argument(
        "--license", default="", metavar="ID", help="license of the model for its card, such as apache-2.0"
    )
    languages = "languages of its texts for its card, as ISO codes: en,de"
    parser.add_argument("--language", default="", metavar="CODE,...", help=languages)
    graph = "also write model.onnx, for runtimes without torch (needs raycner[onnx])"
    parser.add_argument("--onnx", action="store_true", help=graph)
    add_store(parser)
    add_encoder(parser)
    add_plugins(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.inference.export import export
    from raycner.inference.model_card import Rights
    from raycner.storage.store import ObjectStore

    rights = Rights(args.license, tuple(code.strip() for code in args.language.split(",") if code.strip()))
    form = export(args.step, args.folder, ObjectStore(args.store), args.encoder, rights, onnx=args.onnx)
    if form == "pipeline":
        loader = f'transformers.pipeline("token-classification", model="{args.folder}", aggregation_strategy="first")'
    else:
        loader = f'raycner.Predictor.load("{args.folder}"); transformers has no such network'
    console.print(f"{args.folder}: load it with {loader}", markup=False, highlight=False, soft_wrap=True)
