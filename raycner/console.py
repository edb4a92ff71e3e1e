"""Consoles for data: nothing in it is markup, and none of its control characters reaches the terminal."""

import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and line ends, and those that turn the direction of text."""


def printable(text: str) -> str:
    """Text with a replacement mark for each control character."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


class TextConsole(Console):
    """A console without markup that escapes control characters in whatever it prints."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))
