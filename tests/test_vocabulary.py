"""Vocabulary: standard terms and plain English in code, tests, documentation and help."""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "raycner").rglob("*.py"))
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
RENAMED = (
    "Refusal|remedy|Course|Feed|Watcher|Walked|_abreast|gang|gangs|Gate|recalls|glance|quietly|silenced|christen|settle"
    "|centres|younger|unhashed|believing|Proposer"
)
"""Names of the first edition that have a standard name now (CHANGELOG lists both)."""
IDIOMS = r"told|mends?|mended|beside|anew|what becomes of|goes on|went on|go on"
"""Phrases that have a plain equivalent: receives, fix, next to, again, continues."""
OLD = re.compile(rf"\b(?:{RENAMED}|{IDIOMS})\b")
LOCALS = {"said", "found", "told", "known", "kept"}
"""Names that do not say what they hold."""


@pytest.mark.parametrize("path", [*SOURCES, *TESTS, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_standard_words(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    old = [f"{path.name}:{number}: {match[0]}" for number, line in enumerate(lines, 1) for match in OLD.finditer(line)]
    assert not old, "\n".join(old)


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_locals_say_what_they_hold(path: Path) -> None:
    names = [f"{path.name}:{line}: {name}" for name, line in bound(path) if name in LOCALS]
    assert not names, "\n".join(names)


def bound(path: Path) -> Iterator[tuple[str, int]]:
    """Every variable and parameter of a file, and where. Fields are left out: the keys of ledgers keep their names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    fields = {
        f.target for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for f in c.body if isinstance(f, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        if node in fields:
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno


def test_standard_words_in_help() -> None:
    from raycner.cli.program import parser_of_all_verbs

    for text in helps(parser_of_all_verbs()[0]):
        assert not OLD.search(text), text


def helps(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The help of a parser and of all its verbs."""
    yield parser.format_help()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from helps(verb)
