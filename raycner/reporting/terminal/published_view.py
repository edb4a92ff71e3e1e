"""Published figures beside ours, on the terminal: averages over steps, then the scores after each step."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raycner.analysis.comparison import Comparison, Row
from raycner.analysis.formatting import DASH, listed, spreads
from raycner.analysis.published import MEASURES, Measure, Pair, Published
from raycner.reporting.terminal.tables import FIGURE, heat, named, stretches, table

UNKNOWN = "No figures are published of these types in these steps."


def published_view(found: Published, comparison: Comparison, width: int) -> RenderableType:
    """Theirs, ours and the difference."""
    if found["setting"] is None:
        return Text(f"{UNKNOWN}\n", style="dim")
    rows = {row["label"]: row for row in comparison["rows"]}
    said = [Text(note, style="dim") for note in notes(found)]
    title = Text(heading(found), style="bold")
    return Group(title, *_averages(found, rows, width), *said, *_curves(found, rows, width), Text())


def heading(found: Published) -> str:
    return f"{found['setting']}: ours beside what is published"


def columns(found: Published) -> list[tuple[str, list[str]]]:
    """The scores of all pairs, column by column, under headers of two lines."""
    pairs = found["pairs"]
    theirs = {measure: spreads([pair["theirs"][measure] for pair in pairs]) for measure in MEASURES}
    ours = {m: spreads([pair["ours"][m] if pair["ours"] else None for pair in pairs]) for m in MEASURES}
    return [
        *((f"theirs\n{measure}", list(map(_marked, theirs[measure], pairs))) for measure in MEASURES),
        *((f"ours\n{measure}", ours[measure]) for measure in MEASURES),
        *((f"difference\n{m}", [_signed(pair["difference"], m) for pair in pairs]) for m in MEASURES),
    ]


def notes(found: Published) -> list[str]:
    """What must be said with the scores."""
    said = ["F1 on test in percent, averaged over steps, with the deviation over runs; difference: ours minus theirs."]
    said.append("A setting is known by its types and steps alone; the published recipe is the layer jobs/compat.yaml.")
    theirs = [pair["theirs"] for pair in found["pairs"]]
    wrong = {figure["system"]: figure["printed"] for figure in theirs if figure["printed"]}
    if wrong:
        printed = listed([f"{system} {' / '.join(map(str, scores.values()))}" for system, scores in wrong.items()])
        said.append(f"* Corrected: printed are the figures of I2B2, {printed}; here, the mean of CFNER's own steps.")
    if found["unpublished"]:
        said.append(f"Nothing is published of: {', '.join(found['unpublished'])}.")
    return said


def _marked(cell: str, pair: Pair) -> str:
    """A published score, with an asterisk in the room of its deviation if it was corrected."""
    return f"{cell.rstrip()}*".ljust(len(cell)) if pair["theirs"]["printed"] else cell


def _signed(difference: Mapping[Measure, float] | None, measure: Measure) -> str:
    return DASH if difference is None else f"{difference[measure]:+z.1f}"


def _averages(found: Published, rows: Mapping[str, Row], width: int) -> Iterator[Table]:
    names = [_name(pair, rows) for pair in found["pairs"]]
    cells = columns(found)
    widths = [max(map(len, [*header.split("\n"), *column])) + 2 for header, column in cells]
    for stretch in stretches(widths, width - _lead(names)):
        drawn = table()
        drawn.add_column("\nsystem, by", overflow="fold")
        for place in stretch:
            drawn.add_column(cells[place][0], justify="right", no_wrap=True)
        for number, name in enumerate(names):
            drawn.add_row(name, *(cells[place][1][number] for place in stretch))
        yield drawn


def _curves(found: Published, rows: Mapping[str, Row], width: int) -> Iterator[Table]:
    """The scores after each step, of the systems that have them on both sides."""
    both = [
        (_name(pair, rows), pair["theirs"]["curve"], rows[pair["row"]]["curve"])
        for pair in found["pairs"]
        if pair["row"] and pair["theirs"]["curve"]
    ]
    if not both:
        return
    steps = max(len(ours) for _, _, ours in both)
    for measure in MEASURES:
        for stretch in stretches([FIGURE] * steps, width - _lead([name for name, _, _ in both])):
            drawn = table()
            drawn.add_column(f"{measure}-F1\nafter step", overflow="fold")
            for number in stretch:
                drawn.add_column(f"\n{number + 1}", justify="right", min_width=FIGURE - 2, no_wrap=True)
            for name, theirs, ours in both:
                drawn.add_row(name, *(heat(theirs[measure][number]) for number in stretch))
                drawn.add_row("  ours", *(heat(ours[number][measure]["mean"]) for number in stretch))
            yield drawn


def _name(pair: Pair, rows: Mapping[str, Row]) -> Text:
    """Whose figure it is, and which row of ours where that does not tell."""
    theirs = f"{pair['theirs']['system']}, {pair['theirs']['by']}"
    if pair["row"] is None:
        return Text(theirs)
    row = rows[pair["row"]]
    title = "" if row["title"] == pair["theirs"]["system"] else f"\n {row['title']}"
    return Text.assemble(theirs, (title, "dim"), named("", row["settings"]))


def _lead(names: Sequence[Text]) -> int:
    """The width of the column that names the pairs, and of a table's edges."""
    return max(len(line) for name in names for line in str(name).splitlines()) + 4
