"""The program `raycner`: parse the command line, run one verb, and turn its outcome into an exit status."""

import argparse
import logging
import os
import re
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches

from rich.logging import RichHandler

from raycner.addresses import refuse_texts
from raycner.cli import (
    adopt,
    aliases,
    annotate,
    compare,
    evaluate,
    export,
    extend,
    gate,
    history,
    init,
    inspect,
    leaderboard,
    plan,
    predict,
    prepare,
    promote,
    report,
    rollback,
    run,
    search,
    serve,
    settings,
    store,
    watch,
)
from raycner.cli.parser import Parser
from raycner.console import TextConsole
from raycner.errors import InputError
from raycner.plugins import load_plugins
from raycner.registry import suggest
from raycner.version import __version__

VERBS = (
    *(init, inspect, prepare, plan, run, compare, leaderboard, search, report, store, evaluate, predict, export),
    *(adopt, annotate, extend, gate, promote, rollback, aliases, history, serve, watch, settings),
)
"""In the order of `raycner --help`."""
SETTING = re.compile(r"[A-Za-z_][\w.]*=")
"""The beginning of KEY=VALUE."""
REPEATED = ("configs", "files", "runs")
"""The arguments that a verb may take several of."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb, and return its exit status.

    0    done
    1    something failed, or the store is damaged
    2    the input is refused; one line says why
    3    a gate does not pass
    130  interrupted
    141  the reader of standard output closed it
    143  terminated by SIGTERM, as clusters do
    """
    console = TextConsole(soft_wrap=False)
    errors = TextConsole(stderr=True)
    handler = RichHandler(console=errors, show_time=False, show_path=False, show_level=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("huggingface_hub").propagate = False  # it prints its warnings itself
    termination = Termination()
    try:
        args = parse(sys.argv[1:] if arguments is None else arguments)
        with termination:
            load_plugins(getattr(args, "plugins", ()))
            return args.func(args, console) or 0
    except InputError as error:
        errors.print(f"raycner: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        for line in error.details():
            errors.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        what = "terminated" if termination.received else "interrupted"
        errors.print(f"raycner: {what}; rerun the same command to resume", soft_wrap=True)
        return 143 if termination.received else 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command line. Raises `InputError` for what no verb takes, for a secret in an address,
    and for a name that is no text.

    Options may stand anywhere among config files, files and runs, which argparse alone does not allow.
    """
    for word in arguments:
        if not SETTING.match(word):  # of a setting, the configuration names the place
            refuse_texts(word.partition("=")[2] if word.startswith("--") and "=" in word else word)
    parser, verbs = parser_of_all_verbs()
    verb = arguments[0] if arguments else ""
    if verb and not verb.startswith("-") and verb not in verbs:
        raise InputError(f"no verb is called {verb!r}", hint=_nearest(verb, verbs))
    args, rest = parser.parse_known_args(arguments)
    for word in rest:
        if word.startswith("-"):
            options = set(re.findall(r"--[a-z-]+", args.parser.format_help()))
            hint = _nearest(word.partition("=")[0], options)
            raise InputError(f"`{args.parser.prog}` has no option {word!r}", hint=hint)
        words = next((words for name in REPEATED if isinstance(words := getattr(args, name, None), list)), None)
        if words is None:
            raise InputError(f"one argument too many: {word!r}", hint=f"see `{args.parser.prog} --help`")
        words.append(word)
    return args


def parser_of_all_verbs() -> tuple[Parser, Mapping[str, Parser]]:
    """The parser of the program, and those of its verbs by name."""
    parser = Parser(
        prog="raycner",
        description="Continual named entity recognition on Ray.",
        epilog="`raycner VERB --help` shows the options of a verb, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"raycner {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for verb in VERBS:
        verb.add_parser(verbs)
    with suppress(ImportError):  # shell completion, by the extra `completion`
        import argcomplete

        argcomplete.autocomplete(parser)
    return parser, verbs.choices


def _nearest(word: str, names: Iterable[str]) -> str:
    """The hint for a misspelt verb or option."""
    names = list(names)
    return suggest(word, get_close_matches(word, names, n=1) or names)


class Termination:
    """Turns the first SIGTERM into a KeyboardInterrupt: locks are released, and child processes are ended.

    No other exception leaves Ray's calls.
    """

    received = False

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, self._interrupt)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _interrupt(self, *_: object) -> None:
        if not self.received:
            self.received = True
            raise KeyboardInterrupt
