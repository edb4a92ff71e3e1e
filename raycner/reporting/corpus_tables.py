"""What was read of a corpus, as tables of text for the terminal and the page."""

from collections.abc import Iterator

from raycner.analysis.formatting import DASH, listed, many
from raycner.analysis.table import Table, by_rows
from raycner.data.inspection import CorpusContents, Reach

FILES_SHOWN = 3


def contents_table(contents: CorpusContents, reach: Reach | None) -> Table:
    """Sentences, words and entities per type: a column per part."""
    parts = contents.parts
    rows = [
        ["files", *(figure(len(part.files)) for part in parts.values())],
        ["sentences", *(figure(part.sentences) for part in parts.values())],
        ["words", *(figure(part.words) for part in parts.values())],
        ["longest sentence", *(figure(part.longest) for part in parts.values())],
    ]
    if reach is not None:
        rows.append([f"longer than {reach.pieces} pieces", *(figure(reach.long[part].sentences) for part in parts)])
    first_type = len(rows)
    rows += [[name, *(figure(part.entities[name]) for part in parts.values())] for name in contents.types]
    return by_rows("", ["", *parts], rows, notes=["Types: number of entities."], rules=[first_type])


def figure(number: int) -> str:
    """A count, or a dash for none."""
    return f"{number:,}" if number else DASH


def facts(contents: CorpusContents, reach: Reach | None) -> Iterator[tuple[str, str]]:
    """How a corpus was read, as names and values."""
    for part, described in contents.parts.items():
        if described.files:
            yield part, files(described.files)
    settings = ", ".join(f"{key}={value}" for key, value in contents.settings.items() if key not in PLACES)
    yield "read as", contents.layout + (f" ({settings})" if settings else "")
    if contents.fields:
        yield "read", contents.fields
    for note in (*contents.notes, *reach_notes(contents, reach)):
        yield "note", note


PLACES = ("path", "train", "dev", "test")
"""Settings that the lists of files repeat."""


def files(names: tuple[str, ...]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - FILES_SHOWN
    return listed([*names[:FILES_SHOWN], *([many(more, "more file")] if more > 0 else [])])


def reach_notes(contents: CorpusContents, reach: Reach | None) -> Iterator[str]:
    """What an encoder cannot read at once."""
    if reach is None:
        return
    for part, long in reach.long.items():
        if long.sentences:
            yield (
                f"{part}: {many(long.sentences, 'sentence')} of {contents.parts[part].sentences} longer than the "
                f"{reach.pieces} pieces that the encoder reads at once, {many(long.words, 'word')} beyond"
            )
    if reach.unknown:
        examples = ", ".join(map(ascii, reach.examples))
        yield f"{many(reach.unknown, 'word')} that no piece of the encoder stands for, such as {examples}"
