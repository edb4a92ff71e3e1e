"""The reference of systems and settings, written from the docstrings each time the site is built.

A kind's page says what its module says (the equation, what is inferred, where it is from), what its class says, and
every field with its type, its default and the docstring under it.
"""

import dataclasses
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from raycner.callbacks.trackers import TRACKERS
from raycner.config import FirstStepConfig, RunConfig
from raycner.data.layouts.layout import LAYOUTS
from raycner.data.scenarios.protocol import PROTOCOLS
from raycner.data.scenarios.steps import StepConfig
from raycner.events import RunEvent, SearchEvent, event_name
from raycner.methods.method import METHODS
from raycner.networks.encoders.encoder import ENCODERS
from raycner.networks.heads.head import HEADS
from raycner.setting_docs import field_docstrings
from raycner.storage.ledger import StepRecord
from raycner.storage.searches import TrialRecord

NOUNS = {int: "whole number", float: "number", bool: "true or false", str: "text", type(None): "nothing"}
NOUNS |= {StepRecord: "scores of the step", TrialRecord: "record of the trial"}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages; MkDocs calls it once a build."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the table of heads and the methods that train them where a page asks for it."""
    return markdown.replace("{{ heads and methods }}", "\n".join(_pairs()))


def _pairs() -> Iterator[str]:
    """Rows of a table: a head, its summary, and the methods that can train it."""
    for name, head in sorted(HEADS.items()):
        trained = (method for method, kind in sorted(METHODS.items()) if kind.trains(head.module))
        summary = " ".join(prose(head.__doc__).split("\n\n")[0].split())
        links = ", ".join(f"[{method}](reference/methods.md#{method})" for method in trained)
        yield f"| [{name}](reference/heads.md#{name}) | {summary} | {links} |"


def pages() -> dict[str, str]:
    """Every page of the reference, by its name."""
    return {
        "methods": _page(
            "Methods",
            "How forgetting is resisted; one is chosen by `method.name`. z are the student's logits, z' the teacher's: "
            "the network as it stood when the previous step ended.",
            _kinds(METHODS, "method"),
        ),
        "heads": _page(
            "Heads",
            "How entities become targets, and states become entities; one is chosen by `model.head.name`.",
            _kinds(HEADS, "model.head"),
        ),
        "encoders": _page(
            "Encoders",
            "What reads the words; one is chosen by `model.encoder.name`.",
            _kinds(ENCODERS, "model.encoder"),
        ),
        "protocols": _page(
            "Protocols",
            "In which order types are learned, and what each step may see; one is chosen by `scenario.protocol.name`.",
            _kinds(PROTOCOLS, "scenario.protocol"),
        ),
        "layouts": _page(
            "Layouts",
            "How raw files encode annotated sentences; one is chosen by `scenario.corpus.name`.",
            _kinds(LAYOUTS, "scenario.corpus"),
        ),
        "settings": _page(
            "Settings",
            "Every setting of a run, by its dotted name. Layouts, protocols, heads, encoders and methods have settings "
            "of their own, on their own pages.",
            _settings(),
        ),
        "trackers": _page(
            "Trackers",
            "Where else the scores of a run go; one is chosen by `compute.tracker`. The scores of an epoch are "
            "`loss/TERM`, `dev/micro` and `seconds`, those of a step `test/micro`, `test/macro`, `test/old`, "
            "`test/new` and `type/TYPE` (F1), `test/micro_precision`, `test/micro_recall`, `test/macro_precision`, "
            "`test/macro_recall`, `precision/TYPE`, `recall/TYPE` and `support/TYPE`.",
            _functions(TRACKERS),
        ),
        "events": _page(
            "Events",
            "What `--log json` prints: one object per line on standard error, with `time`, `event`, the `run`, `step` "
            "(from 1) and `fingerprint` of the current step, and the fields below. In Python, `raycner.events` has a "
            "frozen dataclass for each.",
            _events(),
        ),
    }


def _page(title: str, opening: str, parts: Iterable[str]) -> str:
    return "\n\n".join([f"# {title}", opening, *parts]) + "\n"


def _kinds(family: Mapping[str, type[Any]], path: str) -> Iterator[str]:
    """The kinds of a family, grouped by module."""
    rooms = groupby(sorted(family, key=lambda name: (family[name].__module__, name)), lambda n: family[n].__module__)
    for room, kinds in rooms:
        names = list(kinds)
        if len(names) > 1:
            yield "---"
            yield prose(sys.modules[room].__doc__)
        for name in names:
            yield f"## {name}"
            yield prose(family[name].__doc__)
            if len(names) == 1:
                yield prose(sys.modules[room].__doc__)
            yield from fields(family[name], path)


def _functions(known: Mapping[str, Any]) -> Iterator[str]:
    """Classes that are registered by a name, with their docstrings."""
    for name in sorted(known):
        yield f"## {name}"
        yield prose(known[name].__doc__)


def _events() -> Iterator[str]:
    """The events of runs, then those of searches, under their names in the log."""
    for event in (*typing.get_args(RunEvent), *typing.get_args(SearchEvent)):
        yield f"## {event_name(event)}"
        yield prose(event.__doc__)
        yield from fields(event, "")


def _settings() -> Iterator[str]:
    """The tree of a run's settings; the branches that come in kinds are named and left to their own pages."""
    yield from fields(RunConfig, "")
    hints = typing.get_type_hints(RunConfig)
    entries = [("scenario.protocol.steps.N", StepConfig)]
    branches = [("scenario", hints["scenario"]), *entries, ("optim", hints["optim"])]
    branches += [("optim.first", FirstStepConfig), ("compute", hints["compute"])]
    model = typing.get_type_hints(hints["model"])
    branches[2:2] = [("model", hints["model"]), ("model.growth", model["growth"])]
    for path, kind in branches:
        yield f"## {path}"
        yield prose(kind.__doc__)
        yield from fields(kind, path)


def fields(kind: type[Any], path: str) -> Iterator[str]:
    """A definition list of a dataclass's fields, under their dotted names."""
    hints, docstrings = typing.get_type_hints(kind), field_docstrings(kind)
    for field in dataclasses.fields(kind):
        name = f"{path}.{field.name}" if path else field.name
        facts = ", ".join(part for part in (spell(hints[field.name]), _spell(_default(field))) if part)
        term = f"`{name}` <small>{facts}</small>"
        says = prose(docstrings.get(field.name))
        yield f"{term}\n\n:   {textwrap.indent(says, '    ').lstrip()}" if says else f"{term}\n{{: .bare }}"


def spell(hint: Any) -> str:
    """A type in words."""
    members = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(f"`{member}`" for member in members)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join(spell(member) for member in members)
    if typing.get_origin(hint) is tuple:
        return f"list of {spell(members[0])}"
    if members and "family" in vars(typing.get_origin(hint)):
        return "settings"
    if members:
        return f"{NOUNS.get(members[-1], 'settings')} by name"
    return NOUNS.get(hint) or ("settings" if inspect.isclass(hint) else str(hint))


def prose(docstring: str | None) -> str:
    """A docstring as Markdown: what is indented (an equation, a table) and what is an example keep their form."""
    blocks: list[str] = []
    lines = inspect.cleandoc(docstring or "").splitlines()
    for form, some in groupby(lines, _form):
        text = "\n".join(some)
        blocks.append(_plain(text) if form == "prose" else f"\n``` {form}\n{textwrap.dedent(text)}\n```\n")
    return "\n".join(blocks).strip()


def _form(line: str) -> str:
    if line.startswith((">>> ", "... ")):
        return "pycon"
    return "{ .text .no-copy }" if line.startswith("    ") else "prose"


def _plain(text: str) -> str:
    """Prose in which nothing but backticks is Markdown."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = (re.sub(r"([*_<\[\]|])", r"\\\1", part) for part in parts[::2])
    return "".join(parts)


def _spell(default: Any) -> str:
    """The default of a field; empty for settings, which have defaults of their own."""
    if default is dataclasses.MISSING:
        return "required"
    if dataclasses.is_dataclass(default) or default == {}:
        return f"default `{default.name}`" if hasattr(default, "name") else ""
    if isinstance(default, tuple):
        return f"default `[{', '.join(map(str, default))}]`"
    if default is None:
        return "default nothing"
    return f"default `{str(default).lower() if isinstance(default, bool) else default}`"


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
