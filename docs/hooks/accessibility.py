"""Names that the theme leaves out of its pages, for screen readers."""

from typing import Any

NAMED = {
    'data-md-component="search" role="dialog">': 'data-md-component="search" role="dialog" aria-label="Search">',
    '"md-search__options" aria-label="Search">': '"md-search__options" aria-label="Options of the search">',
}
"""Part of a tag of the theme -> the same with a name of its own."""


def on_post_page(output: str, **_: Any) -> str:
    """Name the parts of a page; MkDocs calls it for every page."""
    for tag, named in NAMED.items():
        output = output.replace(tag, named)
    return output


def on_post_template(output_content: str, **_: Any) -> str:
    """The same for the page of a missing address, which is a template."""
    return on_post_page(output_content)
