"""raycner adopt: make a tagger that was trained elsewhere the first step of a run."""

import argparse

from rich.console import Console

from raycner.cli.output import progress
from raycner.cli.parser import Verbs, add_configs, add_encoder, add_log, add_store, add_verb, count, names, pairs
from raycner.errors import InputError


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "adopt",
        run,
        summary="make a tagger that was trained elsewhere the first step of a run, which extend then teaches new types",
        examples="""
            raycner adopt my_classifier --name base
            raycner adopt dslim/bert-base-NER --name base --test news.conll --rename PER=person,LOC=location
            raycner adopt my_classifier --name base --labels O,B-drug,I-drug
            raycner adopt demo-fg_pg-dld:3 --name base
            raycner adopt base-product --name smaller --drop person --rename location=place
            raycner adopt spacy:en_core_web_sm --name base --by-predictions --text texts/ model.encoder.path=my_encoder
        """,
    )
    model = "a Hugging Face token classifier (a folder or a hub id), a folder of `raycner export`, or a step of a run"
    parser.add_argument("model", metavar="FOLDER|ID|RUN:STEP", help=model)
    parser.add_argument("--name", required=True, help="the name of the run")
    test = "annotated files on which this step and later ones are scored"
    parser.add_argument("--test", nargs="+", default=(), metavar="FILE", help=test)
    parser.add_argument("--layout", metavar="NAME", help="the layout of these files (default: by their names)")
    labels = "the labels in the order of the classifier's rows, if config.json does not name them"
    parser.add_argument("--labels", type=names, default=(), metavar="L,L,...", help=labels)
    parser.add_argument("--rename", type=pairs, default={}, metavar="T=T,...", help="the model's types under new names")
    drop = "types to leave out: the step never predicts them"
    parser.add_argument("--drop", type=names, default=(), metavar="T,T,...", help=drop)
    similar = "accept types in the test files that are probably the model's under other names"
    parser.add_argument("--allow-similar", action="store_true", help=similar)
    sentences = "sentences to compare with transformers.pipeline (default: 500)"
    parser.add_argument("--sentences", type=count, default=500, metavar="N", help=sentences)
    pickle = "also load weights that are pickled, not safetensors"
    parser.add_argument("--allow-pickle", action="store_true", help=pickle)
    predictions = (
        "train step 1 on the model's predictions in --text: for a spaCy pipeline, or a head that is not linear"
    )
    parser.add_argument("--by-predictions", action="store_true", help=predictions)
    text = "with --by-predictions: text, jsonl or columns; only the words are read"
    parser.add_argument("--text", nargs="+", default=[], metavar="FILE", help=text)
    annotations = "folder for the predictions, written as annotations (default: NAME-annotations)"
    parser.add_argument("--annotations", default="", metavar="FOLDER", help=annotations)
    add_configs(parser, "; with --by-predictions, how step 1 is trained")
    add_store(parser)
    add_encoder(parser)
    add_log(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.adoption import adopt
    from raycner.reporting.terminal.adoption_view import adoption_view

    if args.by_predictions:
        _by_predictions(args, console)
        return
    for option in ("text", "annotations", "configs"):
        if getattr(args, option):
            what = "only a model that is adopted by its predictions is trained"
            raise InputError(what, location=f"adopt {option}", hint="add --by-predictions, or leave it out")
    with progress(args, console) as handler:
        run, check = adopt(
            args.model,
            args.name,
            store=args.store,
            test=args.test,
            layout=args.layout,
            labels=args.labels,
            rename=args.rename,
            drop=args.drop,
            allow_similar=args.allow_similar,
            encoder=args.encoder,
            sentences=args.sentences,
            allow_pickle=args.allow_pickle,
            progress=handler,
        )
    console.print(adoption_view(run.ledger, check, console.width), highlight=False, soft_wrap=True)


def _by_predictions(args: argparse.Namespace, console: Console) -> None:
    """Let step 1 learn what the model predicts."""
    from raycner.api.adoption import adopt_by_predictions
    from raycner.reporting.terminal.adoption_view import distillation_view

    if not args.text:
        raise InputError("no text to predict in", location="--text", hint="name files or a folder with text")
    if args.test or args.labels:
        option = "--test" if args.test else "--labels"
        hint = f"leave it out; `raycner evaluate {args.name} FILES` scores the step"
        raise InputError("not read with --by-predictions", location=option, hint=hint)
    encoder = [f"model.encoder.path={args.encoder}"] if args.encoder else []
    with progress(args, console) as handler:
        adopted, made = adopt_by_predictions(
            args.model,
            args.name,
            args.text,
            [*encoder, *args.configs],
            store=args.store,
            annotations=args.annotations,
            rename=args.rename,
            drop=args.drop,
            allow_pickle=args.allow_pickle,
            progress=handler,
        )
    learned = {name: (number, 0, 0) for name, number in made.predictions.counts.most_common()}
    view = distillation_view(
        adopted.ledger, made.agreement, made.predictions.source, learned, str(made.annotations), console.width
    )
    console.print(view, highlight=False, soft_wrap=True)
