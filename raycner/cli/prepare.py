"""raycner prepare: read the corpora of a job into its store."""

import argparse

from rich.console import Console

from raycner.cli.parser import Verbs, add_configs, add_verb


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "prepare",
        run,
        summary="read the corpora of a job into its store",
        examples="""
            raycner prepare jobs/demo.yaml
            raycner prepare scenario.corpus.name=columns scenario.corpus.path=my/corpus
        """,
    )
    add_configs(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.planning import prepare

    for corpus in prepare(args.configs, progress=console):
        sizes = ", ".join(f"{part} {len(corpus[part])}" for part in ("train", "dev", "test"))
        types = ", ".join(corpus.types)
        console.print(f"{corpus.source}: {corpus.fingerprint}, {sizes}; types {types}", highlight=False)
        for note in corpus.notes:
            console.print(f"  {note}", highlight=False)
