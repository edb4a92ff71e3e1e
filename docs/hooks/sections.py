"""Sections of README and CONTRIBUTING on pages of the site, so that each fact is written once.

A line `{{ README.md: The verbs }}` becomes the text under that heading, `{{ README.md }}` the text above
the first one. A missing heading fails the build.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
REFERENCE = re.compile(r"^\{\{ (?P<file>[\w./]+)(?:: (?P<heading>.+?))? \}\}$", re.MULTILINE)


def section(file: str, heading: str | None = None) -> str:
    """The text under a heading of the second level; above the first one without a heading.

    Raises LookupError when the file has no such heading.
    """
    title, *parts = re.split(r"^## (.+)$", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)
    if heading is None:
        return title.partition("\n")[2].strip()
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    if heading not in sections:
        raise LookupError(f"{file} has no heading {heading!r}; it has {', '.join(sections)}")
    return sections[heading].strip()


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Insert the sections; MkDocs calls it for every page."""
    return REFERENCE.sub(lambda match: section(match["file"], match["heading"]), markdown)
