"""What may be typed after `raycner`: its verbs, and what each of them takes."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from raycner import __version__

LAYERS = "YAML files and KEY=VALUE settings, left to right; later ones win"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What a command line says, its verb by name.

    Options may stand anywhere among the layers, which argparse alone does not allow.
    """
    parser = _parser()
    told, rest = parser.parse_known_args(arguments)
    if not hasattr(told, "layers") or any(word.startswith("-") for word in rest):
        parser.parse_args(arguments)
    told.layers = [*getattr(told, "layers", ()), *rest]
    return told


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raycner", description="Continual named entity recognition on Ray.")
    parser.add_argument("--version", action="version", version=f"raycner {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    job = argparse.ArgumentParser(add_help=False)
    job.add_argument("layers", nargs="*", metavar="LAYER", help=LAYERS)

    watched = argparse.ArgumentParser(add_help=False)
    how = "tell what goes on to people, or in a line of JSON an event, on standard error (default: text)"
    watched.add_argument("--log", choices=("text", "json"), default="text", help=how)

    prepare = verbs.add_parser("prepare", parents=[job], help="read the corpora of a job into its store")
    prepare.set_defaults(verb="prepare")

    plan = verbs.add_parser(
        "plan", parents=[job], help="show the steps of a job, and which of them the store already has"
    )
    plan.set_defaults(verb="plan")

    run = verbs.add_parser(
        "run", parents=[job, watched], help="train the missing steps of a job and report; the same line resumes"
    )
    run.set_defaults(verb="run")

    views = argparse.ArgumentParser(add_help=False)
    views.add_argument("--details", action="store_true", help="also show the step matrix of each of several runs")
    views.add_argument("--published", action="store_true", help="set what is published of these settings beside it")
    forms = views.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print the documented JSON instead of tables")
    forms.add_argument("--markdown", action="store_true", help="print GitHub markdown instead of tables")
    forms.add_argument("--html", metavar="FILE", type=Path, help="write one page with plots instead of tables")
    views.add_argument("--plots", metavar="DIR", type=Path, help="also write each plot as PNG and SVG")

    compare = verbs.add_parser(
        "compare", parents=[job, watched, views], help="run every row of a table on a job, and report on them"
    )
    compare.add_argument("--rows", required=True, metavar="FILE", help="a YAML file of rows, each laid over the job")
    compare.add_argument("--seeds", type=_seeds, default=(0,), metavar="N,N,...", help="of every row (default: 0)")
    orders = "of tasks, as scenario.permutation names them: P1,P2,P3 (default: the job's)"
    compare.add_argument("--orders", type=lambda text: text.split(","), default=(), metavar="P,P,...", help=orders)
    compare.set_defaults(verb="compare")

    search = verbs.add_parser("search", parents=[watched], help="search the settings of a job; the same line resumes")
    search.add_argument("space", metavar="STUDY", help="a Python file with a STUDY, such as search_spaces/dld.py")
    search.add_argument("layers", nargs="*", metavar="LAYER", help=LAYERS)
    search.add_argument("--base", metavar="JOB", help="search on this job instead of the study's own")
    search.add_argument("--trials", type=int, metavar="N", help="how many, instead of the study's own number")
    search.add_argument("--seeds", type=int, metavar="N", help="how many a trial is")
    search.add_argument("--beam", type=int, metavar="N", help="how many of the best runs per_step goes on from")
    search.add_argument("--strategy", choices=("whole_run", "per_step"), help="settings for a run, or for each step")
    search.add_argument("--sampler", choices=("tpe", "random"), help="who proposes")
    search.add_argument("--database", metavar="URL", help="keep Optuna's study in this database, not in the store")
    search.add_argument("--dry-run", action="store_true", help="say how many steps it would train, and end")
    search.set_defaults(verb="search")

    report = verbs.add_parser("report", parents=[views], help="show what the runs of a store have reached")
    report.add_argument("runs", nargs="*", metavar="RUN", help="names or patterns of runs; all when none is given")
    report.add_argument("--store", default="store", help="folder or URI of the store (default: store)")
    report.set_defaults(verb="report")

    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--store", default="store", help="folder or URI of the store (default: store)")
    store = verbs.add_parser("store", help="show, check and tidy what a store holds")
    chores = store.add_subparsers(required=True, metavar="ls|verify|gc")
    contents = chores.add_parser("ls", parents=[place], help="show runs, searches, corpora and steps, with their sizes")
    contents.set_defaults(verb="store_ls")
    verify = chores.add_parser("verify", parents=[place], help="read every byte; status 1 if anything is damaged")
    verify.set_defaults(verb="store_verify")
    gc = chores.add_parser("gc", parents=[place], help="show what no run or search wants any more, and remove it")
    sure = gc.add_mutually_exclusive_group()
    sure.add_argument("--dry-run", action="store_true", help="only show it (as without any option)")
    sure.add_argument("--yes", action="store_true", help="remove it")
    unused = "evict copies that this node's cache was not asked for in so many days (default: 30)"
    gc.add_argument("--unused-days", type=float, default=30.0, metavar="DAYS", help=unused)
    gc.set_defaults(verb="store_gc")

    predict = verbs.add_parser("predict", help="find the entities in files, with a trained step; prints JSON lines")
    predict.add_argument(
        "step", metavar="RUN[:STEP]", help="a run, or the beginning of its name; its last step if none"
    )
    predict.add_argument("files", nargs="+", metavar="FILE", help="text, jsonl or columns; a URI; - for standard input")
    predict.add_argument("--store", default="store", help="folder or URI of the store (default: store)")
    predict.add_argument(
        "--form", choices=("text", "jsonl", "columns"), help="of all files; told by their names if not"
    )
    predict.add_argument("--output", metavar="FILE", help="write here, whole or not at all, instead of printing")
    predict.add_argument("--encoder", metavar="PATH", help="where the run's pretrained encoder lies now")
    many = "read files, folders, patterns and buckets on N Ray workers, a file of --output each; resumes"
    predict.add_argument("--ray", type=int, metavar="N", help=many)
    predict.set_defaults(verb="predict")

    export = verbs.add_parser("export", help="write a trained step into a folder that other software loads")
    export.add_argument("step", metavar="RUN[:STEP]", help="a run, or the beginning of its name; its last step if none")
    export.add_argument("folder", metavar="DIR", type=Path, help="a folder that is not there yet, or empty")
    export.add_argument("--store", default="store", help="folder or URI of the store (default: store)")
    export.add_argument("--encoder", metavar="PATH", help="where the run's pretrained encoder lies now")
    export.set_defaults(verb="export")

    extend = verbs.add_parser(
        "extend", parents=[watched], help="teach a run of the protocol steps new types, from a source of their own"
    )
    extend.add_argument("run", metavar="RUN", help="a run, or the beginning of its name")
    extend.add_argument("layers", nargs="*", metavar="LAYER", help=f"{LAYERS}; of old steps nothing may change")
    extend.add_argument("--types", required=True, type=lambda text: text.split(","), metavar="TYPE,TYPE,...")
    extend.add_argument(
        "--source", required=True, help="a folder, a file, a pattern or a URI with these types annotated"
    )
    extend.add_argument("--corpus", metavar="LAYOUT", help="of the source, if not the run's own")
    extend.add_argument("--store", default="store", help="folder or URI of the store (default: store)")
    extend.set_defaults(verb="extend")
    return parser


def _seeds(text: str) -> tuple[int, ...]:
    """0,1,2"""
    try:
        seeds = tuple(dict.fromkeys(int(seed) for seed in text.split(",")))
    except ValueError:
        seeds = (-1,)
    if min(seeds) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of seeds; write 0,1,2")
    return seeds
