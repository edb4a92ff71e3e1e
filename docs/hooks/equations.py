"""Equations of docstrings as MathML, written when the site is built: browsers draw it, and nothing else is loaded.

Docstrings keep their equations as plain text, for those who read the source. `equations.tex` has the typeset form of
each, under the plain text as it stands in the docstring.
"""

import html
import logging
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("equations.tex")
LISTING = re.compile(r'<div class="[^"]*highlight[^"]*"><pre><span></span><code>(.*?)</code></pre></div>', re.DOTALL)
PARAGRAPH = re.compile(r"<p>.*?</p>", re.DOTALL)
PIECE = re.compile(r"\$(?P<latex>[^$]+)\$|`(?P<setting>[^`]+)`|(?P<words>[^$`]+)")
EQUATION = re.compile(r"^\S+( \S+)? (=|<-) ")

logger = logging.getLogger("mkdocs.hooks.equations")


@cache
def equations() -> dict[str, list[str]]:
    """The plain text of each equation -> its typeset rows."""
    _comment, *entries = SOURCE.read_text(encoding="utf-8").strip().split("\n\n")
    return dict(map(_entry, entries))


def _entry(text: str) -> tuple[str, list[str]]:
    lines = text.splitlines()
    plain = [line.removeprefix("% ") for line in lines if line.startswith("% ")]
    return "\n".join(plain), [line for line in lines if not line.startswith("% ")]


def is_equation(plain: str) -> bool:
    """Whether a block of a docstring begins with an equation, rather than a table or an example."""
    return bool(EQUATION.match(plain))


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Typeset the equations of a page of the reference; MkDocs calls it for every page."""
    if not page.file.src_uri.startswith(("reference/", "python/")):
        return content
    blocks = LISTING.sub(lambda match: _block(match, page.file.src_uri), content)
    return PARAGRAPH.sub(lambda match: _with_inline_equations(match[0]), blocks)


def _block(match: re.Match[str], page: str) -> str:
    plain = html.unescape(match[1]).strip("\n")
    if plain in equations():
        rows = (f"<p>{row_html(row)}</p>" for row in equations()[plain])
        return "\n".join(['<div class="equations">', *rows, "</div>"])
    if is_equation(plain) and page.startswith("reference/"):
        logger.warning("%s: equations.tex has no entry for the equation %r", page, plain.splitlines()[0])
    return match[0]


def _with_inline_equations(paragraph: str) -> str:
    for plain in _longest_first():
        paragraph = paragraph.replace(html.escape(plain, quote=False), row_html(equations()[plain][0]))
    return paragraph


@cache
def _longest_first() -> list[str]:
    """The equations of one line: a short one may be part of a longer one."""
    return sorted((plain for plain, rows in equations().items() if len(rows) == 1), key=len, reverse=True)


@cache
def row_html(row: str) -> str:
    """A row as HTML: MathML, settings and words."""
    return "".join(_pieces(row))


def _pieces(row: str) -> Iterator[str]:
    from latex2mathml.converter import convert

    for piece in PIECE.finditer(row):
        if piece["latex"]:
            yield convert(piece["latex"]).replace('display="inline"', 'displaystyle="true"')
        elif piece["setting"]:
            yield f"<code>{html.escape(piece['setting'])}</code>"
        else:
            yield html.escape(piece["words"], quote=False)
