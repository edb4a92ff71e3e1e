"""raycner compare: run every row of a table on a job, and report on all of them."""

import argparse

from rich.console import Console

from raycner.cli.output import print_report, progress
from raycner.cli.parser import Verbs, add_configs, add_log, add_report, add_verb, names
from raycner.console import TextConsole


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "compare",
        run,
        summary="run every row of a table on a job, and report on them; the same command resumes",
        examples="""
            raycner compare jobs/demo.yaml --rows jobs/rows/tag_systems.yaml
            raycner compare jobs/demo.yaml --rows jobs/rows/tag_systems.yaml --seeds 0,1,2 --html table.html
            raycner compare jobs/demo.yaml --rows jobs/rows/tag_systems.yaml compute.workers=0 --parallel 4
        """,
    )
    add_configs(parser)
    add_log(parser)
    add_report(parser)
    rows = "a YAML file of rows: a name, and the config files and overrides that it adds to the job"
    parser.add_argument("--rows", required=True, metavar="FILE", help=rows)
    parser.add_argument("--seeds", type=_seeds, default=(0,), metavar="N,N,...", help="seeds of each row (default: 0)")
    orders = "orders of the tasks or types, P1,P2,P3: P1 is the job's or the published one; of few-shot steps, draws"
    parallel = "runs at a time, each on the CPUs and GPUs of one worker (default: 1)"
    parser.add_argument("--orders", type=names, default=(), metavar="P,P,...", help=orders)
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help=parallel)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.reports import compare

    with progress(args, TextConsole(stderr=True)) as handler:
        report = compare(
            args.configs,
            args.rows,
            seeds=args.seeds,
            orders=args.orders,
            parallel=args.parallel,
            published=args.published,
            progress=handler,
        )
    print_report(report, args, console)


def _seeds(text: str) -> tuple[int, ...]:
    """0,1,2"""
    try:
        seeds = tuple(dict.fromkeys(int(seed) for seed in text.split(",")))
    except ValueError:
        seeds = (-1,)
    if min(seeds) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of seeds; write 0,1,2")
    return seeds
