"""raycner serve: answer requests for entities with the step that an alias names."""

import argparse
import os
from contextlib import suppress

from rich.console import Console

from raycner.cli.parser import Verbs, add_encoder, add_store, add_verb, count, names
from raycner.errors import InputError

TOKEN = "RAYCNER_SERVE_TOKEN"
"""The environment variable with the token that requests must bear."""


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "serve",
        run,
        summary="serve the step of an alias over HTTP with Ray Serve; a promotion takes effect without a restart",
        examples="""
            raycner serve production
            raycner serve production --host 0.0.0.0 --replicas 2 --max-replicas 8
            raycner serve production --also legal,medical --max-models 1
            raycner serve production --shadow candidate
            raycner serve production --canary candidate=0.05
        """,
    )
    parser.add_argument("alias", metavar="ALIAS", help="an alias of the store")
    also = "further aliases; a request names its own in the header serve_multiplexed_model_id"
    parser.add_argument("--also", type=names, default=[], metavar="ALIAS,...", help=also)
    memory = "further aliases that a replica keeps in memory (default: all)"
    parser.add_argument("--max-models", type=count, default=0, metavar="N", help=memory)
    host = f"the address to listen on (default: 127.0.0.1); any other needs a token in {TOKEN}"
    parser.add_argument("--host", default="127.0.0.1", help=host)
    parser.add_argument("--port", type=count, default=8000, help="port to listen on (default: 8000)")
    parser.add_argument("--replicas", type=count, default=1, metavar="N", help="number of replicas (default: 1)")
    parser.add_argument("--max-replicas", type=count, default=0, metavar="N", help="upper limit of autoscaling")
    target = "requests in progress per replica that autoscaling aims at (default: 16)"
    parser.add_argument("--target-requests", type=float, default=16.0, metavar="N", help=target)
    idle = "seconds of low load before autoscaling stops a replica (default: 300)"
    parser.add_argument("--idle", type=float, default=300.0, metavar="S", help=idle)
    parser.add_argument("--gpus", type=float, default=0.0, metavar="N", help="GPUs per replica (default: 0)")
    shadow = "an alias whose step also reads every text; disagreements are counted by type"
    parser.add_argument("--shadow", default="", metavar="ALIAS", help=shadow)
    canary = "an alias whose step answers a share of the requests"
    parser.add_argument("--canary", type=_canary, default=("", 0.0), metavar="ALIAS=SHARE", help=canary)
    log_texts = "log every text with its entities to files in this folder (default: no text is logged)"
    parser.add_argument("--log-texts", default="", metavar="FOLDER", help=log_texts)
    parser.add_argument(
        "--max-texts", type=count, default=64, metavar="N", help="most texts in a request (default: 64)"
    )
    characters = "most characters in a request (default: 100000)"
    parser.add_argument("--max-characters", type=count, default=100_000, metavar="N", help=characters)
    timeout = "seconds after which a request is aborted (default: 30)"
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help=timeout)
    add_store(parser)
    add_encoder(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.serving import serve

    canary, share = args.canary
    with serve(
        args.alias,
        also=args.also,
        max_models=args.max_models,
        store=args.store,
        host=args.host,
        port=args.port,
        replicas=args.replicas,
        max_replicas=args.max_replicas,
        target_requests=args.target_requests,
        idle=args.idle,
        gpus=args.gpus,
        shadow=args.shadow,
        canary=canary,
        canary_share=share,
        token=os.environ.get(TOKEN, ""),
        log_texts=args.log_texts,
        max_texts=args.max_texts,
        max_characters=args.max_characters,
        timeout=args.timeout,
        encoder=args.encoder,
    ) as server:
        with suppress(KeyboardInterrupt):  # an interrupt, or SIGTERM, is how a server ends
            line = f"{args.alias} is served at {server.url}; /docs describes it"
            console.print(line, highlight=False, soft_wrap=True)
            server.wait()
        console.print("stopped")


def _canary(text: str) -> tuple[str, float]:
    """ALIAS=SHARE"""
    alias, _, share = text.rpartition("=")
    try:
        number = float(share)
    except ValueError:
        number = -1.0
    if not alias or not 0 <= number <= 1:
        raise InputError(f"{text!r} names no share", location="--canary", hint="write --canary candidate=0.05")
    return alias, number
