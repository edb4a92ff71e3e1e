"""The drawings of README and the site, as SVG: `python docs/pictures/draw.py` writes them next to this file.

Colours are Okabe and Ito's. Each drawing has a white ground of its own, so that it reads the same in a dark page.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
INK, FAINT, RULE, SHADE = "#24292f", "#57606a", "#d8dee5", "#f3f5f8"
BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#00795a", "#a8487f"
COLOURS = {"person": BLUE, "place": GREEN, "product": ORANGE, "event": PINK}
"""Of each type in the pictures of protocols."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

DEMO = {
    "distillation (DLD around ExtendNER)": ((96.1, 84.4, 77.6, 77.5), BLUE),
    "plain finetuning": ((96.1, 44.3, 38.5, 23.7), ORANGE),
}
"""Micro-F1 after each step of `make demo`, as README prints it."""
DEMO_TYPES = ("location", "organization", "person", "product")


class Step(NamedTuple):
    """What one step of a protocol sees and is scored on."""

    text: str
    """Which sentences."""
    slices: tuple[float, ...]
    """The parts of the corpus that they are: start and end by turns, from 0 to 1; empty for a corpus of its own."""
    annotated: tuple[str, ...]
    hidden: tuple[str, ...]
    """Types that occur in the sentences and are labelled O."""
    scored: tuple[str, ...]


THIRDS = ((0.0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1.0))
TYPES = ("person", "place", "product")


def _others(types: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in TYPES if name not in types)


PROTOCOLS: Mapping[str, tuple[str, Sequence[Step]]] = {
    "fg_pg": (
        "fg_pg: one corpus in slices, each annotated with the types of its own step",
        [
            Step(f"slice {n + 1}", THIRDS[n], TYPES[n : n + 1], _others(TYPES[n : n + 1]), TYPES[: n + 1])
            for n in range(3)
        ],
    ),
    "joint": (
        "joint, the upper bound: all slices so far with all annotations so far",
        [
            Step(
                f"slices 1 to {n + 1}" if n else "slice 1",
                (0.0, THIRDS[n][1]),
                TYPES[: n + 1],
                TYPES[n + 1 :],
                TYPES[: n + 1],
            )
            for n in range(3)
        ],
    ),
    "filter": (
        "filter: each task has the sentences that contain its types, some of them again",
        [
            Step("with persons", (0.0, 0.24, 0.3, 0.36, 0.5, 0.62), ("person",), ("place", "product"), ("person",)),
            Step(
                "with places", (0.1, 0.2, 0.34, 0.5, 0.7, 0.9), ("place",), ("person", "product"), ("person", "place")
            ),
            Step("with products", (0.16, 0.22, 0.56, 0.66, 0.86, 1.0), ("product",), ("person", "place"), TYPES),
        ],
    ),
    "progressive": (
        "progressive: one new type, and the old ones are annotated again",
        [
            Step("80 % of the sentences", (0.0, 0.8), ("person", "place"), ("product",), ("person", "place")),
            Step("the other 20 %", (0.8, 1.0), TYPES, (), TYPES),
        ],
    ),
    "steps": (
        "steps: new sources arrive over time, each annotated with its own new types",
        [
            Step("data/news", (), ("person", "place"), ("product",), ("person", "place")),
            Step("data/reviews", (), ("product",), ("person", "place"), TYPES),
            Step("data/calendar", (), ("event",), ("person", "place"), (*TYPES, "event")),
        ],
    ),
}


def text(
    x: float, y: float, words: str, *, size: float = 13, fill: str = INK, anchor: str = "start", bold: bool = False
) -> str:
    weight = ' font-weight="600"' if bold else ""
    look = f'font-size="{size:g}" fill="{fill}" text-anchor="{anchor}"{weight}'
    return f'<text x="{x:g}" y="{y:g}" {look}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, fill: str, stroke: str = "none", dashed: bool = False) -> str:
    dash = ' stroke-dasharray="3 2"' if dashed else ""
    place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return f'<rect {place} rx="4" fill="{fill}" stroke="{stroke}"{dash}/>'


def svg(width: float, height: float, title: str, parts: Iterator[str]) -> str:
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{FONT}">'
    return "\n".join(
        [head, f"<title>{escape(title)}</title>", box(0, 0, width, height, "#ffffff"), *parts, "</svg>", ""]
    )


def protocol(title: str, steps: Sequence[Step]) -> str:
    """A row for each step: its sentences, the types annotated there, those labelled O, and those it is scored on."""
    top, high, columns = 58, 44, (16, 62, 230, 386, 528)
    return svg(760, top + high * len(steps) + 10, title, _protocol(title, steps, top, high, columns))


def _protocol(title: str, steps: Sequence[Step], top: int, high: int, columns: Sequence[int]) -> Iterator[str]:
    yield text(16, 24, title, size=14, bold=True)
    for x, header in zip(columns, ("step", "sentences", "annotated", "labelled O", "scored on test"), strict=True):
        yield text(x, 48, header, size=12, fill=FAINT)
    for number, step in enumerate(steps):
        y = top + high * number
        yield f'<line x1="16" x2="744" y1="{y}" y2="{y}" stroke="{RULE}"/>'
        yield text(columns[0], y + 27, str(number + 1), bold=True)
        yield text(columns[1], y + 18, step.text, size=12)
        yield box(columns[1], y + 26, 150, 9, RULE if step.slices else FAINT)
        for start, end in pairwise(step.slices):
            if step.slices.index(start) % 2 == 0:
                yield box(columns[1] + 150 * start, y + 26, 150 * (end - start), 9, FAINT)
        yield from _chips(columns[2], y + 11, step.annotated)
        yield from _chips(columns[3], y + 11, step.hidden, hidden=True)
        yield from _chips(columns[4], y + 11, step.scored)


def _chips(x: float, y: float, names: Sequence[str], *, hidden: bool = False) -> Iterator[str]:
    for name in names:
        width = 8 + 6.4 * len(name)
        if hidden:
            yield box(x, y, width, 22, "#ffffff", FAINT, dashed=True)
        else:
            yield box(x, y, width, 22, COLOURS[name])
        yield text(x + width / 2, y + 15, name, size=11, fill=FAINT if hidden else "#ffffff", anchor="middle")
        x += width + 4


def demo() -> str:
    """Micro-F1 after each step, for two systems, with the type that each step brings."""
    title = "make demo: micro-F1 on test over all types so far, after each step"
    return svg(760, 304, title, _demo(title))


def _demo(title: str) -> Iterator[str]:
    left, right, top, bottom = 58, 500, 50, 226
    across = [left + 40 + (right - left - 80) * step / 3 for step in range(4)]
    yield text(16, 26, title, size=14, bold=True)
    for score in (0, 25, 50, 75, 100):
        y = bottom - (bottom - top) * score / 100
        yield f'<line x1="{left}" x2="{right}" y1="{y:g}" y2="{y:g}" stroke="{RULE}"/>'
        yield text(left - 8, y + 4, str(score), size=12, fill=FAINT, anchor="end")
    for step, (x, name) in enumerate(zip(across, DEMO_TYPES, strict=True), start=1):
        yield text(x, bottom + 20, f"step {step}", size=12, fill=FAINT, anchor="middle")
        yield text(x, bottom + 38, f"learns {name}" if step == 1 else f"+ {name}", size=12, anchor="middle")
    for label, (scores, colour) in DEMO.items():
        heights = [bottom - (bottom - top) * score / 100 for score in scores]
        points = " ".join(f"{x:g},{y:.1f}" for x, y in zip(across, heights, strict=True))
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
        yield from (
            f'<circle cx="{x:g}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in zip(across, heights, strict=True)
        )
        yield text(right - 26, heights[-1] + 4, f"{scores[-1]:.1f}", size=13, fill=colour, bold=True)
        yield text(right + 12, heights[-1] + 4, label, size=13, fill=colour)
    yield text(
        16,
        292,
        "Each step sees sentences in which its own type alone is annotated; all other entities are labelled O.",
        size=12,
        fill=FAINT,
    )


def drawings() -> dict[str, str]:
    """Every drawing, by the name of its file."""
    return {"demo.svg": demo()} | {f"protocol_{name}.svg": protocol(*drawing) for name, drawing in PROTOCOLS.items()}


if __name__ == "__main__":
    for name, drawing in drawings().items():
        (HERE / name).write_text(drawing, encoding="utf-8")
