"""How figures look: the style of a printed page, and the shapes that several plots share.

A plot is drawn when it is asked for, always in the same style: a column of 3.4 inches, text as text, colours that all
eyes can part, no more ink than the figures need.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from raycner.analysis.statistics import Spread
from raycner.console import printable
from raycner.storage.durable_files import output_file

INK, FAINT, RULE, PAPER = "#24292f", "#6e7781", "#d8dee5", "#fffffe"
"""Of text, of what stays in the background, of grids, and of what is meant to be left white."""
BLUE, ORANGE, GREEN, PINK, AMBER, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
"""Okabe and Ito's colours, which the colour-blind can part; black is the text's, yellow too pale for lines."""
COLUMN = 3.4
"""The width of a paper's column, in inches."""
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 8,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "svg.fonttype": "none",
    "savefig.transparent": True,
    "path.simplify": False,
}


TIP = re.compile(r'<g id="tip:([^"]*)">')
"""A group that `tip` marked, as matplotlib writes it; its text is escaped as that of an attribute."""


class Plot(NamedTuple):
    """A figure, to be drawn when it is looked at."""

    name: str
    """Of its files; also parts its identifiers from those of other plots on a page."""
    caption: str
    draw: Callable[[], Figure]

    def svg(self) -> str:
        """As an SVG document, the same one each time; what `tip` marked has a title, which browsers show on hover."""
        omitted = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        text = printable(self._rendered("svg", metadata=omitted).decode())
        return TIP.sub(r"<g><title>\g<1></title>", text)

    def save(self, folder: Path) -> None:
        """Write it as SVG, and as PNG at 300 dots an inch on white."""
        png = self._rendered("png", dpi=300, facecolor="white", transparent=False)
        for file, content in (f"{self.name}.svg", self.svg().encode()), (f"{self.name}.png", png):
            with output_file(folder / file) as stream:
                stream.write(content)

    def _rendered(self, form: str, **options: Any) -> bytes:
        with mpl.rc_context(STYLE | {"svg.hashsalt": self.name}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            file = io.BytesIO()
            self.draw().savefig(file, format=form, **options)
        return file.getvalue()


def canvas(height: float, entries: int) -> tuple[Figure, Axes]:
    """A column with room for a legend of so many entries."""
    picture = Figure(figsize=(COLUMN, height + 0.165 * entries), layout="constrained")
    return picture, picture.add_subplot()


def tip(axes: Axes, x: float, y: float, text: str) -> None:
    """Show a text where the mouse is over a point."""
    axes.plot(
        [x], [y], marker="o", markersize=11, markerfacecolor="#ffffff", alpha=0.0, linestyle="", gid=f"tip:{text}"
    )


def legend(picture: Figure, handles: Sequence[Artist], names: Sequence[str]) -> None:
    """Below the axes, in as many columns as the names leave room for."""
    across = 3 if max(map(len, names)) <= 14 else 2 if max(map(len, names)) <= 24 else 1
    picture.legend(handles, names, loc="outside lower left", ncols=across, handlelength=2.4, columnspacing=1.2)


def bars(names: Sequence[str], kinds: Mapping[str, Sequence[Spread | None]], unit: str, form: str = ".1f") -> Figure:
    """Horizontal bars, the first name on top: one bar per name and kind, with its value next to it."""
    names, thick = list(map(folded, names)), 0.78 / len(kinds)
    room = 0.13 * max(1 + len(kinds), *(name.count("\n") + 1.5 for name in names))
    picture = Figure(figsize=(COLUMN, 0.6 + len(names) * room + 0.165 * (len(kinds) > 1)), layout="constrained")
    axes = picture.add_subplot()
    for number, (values, colour) in enumerate(zip(kinds.values(), (BLUE, AMBER), strict=False)):
        for place, score in enumerate(values):
            if score:
                mean, off, y = score.mean, score.std, place - 0.39 + (number + 0.5) * thick
                error = {"ecolor": INK, "elinewidth": 0.7}
                axes.barh(y, mean, height=thick * 0.9, color=colour, xerr=off, error_kw=error)
                end = max(mean + (off or 0.0), 0.0)
                axes.annotate(f"{mean:{form}}", (end, y), (3, 0), "data", "offset points", va="center", size=6.5)
    axes.set(xlabel=unit, ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.14)
    axes.grid(axis="x")
    if len(kinds) > 1:
        legend(picture, [Patch(color=colour) for colour in (BLUE, AMBER)], list(kinds))
    return picture


def folded(name: str) -> str:
    """A name on as many lines as the margin of a column asks for."""
    return "\n".join(wrap(name, 24)[:3])
