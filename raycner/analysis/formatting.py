"""How numbers, times and lists are written in every table: scores in percent with one decimal, a dash for none."""

from collections.abc import Sequence

from raycner.analysis.statistics import Score

DASH = "\N{EN DASH}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"


def figure(value: float | None) -> str:
    """A score in percent, or a dash where there is none."""
    return DASH if value is None else f"{value:z.1f}"


def signed(points: float | None) -> str:
    """A difference in points with its sign, or a dash where there is none."""
    return DASH if points is None else f"{points:+z.1f}"


def spreads(scores: Sequence[Score | None]) -> list[str]:
    """A column of means with their deviations; means without one are padded, so that the decimal points align."""
    tails = ["" if score is None or score.std is None else f"{PLUS_MINUS}{score.std:.1f}" for score in scores]
    width = max(map(len, tails), default=0)
    means = [figure(None if score is None else score.mean) for score in scores]
    return [f"{mean}{tail:<{width}}" for mean, tail in zip(means, tails, strict=True)]


def p_value(p: float | None) -> str:
    """A p-value to three decimals, or a dash where there is none."""
    if p is None:
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float) -> str:
    """A time in its two largest units."""
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
