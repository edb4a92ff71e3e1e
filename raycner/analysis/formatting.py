"""How numbers, times and lists are written in every table: F1 in percent with one decimal, a dash for nothing."""

from collections.abc import Sequence

from raycner.analysis.comparison import Score

DASH = "\N{EN DASH}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"


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


def short(text: str, most: int) -> str:
    """Text cut to `most` characters in its middle: names of types often differ at their ends."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return text[: most - 1 - tail] + ELLIPSIS + text[len(text) - tail :]


def many(number: int, noun: str) -> str:
    """A number of things: 1 step, 4 steps."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
