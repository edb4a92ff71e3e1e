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

from raycner.results.comparison import Comparison, Score, setup, spell
from raycner.results.scores import Run, corpus_name

DASH = "\N{EN DASH}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
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


def figure(value: float | None) -> str:
    """A score in percent, or a dash where there is none."""
    return DASH if value is None else f"{value:z.1f}"


def spreads(scores: Sequence[Score | None]) -> list[str]:
    """A column of means with what they vary by; figures without one keep its room, so that decimals stand in line."""
    tails = ["" if one is None or one["std"] is None else f"{PLUS_MINUS}{one['std']:.1f}" for one in scores]
    room = max(map(len, tails), default=0)
    figures = [figure(None if one is None else one["mean"]) for one in scores]
    return [f"{mean}{tail:<{room}}" for mean, tail in zip(figures, tails, strict=True)]


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def setting_lines(settings: Mapping[str, Any]) -> list[str]:
    """Settings as the command line takes them, one a line, and how many more there are."""
    said = [short(f"{key}={spell(value)}", LONGEST_NAME - 1) for key, value in settings.items()]
    more = len(said) - MOST_SETTINGS
    return [*said[:MOST_SETTINGS], f"and {many(more, 'more setting')}"] if more > 0 else said


def named(title: str, settings: Mapping[str, Any]) -> Text:
    """A row's title, and what parts it from its namesakes on lines of their own."""
    return Text.assemble(title, *((f"\n {line}", "dim") for line in setting_lines(settings)))


def short(text: str, most: int) -> str:
    """Text cut to `most` characters in its middle: names of types often differ at their ends."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return text[: most - 1 - tail] + ELLIPSIS + text[len(text) - tail :]


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


def many(number: int, noun: str) -> str:
    """A number of things: 1 step, 4 steps."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
