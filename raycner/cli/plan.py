"""raycner plan: show the steps of a job, and which of them are in the store."""

import argparse

from rich.console import Console
from rich.table import Table

from raycner.cli.parser import Verbs, add_configs, add_verb
from raycner.errors import InputError


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "plan",
        run,
        summary="show the steps of a job, and which of them are in the store",
        examples="""
            raycner plan jobs/demo.yaml
            raycner plan jobs/demo.yaml method.base.kd_weight=2 seed=3
        """,
    )
    add_configs(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.planning import plan

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("step", "new types", "sentences", "epochs", "batch", "method", "fingerprint", ""):
        is_text = column in ("new types", "method", "fingerprint", "")
        table.add_column(column, justify="left" if is_text else "right")
    for step in plan(args.configs, progress=console):
        figures = (step.sentences, step.epochs, step.batch_size)
        row = (str(step.number), ", ".join(step.types), *map(str, figures), step.method, step.fingerprint)
        table.add_row(*row, "in the store" if step.stored else "missing", style="dim" if step.stored else "")
    console.print(table)
    console.print(f"export: {_loader(args)}", markup=False, highlight=False, soft_wrap=True)


def _loader(args: argparse.Namespace) -> str:
    """What will load an export of the steps, and whether there can be an ONNX graph."""
    from raycner.api.planning import export_form
    from raycner.inference.onnx_model import HINT, missing_packages

    try:
        form = export_form(args.configs)
    except InputError as error:
        return f"not known yet; {error}"
    if form == "predictor":
        return "raycner.Predictor alone loads it; there is no ONNX graph of it"
    needs = f", which needs {HINT}" if missing_packages() else ""
    return f"transformers.pipeline loads it; an ONNX graph by --onnx{needs}"
