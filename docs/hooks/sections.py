"""Sections of the repository's own papers, shown on pages where they belong: a fact stands once.

A line `{{ README.md: The verbs }}` becomes what stands under that heading there, `{{ README.md }}` what stands above
the first one. A heading that is no longer there fails the build.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ASKED = re.compile(r"^\{\{ (?P<file>[\w./]+)(?:: (?P<heading>.+?))? \}\}$", re.MULTILINE)


def section(file: str, heading: str | None = None) -> str:
    """What stands under a heading of the second rank, without it; above the first, if none is named.

    Raises LookupError when the file has no such heading.
    """
    title, *parts = re.split(r"^## (.+)$", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)
    if heading is None:
        return title.partition("\n")[2].strip()
    found = dict(zip(parts[::2], parts[1::2], strict=True))
    if heading not in found:
        raise LookupError(f"{file} has no heading {heading!r}; it has {', '.join(found)}")
    return found[heading].strip()


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the sections in place; MkDocs calls it for every page."""
    return ASKED.sub(lambda asked: section(asked["file"], asked["heading"]), markdown)
