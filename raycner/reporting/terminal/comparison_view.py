"""A comparison on the terminal: rows side by side, micro-F1 after each step, and what was trained only once."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raycner.analysis.comparison import Comparison, Row, Score, setup
from raycner.analysis.formatting import DASH, PLUS_MINUS, figure, listed, spreads
from raycner.analysis.scores import Run
from raycner.analysis.significance import p_value
from raycner.reporting.terminal.tables import FIGURE, LONGEST_NAME, heat, named, progress, stretches, table, title

MOST_NAMES = 4


def comparison_view(comparison: Comparison, runs: Sequence[Run], width: int) -> RenderableType:
    """A comparison of `runs`."""
    ranking: list[RenderableType] = [*_ranking(comparison, width), Text(legend(comparison), style="dim"), Text()]
    return Group(
        Text(title(comparison), style="bold"),
        *ranking,
        *_curves(comparison, width),
        *map(Text, notes(comparison, runs)),
        Text(),
    )


def _ranking(comparison: Comparison, width: int) -> list[Table]:
    """Every row's scores over all steps and seeds."""
    rows = comparison["rows"]
    columns = [("seeds", [_seeds(row) for row in rows]), *figures(comparison)]
    if any(row["gap_final"] is not None for row in rows):
        columns.append(("gap to\njoint", [figure(row["gap_average"]) for row in rows]))
    if any(row["significance"] for row in rows):
        columns.append(("\np", [_p(row) for row in rows]))
    widths = [max(map(len, [*header.split("\n"), *cells])) + 2 for header, cells in columns]
    tables = []
    for stretch in stretches(widths, width - _lead(rows, "run")):
        drawn = table()
        drawn.add_column("\nrun", overflow="fold")
        for place in stretch:
            drawn.add_column(columns[place][0], justify="right", no_wrap=True)
        for number, row in enumerate(rows):
            drawn.add_row(named(row["title"], row["settings"]), *(columns[place][1][number] for place in stretch))
        tables.append(drawn)
    return tables


def figures(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """The columns of scores over all steps and seeds, under headers of two lines; those that every scenario has, those
    of tasks where the steps are tasks, and those of the calibrated read-out where there is one."""
    rows = comparison["rows"]

    def column(header: str, *scores: Score | None) -> tuple[str, list[str]]:
        return header, spreads(scores)

    columns = [
        column("average\nmicro", *(row["average_micro"] for row in rows)),
        column("average\nmacro", *(row["average_macro"] for row in rows)),
    ]
    if any(row["calibrated_micro"] for row in rows):
        columns.append(column("average\nmicro*", *(row["calibrated_micro"] for row in rows)))
        columns.append(column("average\nmacro*", *(row["calibrated_macro"] for row in rows)))
    if grouped(comparison):
        columns.append(column("average\ntasks", *(row["average_tasks"] for row in rows)))
    columns.append(column("final\nmicro", *(row["final_micro"] for row in rows)))
    columns.append(column("final\nmacro", *(row["final_macro"] for row in rows)))
    if grouped(comparison):
        columns.append(column("final\ntasks", *(row["final_tasks"] for row in rows)))
    if setup(comparison):
        columns.append(column("BI", *(row["interference"] for row in rows)))
    columns.append(column("forget-\nting", *(row["forgetting"] for row in rows)))
    return columns


def grouped(comparison: Comparison) -> bool:
    """Whether there are tasks of several types, over which a mean is not macro."""
    return bool(setup(comparison)) and any(len(task) > 1 for task in comparison["plan"])


def meanings(comparison: Comparison) -> list[str]:
    """What the columns mean that not every scenario has."""
    said = []
    if any(row["calibrated_micro"] for row in comparison["rows"]):
        said.append("*: each step's new types read out with their bias lowered")
    if grouped(comparison):
        said.append("tasks: mean over tasks of micro")
    if setup(comparison):
        said.append("BI: micro of a task after the last step minus its best, mean over tasks")
    return said


def legend(comparison: Comparison) -> str:
    """What the columns of the ranking mean, as far as they are there."""
    rows = comparison["rows"]
    said = ["F1 on test in percent"]
    if any(row["average_micro"] and row["average_micro"]["std"] is not None for row in rows):
        said[0] += f", mean{PLUS_MINUS}standard deviation over seeds"
    said.append("average: over steps; final: after the last")
    said.append("forgetting: best F1 after an earlier step minus the final one, mean over old types")
    said += meanings(comparison)
    if any(row["gap_final"] is not None for row in rows):
        said.append("gap: average macro of the joint run minus the row's")
    tests = [row["significance"] for row in rows if row["significance"]]
    if tests:
        said.append(f"p: paired t-test of average macro against {tests[0]['against']} over shared seeds")
    return "; ".join(said) + "."


def notes(comparison: Comparison, runs: Sequence[Run]) -> list[str]:
    """Which runs are unfinished, and which steps were trained only once."""
    return [*_unfinished(comparison, runs), *_shared(comparison)]


def _curves(comparison: Comparison, width: int) -> list[Table]:
    """Micro-F1 after each step."""
    rows = comparison["rows"]
    tables = []
    for stretch in stretches([FIGURE] * len(comparison["plan"]), width - _lead(rows, "after step")):
        drawn = table()
        drawn.add_column("micro-F1\nafter step", overflow="fold")
        for number in stretch:
            drawn.add_column(f"\n{number + 1}", justify="right", min_width=FIGURE - 2, no_wrap=True)
        for row in rows:
            points = {point["step"]: point["micro"]["mean"] for point in row["curve"]}
            drawn.add_row(named(row["title"], row["settings"]), *(heat(points.get(number)) for number in stretch))
        tables.append(drawn)
    return tables


def _unfinished(comparison: Comparison, runs: Sequence[Run]) -> Iterator[str]:
    names = _names(comparison)
    for run in runs:
        if run["run"] in names and not run["finished"]:
            label, _ = names[run["run"]]
            yield f"{label}, seed {run['seed']}: unfinished, {progress(run)}; in no average."


def _shared(comparison: Comparison) -> Iterator[str]:
    names = _names(comparison)
    seeds: dict[tuple[int, tuple[str, ...]], list[int]] = defaultdict(list)
    for shared in comparison["shared"]:
        holders = [names[run] for run in shared["runs"] if run in names]
        if len(holders) > 1:
            labels = tuple(dict.fromkeys(label for label, _ in holders))
            seeds[shared["step"], labels] += {seed for _, seed in holders}
    several = len({seed for _, seed in names.values()}) > 1
    for (step, labels), held in seeds.items():
        who = listed(labels) if len(labels) <= MOST_NAMES else f"{len(labels)} rows"
        which = f" ({listed([f'seed {seed}' for seed in sorted(held)])})" if several else ""
        yield f"Step {step + 1} shared by {who}{which}: trained once."


def _names(comparison: Comparison) -> dict[str, tuple[str, int]]:
    """The label and the seed of each run."""
    rows = comparison["rows"]
    return {run: (row["label"], seed) for row in rows for run, seed in zip(row["runs"], row["seeds"], strict=True)}


def _lead(rows: Sequence[Row], header: str) -> int:
    """The width of the column that names the rows, and of a table's edges."""
    lines = [header, *(line for row in rows for line in str(named(row["title"], row["settings"])).splitlines())]
    return min(LONGEST_NAME, max(map(len, lines))) + 4


def _p(row: Row) -> str:
    test = row["significance"]
    if test is None or test["p"] is None:
        return DASH
    return p_value(test["p"])


def _seeds(row: Row) -> str:
    done, begun = len(row["finished"]), len(row["seeds"])
    return str(done) if done == begun else f"{done} of {begun}"
