"""The reference of the command line, written from its parsers each time the site is built."""

import argparse
from collections.abc import Iterator
from typing import Any

from raycner.cli.program import VERBS, main, parser_of_all_verbs


def on_files(files: Any, config: Any) -> Any:
    """Add the page; MkDocs calls it once per build."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "reference/command_line.md", content=page()))
    return files


def page() -> str:
    """Every verb with its options and examples, and the exit statuses."""
    _, verbs = parser_of_all_verbs()
    names = [verb.__name__.rpartition(".")[2] for verb in VERBS]
    opening = (
        "Every verb has `--help` with examples. Options may stand anywhere among files and settings. Each verb is also "
        "a function: `import raycner; dir(raycner)`."
    )
    statuses = (main.__doc__ or "").partition("\n\n")[2]
    parts = [part for name in names for part in _verb(name, verbs[name])]
    return "\n\n".join(["# Command line", opening, *parts, "## Exit status", *_statuses(statuses)]) + "\n"


def _verb(name: str, parser: argparse.ArgumentParser, heading: str = "##") -> Iterator[str]:
    """A verb under its heading; its own verbs, such as those of `store`, follow below it."""
    yield f"{heading} raycner {name}" if heading == "##" else f"{heading} {parser.prog}"
    yield _escaped(parser.description or "")
    formatter = argparse.HelpFormatter(parser.prog)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, child in action.choices.items():
                yield from _verb(verb, child, "###")
        elif not isinstance(action, argparse._HelpAction):
            yield _option(action, formatter)
    examples = (parser.epilog or "").partition("examples:\n")[2]
    if examples:
        yield "```sh\n" + "\n".join(line.strip() for line in examples.splitlines()) + "\n```"


def _option(action: argparse.Action, formatter: argparse.HelpFormatter) -> str:
    """An option or argument as an entry of a definition list."""
    value = formatter._format_args(action, action.dest.upper()) if action.nargs != 0 else ""
    term = f"{', '.join(action.option_strings)} {value}".strip()
    return f"`{term}`\n\n:   {_escaped(formatter._expand_help(action)) if action.help else ''}"


def _statuses(lines: str) -> Iterator[str]:
    for line in lines.strip().splitlines():
        status, _, meaning = line.strip().partition(" ")
        yield f"`{status}`\n\n:   {meaning.strip()}"


def _escaped(text: str) -> str:
    """Help as Markdown: only backticks mean something in it."""
    return text.replace("*", r"\*").replace("<", "&lt;").replace("_", r"\_") if "`" not in text else text
