"""raycner search: search the settings of a job with Optuna, in this process or on Ray."""

import argparse

from rich.console import Console

from raycner.cli.output import progress
from raycner.cli.parser import CONFIGS, Verbs, add_log, add_verb

STUDY_OPTIONS = ("base", "trials", "seeds", "beam", "strategy", "sampler")


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "search",
        run,
        summary="search the settings of a job; the same command resumes",
        examples="""
            raycner search search_spaces/dld.py
            raycner search search_spaces/dld.py --base jobs/gum_fg3_pg2.yaml --trials 48 optim.epochs=5
            raycner search search_spaces/dld.py --parallel 4
            raycner search search_spaces/dld.py --dry-run
        """,
    )
    parser.add_argument("study", metavar="STUDY", help="a Python file with a STUDY, such as search_spaces/dld.py")
    parser.add_argument("configs", nargs="*", metavar="CONFIG", help=CONFIGS)
    parser.add_argument("--base", metavar="JOB", help="the job to search on (default: the study's)")
    parser.add_argument("--trials", type=int, metavar="N", help="number of trials (default: the study's)")
    parser.add_argument("--seeds", type=int, metavar="N", help="seeds per trial")
    parser.add_argument(
        "--beam",
        type=int,
        metavar="N",
        help="with --strategy per_step, the number of best runs to continue from after each step",
    )
    parser.add_argument(
        "--strategy", choices=("whole_run", "per_step"), help="one set of settings per run, or per step"
    )
    parser.add_argument("--sampler", choices=("tpe", "random"), help="how Optuna proposes settings")
    parser.add_argument("--database", metavar="URL", help="keep Optuna's study in this database, not in the store")
    parallel = "trials at a time, on Ray (default: with compute.workers=0 one, in this process)"
    parser.add_argument("--parallel", type=int, metavar="N", help=parallel)
    warm_start = "try the best settings of this earlier search of the store first"
    parser.add_argument("--warm-start", metavar="SEARCH", help=warm_start)
    parser.add_argument("--dry-run", action="store_true", help="only count the steps that the search would train")
    add_log(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.searches import forecast, search

    options = {name: getattr(args, name) for name in STUDY_OPTIONS if getattr(args, name) is not None}
    if args.dry_run:
        steps = forecast(args.study, args.configs, progress=console, **options)
        console.print(str(steps), highlight=False)
        return
    with progress(args, console) as handler:
        finished = search(
            args.study,
            args.configs,
            database=args.database,
            parallel=args.parallel,
            warm_start=args.warm_start,
            progress=handler,
            **options,
        )
    finished.show(console)
