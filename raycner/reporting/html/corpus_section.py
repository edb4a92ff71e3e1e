"""Inspected corpora as sections of the HTML page."""

from raycner.data.inspection import CorpusContents, Reach
from raycner.reporting.corpus_tables import contents_table, facts
from raycner.reporting.html.page import Section

HEADING = "What was read"
OPENING = "Sentences, words and entities of each part, and how the files were read."


def corpus_section(contents: CorpusContents, reach: Reach | None, anchor: str) -> Section:
    """The table of a corpus, and how it was read."""
    lines = [f"{name.capitalize()}: {value}." for name, value in facts(contents, reach)]
    if contents.fingerprint:
        lines.insert(0, f"Corpus {contents.fingerprint}.")
    return Section(title=contents.source, anchor=anchor, paragraphs=lines, tables=[contents_table(contents, reach)])
