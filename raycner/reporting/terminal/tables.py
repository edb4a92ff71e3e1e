"""How tables look on a terminal: F1 in percent with one decimal, a dash where nothing is to be said.

Everything fits the width it is given: a table with too many columns goes on in another below. Colour only repeats what
the figures say.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from raycner.analysis.comparison import Comparison, setup
from raycner.analysis.formatting import figure, many, short
from raycner.analysis.scores import Run, corpus_name
from raycner.settings import spell

MOST_SETTINGS = 6
HEAT = ((80.0, "green"), (50.0, ""), (20.0, "yellow"), (0.0, "red"))
"""From this F1 on, this colour; what is good enough to be read past is left plain."""
LONGEST_NAME = 40
FIGURE = 7
"""The width of a column of scores, its gap of two included."""


def table() -> Table:
    """An empty table in the style of all."""
    drawn = Table(box=box.HORIZONTALS, padding=(0, 1), collapse_padding=True, pad_edge=False)
    drawn.header_style, drawn.border_style = "bold", "dim"
    return drawn


def stretches(widths: Sequence[int], width: int) -> list[range]:
    """As few stretches of columns as fit the width, about equally wide; a column that never fits stands alone."""
    for number in range(1, len(widths)):
        ends = [round(len(widths) * end / number) for end in range(number + 1)]
        found = [range(start, end) for start, end in pairwise(ends)]
        if all(sum(widths[place] for place in stretch) <= width for stretch in found):
            return found
    return [range(place, place + 1) for place in range(len(widths))]


def heat(value: float | None, style: str = "") -> Text:
    """A score in the colour of its height."""
    colour = "" if value is None else next((colour for least, colour in HEAT if value >= least), "")
    return Text(figure(value), style=f"{style} {colour}".strip())


def setting_lines(settings: Mapping[str, Any]) -> list[str]:
    """Settings as the command line takes them, one a line, and how many more there are."""
    said = [short(f"{key}={spell(value)}", LONGEST_NAME - 1) for key, value in settings.items()]
    more = len(said) - MOST_SETTINGS
    return [*said[:MOST_SETTINGS], f"and {many(more, 'more setting')}"] if more > 0 else said


def named(title: str, settings: Mapping[str, Any]) -> Text:
    """A row's title, and what parts it from its namesakes on lines of their own."""
    return Text.assemble(title, *((f"\n {line}", "dim") for line in setting_lines(settings)))


def types_of(plan: Sequence[Sequence[str]]) -> list[str]:
    """The types of all steps, in the order they are learned."""
    return list(dict.fromkeys(name for names in plan for name in names))


def title(comparison: Comparison) -> str:
    """What is learned, and in how many steps."""
    plan, scenario = comparison["plan"], comparison["scenario"]
    said = f"{corpus_name(scenario)}: {many(len(types_of(plan)), 'type')} in {many(len(plan), 'step')}"
    return f"{said}, {setup(comparison)} in order {scenario['permutation']}" if setup(comparison) else said


def progress(run: Run) -> str:
    """How far a run is, and what it has still to learn."""
    done = len(run["steps"])
    coming = [name for names in run["plan"][done:] for name in names]
    said = f"{done} of {many(len(run['plan']), 'step')} done"
    return f"{said}, to come: {short(', '.join(coming), 60)}" if coming else said
