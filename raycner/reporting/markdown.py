"""Results as GitHub markdown, for a README or a pull request: what `--markdown` prints."""

import re
from collections.abc import Sequence
from statistics import fmean

from raycner.analysis import orders, progressions
from raycner.analysis.comparison import Comparison, Row
from raycner.analysis.formatting import DASH, figure
from raycner.analysis.orders import Orders
from raycner.analysis.progressions import Progression
from raycner.analysis.published import Published
from raycner.analysis.scores import Run
from raycner.analysis.significance import PairedTest, p_value, sentence
from raycner.reporting.terminal import published_view as beside
from raycner.reporting.terminal.comparison_view import figures, meanings
from raycner.reporting.terminal.tables import title


def ranking(comparison: Comparison, runs: Sequence[Run]) -> str:
    """The rows of a comparison of `runs`, best first."""
    said = f"**{_escaped(title(comparison))}.** F1 on test in percent, mean and standard deviation over seeds"
    said += f"; {_escaped('; '.join(['average: over steps', *meanings(comparison)]))}."
    against = next((row["significance"]["against"] for row in comparison["rows"] if row["significance"]), None)
    said += f" p: paired t-test of average macro against {_escaped(against)}." if against else ""
    return f"{said}\n\n{_table(ranked(comparison, runs), names=1)}"


def ranked(comparison: Comparison, runs: Sequence[Run]) -> dict[str, list[str]]:
    """The columns of that table. Steps that a run shares count in its wall time all the same."""
    rows = comparison["rows"]
    columns = {
        "system": [row["label"] for row in rows],
        "seeds": [str(len(row["finished"])) for row in rows],
        **{header.replace("-\n", "").replace("\n", " "): cells for header, cells in figures(comparison)},
    }
    if any(row["gap_average"] is not None for row in rows):
        columns["gap to joint"] = [figure(row["gap_average"]) for row in rows]
    tests = [row["significance"] for row in rows]
    if any(tests):
        columns["p"] = [p_value(test["p"]) if test and test["p"] is not None else DASH for test in tests]
    columns["minutes a run"] = [_minutes(row, runs) for row in rows]
    return columns


def published(found: Published) -> str:
    """Published figures beside ours."""
    if found["setting"] is None:
        return beside.UNKNOWN
    columns = {
        "system": [pair["theirs"]["system"] for pair in found["pairs"]],
        "by": [pair["theirs"]["by"] for pair in found["pairs"]],
        "our row": [pair["row"] or "" for pair in found["pairs"]],
        **{header.replace("\n", " "): cells for header, cells in beside.columns(found)},
    }
    return "\n\n".join([f"**{beside.heading(found)}.**", _table(columns, names=3), *map(_escaped, beside.notes(found))])


def over_orders(found: Orders) -> str:
    """Scores averaged over the orders in which tasks were learned."""
    columns = {"system": [row["label"] for row in found["rows"]], **dict(orders.columns(found))}
    return "\n\n".join([f"**{_escaped(orders.heading(found))}.** {orders.NOTE}", _table(columns, names=1)])


def progressive(found: Sequence[Progression]) -> str:
    """The three tables of progressive NER."""
    parts = []
    for table in progressions.tables(found):
        headers = [header.replace("\n", " ") for header in table.headers]
        columns = dict(zip(headers, map(list, zip(*table.rows, strict=True)), strict=True))
        parts += [f"**{_escaped(table.title)}.** {table.note}", _table(columns, names=table.names)]
    return "\n\n".join(parts)


def fights(significance: Sequence[PairedTest]) -> str:
    """A list of duels."""
    return "\n".join(f"- {_escaped(sentence(paired_test))}" for paired_test in significance)


def _minutes(row: Row, runs: Sequence[Run]) -> str:
    seconds = [run["seconds"] for run in runs if run["run"] in row["runs"] and run["finished"]]
    return f"{fmean(seconds) / 60:.1f}" if seconds else DASH


def _table(columns: dict[str, list[str]], *, names: int) -> str:
    """A table whose first `names` columns are words, the others figures."""
    rules = ["---" if number < names else "---:" for number in range(len(columns))]
    rows = [[_escaped(cell.strip()) for cell in row] for row in zip(*columns.values(), strict=True)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (map(_escaped, columns), rules, *rows))


def _escaped(text: str) -> str:
    """Text of which nothing is read as markdown or as the end of a cell."""
    return re.sub(r"([\\|*`<\[])", r"\\\1", text)
