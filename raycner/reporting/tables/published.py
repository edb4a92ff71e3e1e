"""Published figures next to ours: averages over steps, and the scores after each step."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from raycner.analysis.comparison import Comparison
from raycner.analysis.formatting import listed, signed, spreads
from raycner.analysis.published import MEASURES, NOTABLE, Departure, Pair, Published
from raycner.analysis.table import Cell, Cells, Table, by_columns, by_rows, score_cell
from raycner.reporting.tables.labels import setting_lines

UNKNOWN = "No figures are published of these types in these steps."


def published_tables(published: Published, comparison: Comparison) -> Iterator[Table]:
    """Theirs, ours and the difference; then the curves, of the systems that have one on both sides."""
    if published.setting is None:
        return
    yield _averages(published, comparison)
    if any(pair.notable for pair in published.pairs):
        yield reasons(published, comparison)
    both = [pair for pair in published.pairs if pair.row and pair.theirs.curve]
    if both:
        yield from (_curves(both, comparison, measure == "micro") for measure in MEASURES)


def _averages(published: Published, comparison: Comparison) -> Table:
    pairs = published.pairs
    theirs = {measure: spreads([pair.theirs.score(measure) for pair in pairs]) for measure in MEASURES}
    ours = {m: spreads([pair.ours[m] if pair.ours else None for pair in pairs]) for m in MEASURES}
    columns: list[tuple[str, Cells]] = [
        ("\nsystem, by", [_name(pair, comparison) for pair in pairs]),
        *((f"theirs\n{measure}", list(map(_marked, theirs[measure], pairs))) for measure in MEASURES),
        *((f"ours\n{measure}", ours[measure]) for measure in MEASURES),
        *(
            (f"difference\n{m}", [signed(pair.difference[m] if pair.difference else None) for pair in pairs])
            for m in MEASURES
        ),
    ]
    title = f"{published.setting}: ours and what is published"
    return by_columns(title, columns, notes=_notes(published))


def reasons(published: Published, comparison: Comparison) -> Table:
    """What was done otherwise in the rows that differ by more than 3 points; rows of the same reasons share a line."""
    systems: dict[tuple[Departure, ...], list[Cell]] = defaultdict(list)
    for pair in published.pairs:
        if pair.notable:
            systems[pair.departures].append(_name(pair, comparison))
    rows = [(_stacked([cell.text for cell in names]), _stacked(_spelled(made))) for made, names in systems.items()]
    title = f"Differences over {NOTABLE:g} points: what was done otherwise"
    notes = (f"Ours, and theirs after it; a row within {NOTABLE:g} points of the published figure is left out.",)
    return by_rows(title, ["system, by", "done otherwise"], rows, notes=notes, lead=2)


def _spelled(departures: Sequence[Departure]) -> list[str]:
    lines = [f"{one.cause}: {one.ours}; theirs: {one.theirs}" for one in departures]
    return lines or ["nothing that is recorded: the difference is not explained"]


def _stacked(lines: Sequence[str]) -> Cell:
    return Cell(lines[0], details=tuple(lines[1:]))


def _curves(pairs: list[Pair], comparison: Comparison, is_micro: bool) -> Table:
    """Two rows for each pair: their scores after each step, and ours."""
    measure = "micro" if is_micro else "macro"
    rows = {row.label: row for row in comparison.rows}
    names: list[Cell] = []
    scores: list[list[float]] = []
    for pair in pairs:
        assert pair.row is not None
        assert pair.theirs.curve is not None
        names += [_name(pair, comparison), Cell("  ours")]
        scores.append(list(pair.theirs.curve["micro" if is_micro else "macro"]))
        scores.append([(point.micro if is_micro else point.macro).mean for point in rows[pair.row].curve])
    steps = max(map(len, scores))
    padded = [[*map(score_cell, curve), *[Cell("")] * (steps - len(curve))] for curve in scores]
    columns = [(f"\n{step + 1}", [curve[step] for curve in padded]) for step in range(steps)]
    return by_columns("", [(f"{measure}-F1\nafter step", names), *columns])


def _notes(published: Published) -> list[str]:
    notes = [
        "F1 on test in percent, averaged over steps, with the deviation over runs; difference: ours minus theirs.",
        "A setting is recognised by its types and steps alone; jobs/compat.yaml has the published recipe.",
    ]
    corrected = {pair.theirs.system: pair.theirs.printed for pair in published.pairs if pair.theirs.printed}
    if corrected:
        printed = listed([f"{system} {' / '.join(map(str, scores.values()))}" for system, scores in corrected.items()])
        notes.append(f"* Corrected: printed are the figures of I2B2, {printed}; here, the mean of CFNER's own steps.")
    if published.unpublished:
        notes.append(f"Without published figures: {', '.join(published.unpublished)}.")
    return notes


def _marked(text: str, pair: Pair) -> str:
    """A published score; if it was corrected, an asterisk takes the place of its deviation."""
    return f"{text.rstrip()}*".ljust(len(text)) if pair.theirs.printed else text


def _name(pair: Pair, comparison: Comparison) -> Cell:
    """The system and who published it, and our row where its title differs."""
    theirs = f"{pair.theirs.system}, {pair.theirs.by}"
    if pair.row is None:
        return Cell(theirs)
    row = next(row for row in comparison.rows if row.label == pair.row)
    title = [] if row.title == pair.theirs.system else [row.title]
    return Cell(theirs, details=(*title, *setting_lines(row.settings)))
