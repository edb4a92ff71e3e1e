"""How values are shown in a notebook: as the terminal shows them."""

from collections.abc import Callable
from io import StringIO

from rich.console import Console

from raycner.console import TextConsole

WIDTH = 120
STYLE = "white-space: pre; overflow-x: auto; line-height: normal; font-family: Menlo, Consolas, monospace"


def as_html(show: Callable[[Console], None]) -> str:
    """The HTML of what `show` prints on a console."""
    console = TextConsole(record=True, file=StringIO(), width=WIDTH, force_jupyter=False)
    show(console)
    return console.export_html(inline_styles=True, code_format=f'<pre style="{STYLE}">{{code}}</pre>')
