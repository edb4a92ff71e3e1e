"""What became of a teacher's entities, on the terminal: how many were found, kept, and right."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from raycner.analysis.formatting import short
from raycner.analysis.scores import Run
from raycner.reporting.terminal.tables import heat, table

LONGEST_TYPE = 28
KEY = "Found by the teacher, kept from this confidence on; precision: how many of these the corpus has, in percent."


def pseudo_view(run: Run) -> Iterator[RenderableType]:
    """Nothing, where no teacher was asked for entities."""
    asked = [(step["index"], step["pseudo"]) for step in run["steps"] if step["pseudo"]]
    if not asked:
        return
    drawn = table()
    drawn.add_column("step", justify="right")
    drawn.add_column("pseudo-entities", no_wrap=True)
    for header in ("found", "kept", "from", "precision"):
        drawn.add_column(header, justify="right", no_wrap=True)
    for index, types in asked:
        for number, (name, said) in enumerate(types.items()):
            counts = (f"{said['proposed']:,}", f"{said['kept']:,}", f"{said['threshold']:.3f}")
            step = "" if number else str(index + 1)
            drawn.add_row(step, Text(short(name, LONGEST_TYPE)), *counts, heat(said["precision"]))
        drawn.add_section()
    yield drawn
    yield Text(KEY, style="dim")
