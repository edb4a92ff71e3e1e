"""raycner plan: show the steps of a job, and which of them are in the store."""

import argparse

from rich.console import Console
from rich.table import Table

from raycner.cli.parser import Verbs, add_configs, add_verb


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
    from raycner.callbacks.progress import ProgressDisplay
    from raycner.config import RunConfig
    from raycner.orchestration.run_steps import prepare
    from raycner.training.checkpoint import StepCheckpoint
    from raycner.training.plan import plan

    config = RunConfig.load(args.configs)
    store, scenario = prepare(config, ProgressDisplay(console))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("step", "new types", "sentences", "method", "fingerprint", ""):
        table.add_column(column, justify="right" if column in ("step", "sentences") else "left")
    for spec, experience in zip(plan(config, scenario), scenario, strict=True):
        state = "missing" if StepCheckpoint.find(store, spec.fingerprint) is None else "in the store"
        types = ", ".join(experience.inventory.new)
        row = (str(spec.index + 1), types, str(len(experience.train)), spec.method.label, spec.fingerprint, state)
        table.add_row(*row, style="dim" if state == "in the store" else "")
    console.print(table)
